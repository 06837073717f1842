/** The page's dialogs. The browser's own dialog element keeps the focus inside and gives it back. */

import * as api from "./api.js";
import { iconButton } from "./buttons.js";
import { h } from "./dom.js";
import { say } from "./events.js";
import { keepSetting, setting } from "./state.js";
import { T } from "./texts.js";

let count = 0;

/**
 * @param {string} title
 * @param {any[]} content
 * @param {{onClose?: () => void, kind?: string, firm?: boolean}} [how] firm: stays until its form is sent
 * @returns {HTMLDialogElement}
 */
export function openDialog(title, content, { onClose, kind = "", firm = false } = {}) {
  const id = `dialog-${++count}`;
  const dialog = h(
    "dialog",
    { class: `dialog ${kind}`, "aria-labelledby": id },
    h(
      "header",
      { class: "dialog-head" },
      h("h2", { id, text: title }),
      !firm && iconButton(T.close, "close", () => dialog.close()),
    ),
    content,
  );
  dialog.addEventListener("close", () => {
    dialog.remove();
    onClose?.();
  });
  dialog.addEventListener("cancel", (/** @type {Event} */ event) => {
    if (firm && event.target === dialog) event.preventDefault();
  });
  dialog.addEventListener("mousedown", (/** @type {MouseEvent} */ event) => {
    if (event.target === dialog && !firm) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

export function openHelp() {
  openDialog(T.keys, [
    h(
      "dl",
      { class: "keys" },
      T.keyList.map(([keys, words]) =>
        h(
          "div",
          {},
          h(
            "dt",
            {},
            keys.map((key) => h("kbd", { text: key })),
          ),
          h("dd", { text: words }),
        ),
      ),
    ),
  ]);
}

/** @type {Promise<void> | null} */
let asking = null;

/** Asks for the token until one is accepted. */
export function askToken() {
  asking ??= new Promise((resolve) => {
    const input = h("input", {
      type: "password",
      class: "field",
      autocomplete: "current-password",
      required: true,
      id: "token",
      "aria-describedby": "token-error",
    });
    const wrong = h("p", { class: "form-error", role: "alert", id: "token-error" });
    const form = h(
      "form",
      { class: "form" },
      h("p", { text: T.tokenWhy }),
      h("label", { for: "token", text: T.token }),
      input,
      wrong,
      h("div", { class: "form-foot" }, h("button", { class: "button primary", text: T.signIn })),
    );
    const dialog = openDialog(T.tokenTitle, [form], { firm: true });
    form.addEventListener("submit", async (/** @type {Event} */ event) => {
      event.preventDefault();
      try {
        await api.openSession(input.value);
        asking = null;
        dialog.close();
        resolve();
      } catch (error) {
        wrong.textContent = error instanceof api.Problem && error.status === 401 ? T.tokenWrong : api.words(error);
        input.select();
      }
    });
  });
  return asking;
}

/** @param {Blob} blob @param {string} fileName */
function download(blob, fileName) {
  const url = URL.createObjectURL(blob);
  const link = h("a", { href: url, download: fileName });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** @param {string[]} ids @param {string} title */
export function savePlaylist(ids, title) {
  const input = h("input", { class: "field", id: "playlist-name", value: title, required: true, maxlength: "100" });
  const kept = setting("format", "m3u8");
  const formats = Object.entries(T.formats).map(([format, words]) =>
    h(
      "label",
      { class: "choice" },
      h("input", { type: "radio", name: "format", value: format, checked: format === kept }),
      h("span", { text: words }),
    ),
  );
  const wrong = h("p", { class: "form-error", role: "alert" });
  const form = h(
    "form",
    { class: "form" },
    h("label", { for: "playlist-name", text: T.playlistName }),
    input,
    h("fieldset", { class: "choices" }, h("legend", { text: T.playlistFormat }), formats),
    wrong,
    h(
      "div",
      { class: "form-foot" },
      h("span", { class: "hint", text: T.tracks(ids.length) }),
      h("button", { class: "button primary", text: T.save }),
    ),
  );
  const dialog = openDialog(T.savePlaylist, [form]);
  form.addEventListener("submit", async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const format = String(new FormData(form).get("format"));
    keepSetting("format", format);
    const name = input.value.trim();
    try {
      const blob = await api.playlist(name, ids, format);
      download(blob, `${name.replace(/[\\/:*?"<>|\s]+/g, " ").trim() || T.playlist}.${format}`);
      dialog.close();
      say(T.playlistSaved(name));
    } catch (error) {
      wrong.textContent = api.words(error);
    }
  });
  input.select();
}

/**
 * @param {string} title
 * @param {string} words
 * @param {string} yes
 * @returns {Promise<boolean>}
 */
export function confirmed(title, words, yes) {
  return new Promise((resolve) => {
    let answer = false;
    const dialog = openDialog(
      title,
      [
        h("p", { text: words }),
        h(
          "div",
          { class: "form-foot" },
          h("button", { type: "button", class: "button quiet", text: T.cancel, on: { click: () => dialog.close() } }),
          h("button", {
            type: "button",
            class: "button primary",
            text: yes,
            on: {
              click: () => {
                answer = true;
                dialog.close();
              },
            },
          }),
        ),
      ],
      { onClose: () => resolve(answer) },
    );
  });
}

/** Shows an element of the page as a sheet, and puts it back where it was. @param {string} title @param {HTMLElement} element */
export function openSheet(title, element) {
  const place = document.createComment("");
  element.replaceWith(place);
  const dialog = openDialog(title, [element], {
    kind: "sheet",
    onClose: () => place.replaceWith(element),
  });
  dialog.append(
    h(
      "div",
      { class: "sheet-foot" },
      h("button", {
        type: "button",
        class: "button primary",
        text: T.showResults,
        on: { click: () => dialog.close() },
      }),
    ),
  );
  return dialog;
}

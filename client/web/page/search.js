/** The search box: answers as one types, and suggests what the library has. */

import * as api from "./api.js";
import { iconButton } from "./buttons.js";
import { byId, fill, h, quiet } from "./dom.js";
import { on } from "./events.js";
import { icon } from "./icons.js";
import { activeList } from "./rows.js";
import { chooseFile, record } from "./sounds.js";
import { askAsTyped, state } from "./state.js";
import { T } from "./texts.js";

const QUIET_MS = 120;

export function makeSearchBox() {
  const input = h("input", {
    type: "search",
    id: "q",
    class: "search-input",
    role: "combobox",
    "aria-label": T.searchLabel,
    placeholder: T.searchPlaceholder,
    "aria-expanded": "false",
    "aria-controls": "suggestions",
    "aria-autocomplete": "list",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    enterkeyhint: "search",
    maxlength: "500",
  });
  const list = h("ul", {
    id: "suggestions",
    class: "suggestions",
    role: "listbox",
    "aria-label": T.suggestions,
    hidden: true,
  });
  const clear = iconButton(
    T.clearSearch,
    "close",
    () => {
      input.value = "";
      change();
      commit();
      input.focus();
    },
    { class: "icon-button search-clear", hidden: true },
  );
  const form = byId("search");
  fill(
    form,
    icon("search", "search-sign"),
    input,
    clear,
    iconButton(T.soundFile, "upload", chooseFile),
    iconButton(T.soundMic, "mic", () => void record()),
    list,
  );

  /** @type {import("./api.js").Suggestion[]} */
  let suggestions = [];
  let chosen = -1;
  /** @type {AbortController | null} */
  let asking = null;

  function close() {
    asking?.abort();
    suggest.cancel();
    list.hidden = true;
    chosen = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  /** @param {number} place */
  function choose(place) {
    chosen = place;
    [...list.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === place)));
    if (place >= 0) input.setAttribute("aria-activedescendant", `suggestion-${place}`);
    else input.removeAttribute("aria-activedescendant");
  }

  /** @param {number} place */
  function take(place) {
    input.value = suggestions[place].text;
    change();
    commit();
    close();
  }

  const suggest = quiet(async () => {
    asking?.abort();
    asking = new AbortController();
    const text = input.value.trim();
    if (text.length < 2) return close();
    try {
      const answer = await api.suggest(text, asking.signal);
      if (document.activeElement !== input) return;
      const was = suggestions[chosen];
      suggestions = answer.suggestions;
      fill(
        list,
        suggestions.map((suggestion, i) =>
          h(
            "li",
            {
              role: "option",
              id: `suggestion-${i}`,
              class: "suggestion",
              "aria-selected": "false",
              on: {
                pointerdown: (/** @type {Event} */ event) => {
                  event.preventDefault();
                  take(i);
                },
              },
            },
            h("span", { class: "suggestion-text", text: suggestion.text }),
            h("span", { class: "suggestion-kind", text: T.suggestion(suggestion.kind, suggestion.count) }),
          ),
        ),
      );
      list.hidden = !suggestions.length;
      choose(was ? suggestions.findIndex(({ text, kind }) => text === was.text && kind === was.kind) : -1);
      input.setAttribute("aria-expanded", String(suggestions.length > 0));
    } catch (error) {
      // A help only: what is wrong with the server shows at the results. One that was given up has a newer one behind it.
      if (!api.isAbort(error)) close();
    }
  }, QUIET_MS);

  function change() {
    clear.hidden = !input.value;
  }

  const { commit, typing } = askAsTyped(input, "text", QUIET_MS);
  input.addEventListener("input", () => {
    change();
    choose(-1);
    suggest();
  });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.isComposing) return;
    const open = !list.hidden;
    if (event.key === "ArrowDown" && open) choose((chosen + 1) % suggestions.length);
    else if (event.key === "ArrowUp" && open) choose((chosen <= 0 ? suggestions.length : chosen) - 1);
    else if (event.key === "ArrowDown") activeList()?.move(0);
    else if (event.key === "Escape" && open) close();
    else if (event.key === "Escape") input.blur();
    else if (event.key === "Enter" && open && chosen >= 0) take(chosen);
    else if (event.key === "Enter") {
      commit();
      close();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  form.addEventListener("submit", (event) => event.preventDefault());

  on("route", () => {
    // What is being typed is newer than the address.
    if (typing() || (document.activeElement === input && input.value.trim() === state.query.text.trim())) return;
    input.value = state.query.text;
    change();
  });
}

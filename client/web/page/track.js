/** The page of a track: why it fits, what it is, what is like it, and the user's own notes on it. */

import { addExample, addTrack, menuButton } from "./actions.js";
import * as api from "./api.js";
import { button, iconButton } from "./buttons.js";
import { makeCover } from "./cover.js";
import { byId, fill, h } from "./dom.js";
import { on, say } from "./events.js";
import { icon } from "./icons.js";
import * as player from "./player.js";
import { describes, emptyQuery, toWish } from "./query.js";
import { makeList, makeMeter } from "./rows.js";
import { go, keepSetting, mayChange, searchHash, setting, state } from "./state.js";
import { makeStrip } from "./strip.js";
import { byline, clock, name, percent, T } from "./texts.js";

const SIMILAR = 12;

/** @param {string} title @param {any[]} content @param {string} [extra] */
const card = (title, content, extra = "") =>
  h("section", { class: `card ${extra}`, "aria-label": title }, h("h2", { text: title }), content);

/** @param {import("./api.js").Track} track */
function stripCard(track) {
  const strip = makeStrip({ seek: track.missing ? undefined : (from) => player.play({ track, windows }, { from }) });
  const note = h("p", { class: "hint", role: "status" });
  const input = h("input", {
    class: "field",
    id: "strip-text",
    placeholder: T.stripPlaceholder,
    maxlength: "200",
    value: describes(state.query) ? state.query.text : (track.genre[0] ?? ""),
  });
  const form = h(
    "form",
    { class: "inline-form" },
    h("label", { for: "strip-text", text: T.stripAsk }),
    input,
    h("button", { class: "button", text: T.show }),
  );
  /** @type {import("./api.js").ScoredWindows | null} */
  let windows = null;

  /** @param {object} wish */
  async function load(wish) {
    try {
      windows = await api.windows(track.id, wish);
      const { scores } = windows;
      const best = scores.length ? scores.indexOf(Math.max(...scores)) : -1;
      strip.show(windows, track.duration_s, windows.starts_s[best] ?? null);
      note.textContent = best < 0 ? "" : T.bestAt(clock(windows.starts_s[best]));
    } catch (error) {
      note.textContent = api.words(error);
    }
  }

  const likePart = button(T.likePart, "like", () => {
    const start = Math.round(player.isNow(track.id) ? player.position() : 0);
    const end = Math.min(track.duration_s, start + (state.library?.window_s ?? 10));
    addExample("like", { kind: "track", id: track.id, weight: 1, start_s: start, end_s: Math.round(end) });
  });

  function loadTyped() {
    const text = input.value.trim();
    if (text) void load(toWish({ ...emptyQuery(), text }));
  }

  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    loadTyped();
  });
  strip.show(null, track.duration_s);
  if (describes(state.query)) void load(toWish(state.query));
  else loadTyped();
  const move = () => strip.move(player.isNow(track.id) ? player.position() : null);
  move();
  return {
    part: card(
      T.stripTitle,
      [h("div", { class: "tall-strip" }, strip.el), note, h("div", { class: "card-foot" }, form, likePart)],
      "wide",
    ),
    move,
  };
}

/** @param {import("./api.js").Track} track */
function tagsCard(track) {
  const input = h("textarea", {
    class: "field",
    id: "labels",
    rows: "2",
    value: setting("labels", T.labels.join(", ")),
  });
  const list = h("ul", { class: "tag-list" });
  const note = h("p", { class: "form-error", role: "alert" });
  const form = h(
    "form",
    { class: "form" },
    h("label", { for: "labels", text: T.labelsAsk }),
    input,
    h(
      "div",
      { class: "form-foot" },
      h("button", {
        type: "button",
        class: "button quiet",
        text: T.labelsDefault,
        on: {
          click: () => {
            input.value = T.labels.join(", ");
            keepSetting("labels", null);
            void load();
          },
        },
      }),
      h("button", { class: "button", text: T.show }),
    ),
  );

  async function load() {
    const labels = [
      ...new Set(
        input.value
          .split(/[,\n]/)
          .map((/** @type {string} */ label) => label.trim())
          .filter(Boolean),
      ),
    ];
    if (!labels.length) return;
    try {
      const { tags } = await api.tags(track.id, labels);
      note.textContent = "";
      fill(
        list,
        tags
          .sort((a, b) => b.probability - a.probability)
          .slice(0, 12)
          .map(({ label, probability }) =>
            h(
              "li",
              {},
              h("a", { class: "tag", href: searchHash({ ...emptyQuery(), text: label }), text: label }),
              makeMeter(probability),
              h("span", { class: "tag-number", text: percent(probability) }),
            ),
          ),
      );
    } catch (error) {
      note.textContent = api.words(error);
    }
  }

  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    keepSetting("labels", input.value);
    void load();
  });
  void load();
  return card(T.tagsTitle, [
    list,
    note,
    h("details", { class: "more-form" }, h("summary", { text: T.labelsChange }), form),
  ]);
}

/** @param {import("./api.js").Track} track */
function lyricsCard(track) {
  const words = h("p", { class: "lyrics", dir: "auto", tabindex: "0" }); // a tall one is scrolled by keys
  const part = card(T.lyrics, [words]);
  part.hidden = true;
  const show = (/** @type {string} */ text) => {
    words.textContent = text;
    part.hidden = !text;
  };
  if (state.library?.lyrics) {
    api.lyrics(track.id).then(
      ({ lines }) => show(lines.map(({ text }) => text).join("\n")),
      (error) => show(api.words(error)),
    );
  }
  return part;
}

/** @param {any} value */
const said = (value) =>
  Array.isArray(value) ? value.join(", ") : typeof value === "object" && value ? JSON.stringify(value) : String(value);

/** @param {import("./api.js").Track} track */
function factsCard(track) {
  const tags = Object.entries(track.metadata).filter(([field]) => !(field in track.annotations));
  const facts = [
    ...[...tags, ...Object.entries(track.hidden_tags)]
      .filter(([, value]) => value !== null && value !== "")
      .map(([field, value]) => [T.field(field), said(value)]),
    [T.length, clock(track.duration_s)],
    [T.file, track.file],
  ];
  return card(T.factsTitle, [
    h(
      "dl",
      { class: "facts" },
      facts.map(([field, value]) => h("div", {}, h("dt", { text: field }), h("dd", { text: value }))),
    ),
  ]);
}

/**
 * @param {import("./api.js").Track} track
 * @param {(track: import("./api.js").Track) => void} changed called with the track as it is from now on
 */
function notesCard(track, changed) {
  const list = h("dl", { class: "facts notes" });
  const nameInput = h("input", {
    class: "field",
    id: "note-name",
    required: true,
    maxlength: "60",
    placeholder: T.noteNameHint,
    list: "note-names",
  });
  const valueInput = h("input", {
    class: "field",
    id: "note-value",
    required: true,
    maxlength: "500",
    placeholder: T.noteValueHint,
  });
  const wrong = h("p", { class: "form-error", role: "alert" });
  const form = h(
    "form",
    { class: "note-form" },
    h("div", {}, h("label", { for: "note-name", text: T.noteName }), nameInput),
    h("div", {}, h("label", { for: "note-value", text: T.noteValue }), valueInput),
    h("button", { class: "button", text: T.save }),
    h(
      "datalist",
      { id: "note-names" },
      (state.library?.fields ?? []).map((field) => h("option", { value: field })),
    ),
  );

  /** @param {Record<string, any>} change */
  async function write(change) {
    try {
      const now = await api.annotate(track.id, change);
      show(now);
      changed(now);
      wrong.textContent = "";
      say(T.noteKept);
      return true;
    } catch (error) {
      wrong.textContent = api.words(error);
      return false;
    }
  }

  /** @param {import("./api.js").Track} now */
  function show(now) {
    const own = Object.entries(now.annotations);
    fill(
      list,
      own.map(([field, value]) =>
        h(
          "div",
          {},
          h("dt", { text: field }),
          h(
            "dd",
            {},
            h("span", { text: said(value) }),
            mayChange() &&
              iconButton(T.remove(field), "close", () => void write({ [field]: null }), { class: "icon-button small" }),
          ),
        ),
      ),
    );
    list.hidden = !own.length;
  }

  form.addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    const text = valueInput.value.trim();
    // A year or a tempo typed in is to be a number, or its range could not be searched.
    const value = text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
    if (await write({ [nameInput.value.trim()]: value })) {
      form.reset();
      nameInput.focus();
    }
  });
  show(track);
  return card(T.notesTitle, [
    h("p", { class: "hint", text: mayChange() ? T.notesHint : T.readOnly }),
    list,
    mayChange() && form,
    wrong,
  ]);
}

/** @param {import("./api.js").Track} track */
function head(track) {
  const item = { track };
  const playButton = h("button", {
    type: "button",
    class: "button primary big",
    disabled: track.missing,
    on: { click: () => (player.isNow(track.id) ? player.toggle() : player.play(item)) },
  });
  const label = () => {
    const playing = player.isNow(track.id) && player.isPlaying();
    fill(playButton, icon(playing ? "pause" : "play"), playing ? T.pause : T.play);
  };
  label();
  const part = h(
    "header",
    { class: "track-head" },
    makeCover(track, "large"),
    h(
      "div",
      { class: "track-names" },
      h("h1", { tabindex: "-1", text: track.title }),
      h("p", { class: "track-by", text: byline(track) }),
      track.genre.length > 0 &&
        h(
          "ul",
          { class: "genres", "aria-label": T.field("genre") },
          track.genre.map((genre) =>
            h(
              "li",
              {},
              h("a", {
                class: "example",
                href: searchHash({ ...emptyQuery(), where: { genre: [genre] } }),
                text: genre,
              }),
            ),
          ),
        ),
      track.missing && h("p", { class: "trouble", role: "alert" }, icon("warning"), player.moved(track)),
      track.warning && h("p", { class: "trouble" }, icon("warning"), track.warning),
      h(
        "div",
        { class: "track-actions" },
        playButton,
        button(T.moreLikeThis, "like", () => addTrack("like", track)),
        !track.missing && button(T.radio, "radio", () => void player.startRadio(item)),
        button(T.pathTo, "path", () => go(`#/path?from=${encodeURIComponent(track.id)}`)),
        menuButton(item, { onTrackPage: true }),
      ),
    ),
  );
  return { part, label };
}

export function makeTrackView() {
  const view = byId("view-track");
  let refresh = () => {};

  on("now", () => refresh());
  on("time", () => refresh());
  on("route", async ({ view: wanted, id }) => {
    if (wanted !== "track") return;
    fill(view, h("p", { class: "loading", role: "status", text: T.loading }));
    refresh = () => {};
    try {
      const track = await api.track(id, true);
      if (state.route.id !== id || state.route.view !== "track") return;
      let top = head(track),
        facts = factsCard(track);
      const notes = notesCard(track, (now) => {
        const [oldTop, oldFacts] = [top.part, facts];
        top = head(now);
        facts = factsCard(now);
        oldTop.replaceWith(top.part);
        oldFacts.replaceWith(facts);
      });
      const strip = stripCard(track);
      const list = makeList({ label: T.similarTo(name(track)) });
      const similar = h(
        "section",
        { class: "track-similar", "aria-label": T.similar },
        h("h2", { text: T.similar }),
        list.el,
      );
      const cards = [strip.part, tagsCard(track), facts, notes, lyricsCard(track)];
      fill(view, top.part, h("div", { class: "cards" }, cards), similar);
      refresh = () => {
        top.label();
        strip.move();
      };
      view.querySelector("h1")?.focus({ preventScroll: true });
      const { hits } = await api.similar(id, SIMILAR);
      list.show(hits);
    } catch (error) {
      if (state.route.id !== id) return;
      const gone = error instanceof api.Problem && error.status === 404;
      fill(
        view,
        h(
          "div",
          { class: "empty" },
          h("h1", { tabindex: "-1", text: gone ? T.unknownTrack : T.wentWrong }),
          h("p", { text: gone ? T.goneTrack : api.words(error) }),
          h("a", { class: "button", href: "#/", text: T.toSearch }),
        ),
      );
      view.querySelector("h1")?.focus({ preventScroll: true });
    }
  });
}

/** Lists of tracks: a grid whose rows are walked through by keys, only one of which is in the Tab order. */

import { addTrack, menuButton } from "./actions.js";
import { iconButton } from "./buttons.js";
import { makeCover } from "./cover.js";
import { fill, h } from "./dom.js";
import { on } from "./events.js";
import { icon } from "./icons.js";
import * as player from "./player.js";
import { trackHash } from "./state.js";
import { makeStrip } from "./strip.js";
import { byline, clock, fitWord, foundBy, name, T } from "./texts.js";

/** @typedef {import("./api.js").Hit} Hit */

/**
 * @typedef {object} List
 * @property {HTMLElement} el
 * @property {(hits: Hit[]) => void} show
 * @property {(hits: Hit[]) => void} add
 * @property {() => Hit[]} hits
 * @property {(step: number) => void} move walks by so many rows
 */

/** @type {List | null} the list that j and k walk through */
let active = null;

export const activeList = () => (active?.el.isConnected ? active : null);

/** What plays and where is marked on every row of it. */
const heads = new WeakMap();

on("time", markRows);
on("now", markRows);

function markRows() {
  const { now } = player.player;
  for (const row of document.querySelectorAll(".row[data-track]")) {
    const is = row instanceof HTMLElement && row.dataset.track === now?.track.id;
    const state = is ? (player.isPlaying() ? "playing" : "paused") : "";
    const was = row.getAttribute("data-now") ?? "";
    if (was !== state) {
      if (state) row.setAttribute("data-now", state);
      else row.removeAttribute("data-now");
      heads.get(row)?.button(state);
    }
    if (is) heads.get(row)?.head(player.position());
    else if (was) heads.get(row)?.head(null);
  }
}

/** @param {number} probability */
export function makeMeter(probability) {
  const bar = h("span", { class: "meter-fill" });
  bar.style.width = `${Math.round(probability * 100)}%`;
  return h("span", { class: "meter", "aria-hidden": "true" }, bar);
}

const FITS_TOO = 0.4;

/** @param {Hit} hit */
function fitCell(hit) {
  const byName = hit.found_by?.includes("name");
  // Who asked for a line or a name and got it is not to read that the sound fits badly.
  if (hit.lyrics && (hit.probability ?? 0) < FITS_TOO) {
    return h(
      "div",
      { class: "fit", role: "gridcell", title: T.lyricsTitle(hit.lyrics.fit) },
      h("span", { class: "fit-word", text: fitWord(hit.lyrics.fit) }),
      makeMeter(hit.lyrics.fit),
      h("span", { class: "how", text: T.byLyrics }),
    );
  }
  if (typeof hit.probability !== "number") {
    return h("div", { class: "fit", role: "gridcell" }, byName && h("span", { class: "fit-word", text: T.nameFits }));
  }
  if (byName && hit.probability < FITS_TOO) {
    return h(
      "div",
      { class: "fit", role: "gridcell", title: T.fitTitle(hit.probability, hit.score) },
      h("span", { class: "fit-word", text: T.nameFits }),
      h("span", { class: "how", text: T.byName }),
    );
  }
  return h(
    "div",
    { class: `fit ${hit.weak ? "weak" : ""}`, role: "gridcell", title: T.fitTitle(hit.probability, hit.score) },
    h("span", { class: "fit-word", text: fitWord(hit.probability, hit.weak) }),
    makeMeter(hit.probability),
    h("span", { class: "how", text: foundBy(hit.found_by ?? []) }),
  );
}

/**
 * @param {Hit} hit
 * @param {(from: number | null) => void} play
 */
function lineOf({ track, lyrics }, play) {
  if (!lyrics) return null;
  const { text, start_s } = lyrics;
  const words = h("span", { class: "line-text", dir: "auto", text });
  if (start_s === null) return h("span", { class: "line", title: text }, words);
  const time = clock(start_s);
  return h(
    "button",
    {
      type: "button",
      class: "line",
      tabindex: "-1",
      title: text,
      "aria-label": T.playLine(text, time),
      disabled: track.missing,
      on: { click: () => play(start_s) },
    },
    words,
    h("span", { class: "line-time", text: time }),
  );
}

/**
 * @param {Hit} hit
 * @param {(from: number | null) => void} play
 */
function makeRow(hit, play) {
  const { track } = hit;
  const item = { track, start_s: hit.start_s, windows: hit.windows };
  const title = name(track);
  const cover = h(
    "button",
    {
      type: "button",
      class: "cover-button",
      tabindex: "-1",
      "aria-label": T.playTrack(title),
      on: { click: () => play(null) },
    },
    makeCover(track),
    h("span", { class: "cover-sign" }, icon("play"), icon("pause")),
  );
  const strip = hit.windows ? makeStrip({ seek: track.missing ? undefined : play }) : null;
  // Where a line is sung is not where it fits best.
  strip?.show(hit.windows ?? null, track.duration_s, typeof hit.lyrics?.start_s === "number" ? null : hit.start_s);

  /** @type {(label: string, sign: import("./icons.js").IconName, run: () => void) => HTMLElement} */
  const action = (label, sign, run) => iconButton(label, sign, run, { tabindex: "-1" });

  const row = h(
    "div",
    {
      role: "row",
      class: `row ${track.missing ? "missing" : ""}`,
      tabindex: "-1",
      "aria-selected": "false",
      data: { track: track.id },
    },
    h("div", { role: "gridcell", class: "cell-cover" }, cover),
    h(
      "div",
      { role: "rowheader", class: "cell-title" },
      h("a", { class: "title", href: trackHash(track.id), tabindex: "-1", text: track.title, title: track.title }),
      h("span", { class: "by", text: byline(track), title: byline(track) }),
      track.missing && h("span", { class: "trouble" }, icon("warning"), T.moved),
      !track.missing &&
        track.warning &&
        h("span", { class: "trouble", title: track.warning }, icon("warning"), track.warning),
      lineOf(hit, play),
    ),
    h(
      "div",
      { role: "gridcell", class: "cell-strip" },
      strip?.el ?? h("span", { class: "by", text: track.genre?.join(", ") ?? "" }),
    ),
    fitCell(hit),
    h("div", { role: "gridcell", class: "cell-time", text: clock(track.duration_s) }),
    h(
      "div",
      { role: "gridcell", class: "cell-actions" },
      action(T.moreLike(title), "like", () => addTrack("like", track)),
      action(T.lessLike(title), "unlike", () => addTrack("unlike", track)),
      menuButton(item, {}, { tabindex: "-1" }),
    ),
  );

  heads.set(row, {
    head: (/** @type {number | null} */ seconds) => strip?.move(seconds),
    button: (/** @type {string} */ state) =>
      cover.setAttribute("aria-label", state === "playing" ? T.pauseTrack(title) : T.playTrack(title)),
  });
  return row;
}

/** @param {{label: string}} options @returns {List} */
export function makeList({ label }) {
  /** @type {Hit[]} */
  let hits = [];
  const grid = h("div", { role: "grid", class: "rows", "aria-label": label, "aria-rowcount": "-1" });

  const rows = () => /** @type {HTMLElement[]} */ ([...grid.children]);

  /** @param {HTMLElement} row */
  function select(row) {
    for (const other of grid.querySelectorAll(".row[aria-selected=true]")) tabStop(other, false);
    tabStop(row, true);
    active = list;
  }

  /** @param {Element} row @param {boolean} is */
  function tabStop(row, is) {
    row.setAttribute("aria-selected", String(is));
    row.setAttribute("tabindex", is ? "0" : "-1");
    for (const inner of row.querySelectorAll("a, button")) inner.setAttribute("tabindex", is ? "0" : "-1");
  }

  /** @param {number} place @param {number | null} [from] */
  function play(place, from = null) {
    const hit = hits[place];
    if (from === null && player.isNow(hit.track.id)) player.toggle();
    else {
      player.play(
        { track: hit.track, start_s: hit.start_s, windows: hit.windows },
        {
          from,
          context: hits
            .slice(place + 1)
            .filter(({ track }) => !track.missing)
            .map(({ track, start_s, windows }) => ({ track, start_s, windows })),
        },
      );
    }
  }

  /** @param {Hit[]} more */
  function add(more) {
    const before = hits.length;
    hits = [...hits, ...more];
    grid.classList.toggle("plain", !hits.some(({ windows }) => windows));
    grid.classList.toggle(
      "unranked",
      !hits.some(
        ({ probability, found_by, lyrics }) => typeof probability === "number" || found_by?.includes("name") || lyrics,
      ),
    );
    grid.append(...more.map((hit, i) => makeRow(hit, (from) => play(before + i, from))));
    if (!grid.querySelector(".row[aria-selected=true]") && grid.firstElementChild)
      tabStop(grid.firstElementChild, true);
    markRows();
  }

  /** @param {number} step */
  function move(step) {
    const all = rows();
    if (!all.length) return;
    const inside = all.findIndex((row) => row.contains(document.activeElement));
    const chosen = all.findIndex((row) => row.getAttribute("aria-selected") === "true");
    // The first step into a list goes to the row that is chosen, not past it.
    const place = inside < 0 ? Math.max(0, chosen) : inside + step;
    const row = all[Math.min(all.length - 1, Math.max(0, place))];
    select(row);
    row.focus();
    row.scrollIntoView({ block: "nearest" });
  }

  grid.addEventListener("focusin", (/** @type {FocusEvent} */ event) => {
    const row = /** @type {HTMLElement} */ (event.target).closest?.(".row");
    if (row instanceof HTMLElement) select(row);
  });
  grid.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const target = /** @type {HTMLElement} */ (event.target);
    const place = rows().findIndex((row) => row.contains(target));
    const hit = hits[place];
    if (event.key === "ArrowDown") move(1);
    else if (event.key === "ArrowUp") move(-1);
    else if (event.key === "Home") move(-hits.length);
    else if (event.key === "End") move(hits.length);
    else if (event.key === "Enter" && target.classList.contains("row")) play(place);
    else if (event.key === "a" && hit)
      player.enqueue([{ track: hit.track, start_s: hit.start_s, windows: hit.windows }]);
    else if (event.key === "l" && hit) addTrack("like", hit.track);
    else if (event.key === "u" && hit) addTrack("unlike", hit.track);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  grid.addEventListener("dblclick", (/** @type {MouseEvent} */ event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (target.closest("button, a, canvas")) return;
    const place = rows().findIndex((row) => row.contains(target));
    if (place >= 0) play(place);
  });

  /** @type {List} */
  const list = {
    el: grid,
    hits: () => hits,
    add,
    move,
    show(next) {
      const inside = rows().findIndex((row) => row.contains(document.activeElement));
      hits = [];
      fill(grid);
      add(next);
      if (inside >= 0) {
        const row = rows()[Math.min(inside, next.length - 1)];
        if (row) {
          select(row);
          row.focus({ preventScroll: true });
        }
      }
    },
  };
  active = list;
  return list;
}

/** @param {import("./api.js").Track[]} tracks @returns {Hit[]} */
export const asHits = (tracks) => tracks.map((track) => ({ track }));

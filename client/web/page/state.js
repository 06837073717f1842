/** What the page as a whole knows: where it is, what is asked, which library. */

import { quiet } from "./dom.js";
import { tell } from "./events.js";
import { emptyQuery, fromParams, toParams } from "./query.js";

/** @typedef {"search" | "track" | "map" | "library" | "path"} View */
/** @typedef {{view: View, id: string, params: URLSearchParams}} Route */

const TYPING_MS = 2500;

/** Fields in which nearly every track is alone: nothing to filter or to colour by. */
export const SINGULAR = [
  "title",
  "album",
  "date",
  "tracknumber",
  "track",
  "discnumber",
  "disc",
  "comment",
  "lyrics",
  "isrc",
  "url",
  "encoder",
];

/** @type {{route: Route, query: import("./query.js").Query, library: import("./api.js").Library | null}} */
export const state = {
  route: { view: "search", id: "", params: new URLSearchParams() },
  query: emptyQuery(),
  library: null,
};

/** Whether this page may change the library. */
export function mayChange() {
  return state.library !== null && !state.library.read_only;
}

/** @returns {Route} */
function readAddress() {
  const [path, params] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [view, id] = path.split("/");
  /** @type {View[]} */
  const known = ["track", "map", "library", "path"];
  return {
    view: known.find((name) => name === view) ?? "search",
    id: safeDecode(id ?? ""),
    params: new URLSearchParams(params ?? ""),
  };
}

/** @param {string} text */
function safeDecode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Takes over what the address says. */
export function follow() {
  const route = readAddress();
  state.route = route;
  if (route.view === "search") state.query = fromParams(route.params);
  tell("route", route);
}

/** @param {string} hash @param {{replace?: boolean}} [how] */
export function go(hash, { replace = false } = {}) {
  if (hash === location.hash) return;
  if (replace) history.replaceState(null, "", hash);
  else history.pushState(null, "", hash);
  follow();
}

/** @param {import("./query.js").Query} query */
export function searchHash(query) {
  const params = toParams(query).toString();
  return params ? `#/?${params}` : "#/";
}

let typedAt = -Infinity;

/**
 * Asks something else.
 *
 * @param {Partial<import("./query.js").Query>} change
 * @param {{typing?: boolean, ends?: boolean}} [how] typing: a run of key strokes is one step back, not many; ends: with
 *   this one
 */
export function ask(change, { typing = false, ends = !typing } = {}) {
  const replace = typing && state.route.view === "search" && performance.now() - typedAt < TYPING_MS;
  typedAt = ends ? -Infinity : performance.now();
  go(searchHash({ ...state.query, ...change }), { replace });
}

/**
 * Asks what is typed into a field, once the typing rests.
 *
 * @param {HTMLInputElement} input
 * @param {"text" | "lyrics"} key what of the query it holds
 * @param {number} quietMs
 * @returns {{commit: () => void, typing: () => boolean}} commit: ask at once; typing: whether what is typed is not asked yet
 */
export function askAsTyped(input, key, quietMs) {
  let typing = false;
  const put = (/** @type {boolean} */ ends) => {
    askSoon.cancel();
    typing = false;
    ask({ [key]: input.value.trim() }, { typing: true, ends });
  };
  const askSoon = quiet(() => put(false), quietMs);
  input.addEventListener("input", () => {
    typing = true;
    askSoon();
  });
  return { commit: () => put(true), typing: () => typing };
}

/** @param {string} id */
export const trackHash = (id) => `#/track/${encodeURIComponent(id)}`;

/** @param {string} name @param {string | null} fallback */
export function setting(name, fallback = null) {
  try {
    return localStorage.getItem(name) ?? fallback;
  } catch {
    return fallback;
  }
}

/** @param {string} name @param {string | null} value */
export function keepSetting(name, value) {
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, value);
  } catch {
    // Storage is switched off: it holds until the page is closed.
  }
}

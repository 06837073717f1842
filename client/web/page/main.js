/** Puts the page together. */

import * as api from "./api.js";
import { makeBar } from "./bar.js";
import { iconButton } from "./buttons.js";
import { makeChips } from "./chips.js";
import { readLibrary, watch } from "./connection.js";
import { askToken, openHelp } from "./dialogs.js";
import { byId, fill, h } from "./dom.js";
import { on, tell } from "./events.js";
import { makeFacets } from "./facets.js";
import { icon } from "./icons.js";
import { listenToKeys } from "./keys.js";
import { makeLyricsField } from "./lyrics.js";
import { isPlaying, player, restore } from "./player.js";
import { makeResults } from "./results.js";
import { makeSearchBox } from "./search.js";
import { acceptDrops } from "./sounds.js";
import { follow, keepSetting, searchHash, setting, state } from "./state.js";
import { name, T } from "./texts.js";

const SAY_MS = 5000,
  ERROR_MS = 9000;

/** @type {import("./icons.js").IconName[]} */
const THEMES = ["system", "light", "dark"];

function makeHead() {
  const theme = h("button", { type: "button", class: "icon-button" });
  const show = () => {
    const now = setting("theme") ?? "system";
    const words = T.themes[now] ?? now;
    theme.setAttribute("aria-label", words);
    theme.title = words;
    theme.replaceChildren(
      icon(/** @type {import("./icons.js").IconName} */ (THEMES.find((one) => one === now) ?? "system")),
    );
  };
  theme.addEventListener("click", () => {
    const now = THEMES.findIndex((one) => one === (setting("theme") ?? "system"));
    const next = THEMES[(now + 1) % THEMES.length];
    keepSetting("theme", next === "system" ? null : next);
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    show();
    tell("theme");
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => tell("theme"));
  show();

  /** @type {[string, string, import("./icons.js").IconName][]} */
  const pages = [
    ["search", T.search, "search"],
    ["map", T.map, "map"],
    ["library", T.library, "library"],
  ];
  const links = pages.map(([view, words, sign]) =>
    h(
      "a",
      { class: "nav-link", href: view === "search" ? "#/" : `#/${view}`, data: { view } },
      icon(sign),
      h("span", { text: words }),
    ),
  );
  fill(byId("nav"), links);
  fill(byId("head-tools"), theme, iconButton(T.keys, "keyboard", openHelp, { class: "icon-button help-button" }));

  on("route", ({ view }) => {
    const section = view === "track" || view === "path" ? "search" : view;
    for (const link of links) {
      if (link.dataset.view === section) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    // Back from elsewhere, the search is as it was left.
    links[0].setAttribute("href", view === "search" ? "#/" : searchHash(state.query));
  });
}

/** Views whose code is fetched when they are first gone to. @type {Record<string, () => Promise<void>>} */
const later = {
  track: async () => (await import("./track.js")).makeTrackView(),
  path: async () => (await import("./path.js")).makePathView(),
  map: async () => (await import("./map.js")).makeMapView(),
  library: async () => (await import("./library.js")).makeLibraryView(),
};

/** @param {string} view */
async function fetchView(view) {
  const make = later[view];
  if (!make) return;
  delete later[view];
  try {
    await make();
    if (state.route.view === view) tell("route", state.route);
  } catch {
    later[view] = make;
    fill(byId(`view-${view}`), h("p", { class: "loading", role: "status", text: T.awayResults }));
    tell("connection", { up: false });
  }
}

/** Shows the view that the address names. @param {import("./state.js").Route} route */
function showView({ view }) {
  const was = document.body.dataset.view;
  document.body.dataset.view = view;
  for (const part of document.querySelectorAll("main > [data-view]")) {
    if (part instanceof HTMLElement) part.hidden = part.dataset.view !== view;
  }
  if (was && was !== view) scrollTo({ top: 0 });
  void fetchView(view);
}

/** The tab says what plays, or else what is looked at. */
function showTitle() {
  const { route, query } = state;
  const what =
    isPlaying() && player.now
      ? name(player.now.track)
      : route.view === "search"
        ? query.text.trim() || query.lyrics.trim()
        : route.view === "map" || route.view === "library"
          ? T[route.view]
          : "";
  document.title = what ? `${what} · ${T.product}` : T.product;
}

function makeSayings() {
  const box = byId("sayings");
  on("say", ({ text, kind }) => {
    const line = h("p", { class: `saying ${kind}`, role: kind === "error" ? "alert" : "status" });
    box.append(line);
    if (box.children.length > 2) box.firstElementChild?.remove();
    // A live region says what changes in it, not what it came with.
    requestAnimationFrame(() => {
      line.textContent = text;
    });
    setTimeout(() => line.remove(), kind === "error" ? ERROR_MS : SAY_MS);
  });
}

function nameParts() {
  byId("skip").textContent = T.skip;
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address says what is looked at, and so not where in it
    byId("main").focus();
  });
  byId("mark").setAttribute("aria-label", T.startPage);
  byId("drop").textContent = T.dropHere;
  for (const [id, words] of Object.entries(T.landmarks)) byId(id).setAttribute("aria-label", words);
}

async function begin() {
  nameParts();
  api.whenLocked(askToken);
  on("route", showView);
  makeSayings();
  makeHead();
  makeSearchBox();
  makeLyricsField();
  makeChips();
  makeFacets();
  makeResults();
  makeBar();
  acceptDrops();
  listenToKeys();
  addEventListener("popstate", follow);
  on("route", showTitle);
  on("now", showTitle);
  try {
    await readLibrary();
  } catch {
    // The banner says so, and what is asked below is asked again when the server is back.
  }
  watch();
  follow();
  restore();
  on("connection", ({ back }) => {
    if (!back) return;
    const first = state.library === null;
    readLibrary().then(
      () => first && tell("route", state.route),
      () => {},
    );
    void fetchView(state.route.view);
  });
  if (!matchMedia("(pointer: coarse)").matches && state.route.view === "search") byId("q").focus();
}

void begin();

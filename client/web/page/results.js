/** The view of a search: how it was understood, how well it went, and the rows. */

import { copyLink, save } from "./actions.js";
import * as api from "./api.js";
import { button, iconButton } from "./buttons.js";
import { byId, fill, h, quiet } from "./dom.js";
import { on } from "./events.js";
import { icon } from "./icons.js";
import { openSheet } from "./dialogs.js";
import * as player from "./player.js";
import { ranks, toBody } from "./query.js";
import { makeList } from "./rows.js";
import { ask, searchHash, state } from "./state.js";
import { T } from "./texts.js";

const PAGE = 30;

export function makeResults() {
  const list = makeList({ label: T.results });
  const hero = h("div", { class: "hero" });
  const heading = h("h1", { class: "visually-hidden", text: T.results });
  const summary = h("p", { class: "summary" });
  const reading = h("p", { class: "reading" });
  const weak = h("p", { class: "weak-note" });
  const trouble = h("div", { class: "view-error" });
  const empty = h("div", { class: "empty" });
  const more = h("button", {
    type: "button",
    class: "button more-button",
    text: T.more,
    on: { click: () => void load(true) },
  });
  const tools = h("div", { class: "tools" });
  const stale = h(
    "button",
    { type: "button", class: "stale", on: { click: () => void load(false) } },
    icon("library"),
    T.libraryChanged,
  );
  const filterButton = button(T.filters, "filter", () => openSheet(T.filters, byId("facets")), {
    class: "button filter-button",
  });

  fill(
    byId("view-search"),
    hero,
    heading,
    h("div", { class: "result-head" }, h("div", { class: "result-words" }, summary, reading), tools),
    stale,
    trouble,
    weak,
    list.el,
    empty,
    more,
  );

  /** @type {AbortController | null} */
  let asking = null;
  /** @type {number | null} */
  let nextOffset = null;
  let asked = "";
  /** What the rows answer. */
  let shown = "";

  const readOut = quiet((/** @type {string} */ text) => {
    if (state.route.view === "search") byId("live").textContent = text; // another view may have told something since
  }, 700);

  /** @param {string} label @param {import("./icons.js").IconName} sign @param {() => void} run */
  const tool = (label, sign, run) => iconButton(label, sign, run, { class: "button quiet" });

  const items = () => list.hits().map(({ track, start_s, windows }) => ({ track, start_s, windows }));
  const playable = () => items().filter(({ track }) => !track.missing);

  fill(
    tools,
    filterButton,
    button(T.playAll, "play", () => player.playAll(playable())),
    tool(T.queueAll, "queue", () => player.enqueue(playable())),
    tool(T.saveResult, "save", () => save(items(), state.query.text.trim() || state.query.lyrics.trim() || T.playlist)),
    tool(T.copyLink, "link", () => void copyLink(searchHash(state.query))),
  );

  /** @param {boolean} further the next page, after what is there */
  async function load(further) {
    const query = state.query;
    asking?.abort();
    const mine = new AbortController();
    asking = mine;
    list.el.setAttribute("aria-busy", "true");
    list.el.classList.toggle("old", !further);
    byId("search").classList.add("busy");
    try {
      const answer = await api.search(toBody(query, further ? (nextOffset ?? 0) : 0, PAGE), mine.signal);
      asked = shown = searchHash(query);
      nextOffset = answer.next_offset;
      if (further) list.add(answer.hits);
      else list.show(answer.hits);
      stale.hidden = true;
      trouble.hidden = true;
      describe(query, answer);
    } catch (error) {
      if (api.isAbort(error)) return;
      if (!further && shown !== searchHash(query)) clear();
      asked = "";
      trouble.hidden = false;
      fill(
        trouble,
        icon("warning"),
        h("p", { text: api.words(error, T.awayResults) }),
        h("button", { type: "button", class: "button", text: T.again, on: { click: () => void load(further) } }),
      );
    } finally {
      if (asking === mine) {
        list.el.removeAttribute("aria-busy");
        list.el.classList.remove("old");
        byId("search").classList.remove("busy");
      }
    }
  }

  /** What is shown answers another question. */
  function clear() {
    nextOffset = null;
    shown = "";
    list.show([]);
    summary.textContent = "";
    for (const part of [tools, stale, weak, empty, more, reading]) part.hidden = true;
  }

  /** @param {import("./query.js").Query} query @param {import("./api.js").Answer} answer */
  function describe(query, answer) {
    const hits = list.hits();
    const ranked = ranks(query);
    const filtered = Object.keys(query.where).length > 0;
    more.hidden = nextOffset === null;
    tools.hidden = !hits.length && !filtered;
    const at_least = nextOffset !== null;
    summary.textContent = hits.length
      ? ranked
        ? T.found(hits.length, at_least, answer.seconds)
        : filtered
          ? T.matching(hits.length, at_least)
          : T.newest
      : "";
    weak.hidden =
      !(ranked && answer.weak && hits.length) || Boolean(hits[0].found_by?.includes("name") || hits[0].lyrics);
    weak.textContent = T.weakAll;
    empty.hidden = hits.length > 0;
    if (!hits.length) fill(empty, emptyWords(filtered));
    describeReading(answer.reading, query.literal);
    readOut(hits.length ? `${summary.textContent} ${weak.hidden ? "" : T.weakAll}` : T.nothing);
  }

  /** @param {boolean} filtered */
  function emptyWords(filtered) {
    if (state.library?.tracks === 0) {
      return [
        h("h2", { text: T.noTracks }),
        h("p", { text: T.noTracksHint }),
        h("a", { class: "button primary", href: "#/library", text: T.toLibrary }),
      ];
    }
    return [
      h("h2", { text: T.nothing }),
      h("p", { text: filtered ? T.nothingFiltered : T.nothingHint }),
      filtered &&
        h("button", { type: "button", class: "button", text: T.clearFilters, on: { click: () => ask({ where: {} }) } }),
    ];
  }

  /** @param {import("./api.js").Reading | null} read @param {boolean} literal */
  function describeReading(read, literal) {
    const wanted = Object.keys(read?.wanted ?? {}),
      unwanted = Object.keys(read?.unwanted ?? {});
    // Said only where the words were taken apart: else it would repeat what was typed.
    const apart = !literal && state.query.text && unwanted.length > state.query.minus.length;
    reading.hidden = !apart && !literal;
    if (literal)
      fill(
        reading,
        T.literal,
        " ",
        h("button", {
          type: "button",
          class: "link",
          text: T.understand,
          on: { click: () => ask({ literal: false }) },
        }),
      );
    else if (apart)
      fill(
        reading,
        T.readAs(wanted, unwanted),
        " ",
        h("button", {
          type: "button",
          class: "link",
          text: T.takeLiterally,
          on: { click: () => ask({ literal: true }) },
        }),
      );
  }

  function showHero() {
    const { query, library } = state;
    hero.hidden = ranks(query) || Object.keys(query.where).length > 0;
    heading.hidden = !hero.hidden;
    fill(
      hero,
      h("h1", { text: T.heroTitle }),
      h("p", { class: "hero-sub", text: library ? T.heroSub(library.tracks, library.duration_s) : "" }),
      h(
        "ul",
        { class: "examples", "aria-label": T.examplesLabel },
        library?.tracks !== 0 &&
          T.examples.map((text) =>
            h("li", {}, h("a", { class: "example", href: `#/?q=${encodeURIComponent(text)}`, text })),
          ),
      ),
    );
  }

  on("route", ({ view }) => {
    if (view !== "search") return;
    showHero();
    const count = Object.keys(state.query.where).length;
    fill(filterButton, icon("filter"), count ? T.filtersOn(count) : T.filters);
    if (searchHash(state.query) !== asked || !trouble.hidden) void load(false);
  });
  on("library", showHero);
  on("changed", () => {
    asked = asked && "#changed"; // whatever is shown, coming back to it asks again
    if (state.route.view !== "search") return;
    if (!ranks(state.query) && list.hits().length <= PAGE) void load(false);
    else stale.hidden = false;
  });
  on("connection", ({ back }) => {
    if (back && !trouble.hidden && state.route.view === "search") void load(false);
  });

  new IntersectionObserver(
    (entries) => {
      if (
        entries.some((entry) => entry.isIntersecting) &&
        nextOffset !== null &&
        !asking?.signal.aborted &&
        !list.el.hasAttribute("aria-busy")
      )
        void load(true);
    },
    { rootMargin: "600px" },
  ).observe(more);

  trouble.hidden = true;
  clear();
}

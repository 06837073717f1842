/** The filters: what the library's tracks say of themselves, with counts. */

import * as api from "./api.js";
import { byId, fill, h, quiet } from "./dom.js";
import { on } from "./events.js";
import { ask, SINGULAR, state } from "./state.js";
import { T } from "./texts.js";

const SHOWN = 6,
  MANY = 12,
  MOST = 50,
  QUIET_MS = 150;

/** @param {string} field @param {string[] | import("./query.js").Between | null} wanted null: any */
function filter(field, wanted) {
  const where = { ...state.query.where };
  if (wanted === null || (Array.isArray(wanted) && !wanted.length)) delete where[field];
  else where[field] = wanted;
  ask({ where });
}

/** @param {string} field @param {any[]} content @param {boolean} open */
function section(field, content, open) {
  return h(
    "details",
    { class: "facet", open },
    h("summary", {}, h("span", { text: T.field(field) }), h("span", { class: "facet-count" })),
    content,
  );
}

/** @param {string} field @param {import("./api.js").Value[]} values the most frequent */
function valuesPart(field, values) {
  const isAll = values.length < MOST;
  const chosen = () => {
    const wanted = state.query.where[field];
    return Array.isArray(wanted) ? wanted : [];
  };
  const lines = h("div", { class: "facet-values", role: "group", "aria-label": T.field(field) });
  /** By the value in small letters. @type {Map<string, {box: HTMLInputElement, line: HTMLElement, number: HTMLElement}>} */
  const boxes = new Map();

  /** @param {{value: any, count: number | null}[]} values */
  function put(values) {
    for (const { value: given, count } of values) {
      const value = String(given);
      const known = boxes.get(value.toLowerCase());
      if (known) {
        if (count !== null) known.number.textContent = T.number(count);
        continue;
      }
      const box = h("input", { type: "checkbox", value });
      box.addEventListener("change", () => {
        const others = chosen().filter((other) => other.toLowerCase() !== value.toLowerCase());
        filter(field, box.checked ? [...others, value] : others);
      });
      const number = h("span", { class: "facet-number", text: count === null ? "" : T.number(count) });
      const line = h("label", { class: "facet-value" }, box, h("span", { class: "facet-name", text: value }), number);
      boxes.set(value.toLowerCase(), { box, line, number });
      lines.append(line);
    }
  }

  /** @type {AbortController | null} */
  let asking = null;
  const lookFurther = quiet(async () => {
    const typed = narrow.value.trim();
    if (!typed) return;
    asking = new AbortController();
    try {
      const { facets } = await api.facets(field, MOST, { containing: typed, signal: asking.signal });
      if (Array.isArray(facets[field])) put(facets[field]);
      show();
    } catch {
      // Those that are there can be found.
    }
  }, QUIET_MS);

  let all = false;
  const narrow = h("input", {
    type: "search",
    class: "field small",
    placeholder: T.narrow,
    "aria-label": T.narrowField(field),
    maxlength: "200",
    on: {
      input: () => {
        show();
        asking?.abort();
        if (!isAll) lookFurther();
      },
    },
  });
  const toggle = h("button", {
    type: "button",
    class: "link",
    on: {
      click: () => {
        all = !all;
        show();
      },
    },
  });

  function show() {
    put(chosen().map((value) => ({ value, count: null })));
    const wanted = chosen().map((value) => value.toLowerCase());
    const typed = narrow.value.trim().toLowerCase();
    let left = all || typed ? Infinity : SHOWN;
    for (const [value, { box, line }] of boxes) {
      box.checked = wanted.includes(value);
      const fits = !typed || value.includes(typed);
      line.hidden = !(box.checked || (fits && left-- > 0));
    }
    toggle.hidden = values.length <= SHOWN || Boolean(typed);
    toggle.textContent = all ? T.fewer : isAll ? T.allOf(values.length) : T.mostFrequent(values.length);
    mark(part, wanted.length ? T.number(wanted.length) : "");
  }

  const part = section(field, [values.length > MANY && narrow, lines, toggle], true);
  put(values);
  show();
  return { part, show };
}

/** @param {HTMLElement} part @param {string} words */
function mark(part, words) {
  fill(/** @type {Element} */ (part.querySelector(".facet-count")), words);
}

/** @param {string} field @param {import("./api.js").Range} range */
function rangePart(field, range) {
  const whole = Number.isInteger(range.from) && Number.isInteger(range.to);
  const low = Math.floor(range.from),
    high = Math.ceil(range.to);
  const most = Math.max(1, ...range.bins.map(({ count }) => count));
  const bars = range.bins.map((bin) => {
    const bar = h("span", { class: "bin", title: T.bin(bin.from, bin.to, bin.count) });
    bar.style.height = `${bin.count ? Math.max(6, (bin.count / most) * 100) : 0}%`;
    return { bar, bin };
  });
  /** @type {(end: "from" | "to") => any} */
  const slider = (end) =>
    h("input", {
      type: "range",
      class: `range-${end}`,
      min: low,
      max: high,
      step: whole ? 1 : "any",
      "aria-label": T.rangeEnd(field, end),
    });
  const from = slider("from"),
    to = slider("to");
  const words = h("p", { class: "range-words" });

  const send = quiet(() => {
    const a = Number(from.value),
      b = Number(to.value);
    filter(field, a <= low && b >= high ? null : { from: a <= low ? null : a, to: b >= high ? null : b });
  }, QUIET_MS);

  function paint() {
    const a = Number(from.value),
      b = Number(to.value);
    const any = a <= low && b >= high;
    words.textContent = any ? T.anyOf(low, high) : T.between(whole ? a : Math.round(a), whole ? b : Math.round(b));
    for (const { bar, bin } of bars) bar.classList.toggle("out", bin.to < a || bin.from > b);
    for (const end of [from, to]) end.setAttribute("aria-valuetext", String(Math.round(Number(end.value))));
    box.style.setProperty("--from", String((a - low) / Math.max(1, high - low)));
    box.style.setProperty("--to", String((b - low) / Math.max(1, high - low)));
    mark(part, any ? "" : words.textContent);
  }

  const box = h(
    "div",
    { class: "range" },
    h(
      "div",
      { class: "bins", "aria-hidden": "true" },
      bars.map(({ bar }) => bar),
    ),
    from,
    to,
  );
  const part = section(field, [box, words], true);
  from.addEventListener("input", () => {
    if (Number(from.value) > Number(to.value)) from.value = to.value;
    paint();
    send();
  });
  to.addEventListener("input", () => {
    if (Number(to.value) < Number(from.value)) to.value = from.value;
    paint();
    send();
  });

  function show() {
    const wanted = state.query.where[field];
    const between = wanted && !Array.isArray(wanted) ? wanted : { from: null, to: null };
    from.value = String(between.from ?? low);
    to.value = String(between.to ?? high);
    paint();
  }
  show();
  return { part, show };
}

/** How the search itself goes: by names, by sound, one an artist. */
function manner() {
  const names = Object.entries(T.names).map(([value, words]) => {
    const box = h("input", { type: "radio", name: "names", value });
    box.addEventListener("change", () => ask({ names: /** @type {"also"} */ (value) }));
    return { box, line: h("label", { class: "segment" }, box, h("span", { text: words })) };
  });
  const varied = h("input", { type: "checkbox", on: { change: () => ask({ perArtist: varied.checked ? 1 : null }) } });
  const part = h(
    "div",
    { class: "manner" },
    h(
      "fieldset",
      { class: "segments" },
      h("legend", { class: "visually-hidden", text: T.searchIn }),
      names.map(({ line }) => line),
    ),
    h("label", { class: "facet-value" }, varied, h("span", { text: T.onePerArtist })),
  );
  const show = () => {
    for (const { box } of names) box.checked = box.value === state.query.names;
    varied.checked = state.query.perArtist !== null;
  };
  show();
  return { part, show };
}

export function makeFacets() {
  const panel = byId("facets");
  const first = manner();
  /** @type {{part: HTMLElement, show: () => void}[]} */
  let parts = [];
  const clear = h("button", {
    type: "button",
    class: "link",
    text: T.clearFilters,
    on: { click: () => ask({ where: {} }) },
  });
  let read = "";

  async function load() {
    const now = state.library?.state ?? "";
    if (read === now && parts.length) return;
    try {
      const fields = (state.library?.fields ?? []).filter((field) => !SINGULAR.includes(field));
      const { facets } = fields.length ? await api.facets(fields.join(","), MOST) : { facets: {} };
      read = now;
      const order = ["genre", "artist", "year", "bpm", "key"];
      const rank = (/** @type {string} */ field) => (order.includes(field) ? order.indexOf(field) : order.length);
      parts = Object.entries(facets)
        .filter(
          ([field, facet]) =>
            !SINGULAR.includes(field) && (Array.isArray(facet) ? facet.length > 1 : facet && facet.to > facet.from),
        )
        .sort(([a], [b]) => rank(a) - rank(b) || a.localeCompare(b))
        .map(([field, facet]) => (Array.isArray(facet) ? valuesPart(field, facet) : rangePart(field, facet)));
      fill(
        panel,
        h("h2", { class: "visually-hidden", text: T.filters }),
        first.part,
        clear,
        parts.map(({ part }) => part),
      );
      show();
    } catch {
      fill(panel, first.part); // the search works without filters, and says what is wrong
    }
  }

  function show() {
    clear.hidden = !Object.keys(state.query.where).length;
    first.show();
    for (const part of parts) part.show();
  }

  on("route", show);
  on("library", () => void load());
}

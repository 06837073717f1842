/** From one track to another in steps that each sound close to the one before. */

import { save } from "./actions.js";
import * as api from "./api.js";
import { button, iconButton } from "./buttons.js";
import { makeCover, makeNames } from "./cover.js";
import { byId, fill, h, quiet } from "./dom.js";
import { on } from "./events.js";
import * as player from "./player.js";
import { asHits, makeList } from "./rows.js";
import { go, state } from "./state.js";
import { name, T } from "./texts.js";

/**
 * @param {string} label
 * @param {string | null} id the track that is chosen
 * @param {(track: import("./api.js").Track) => void} choose
 */
function picker(label, id, choose) {
  const key = label.replace(/\W/g, "");
  const chosen = h("div", { class: "picked" });
  const list = h("ul", { class: "picks", id: `picks-${key}` });
  const note = h("p", { class: "hint", role: "status" });
  /** @type {AbortController | null} */
  let asking = null;

  const look = quiet(async () => {
    const text = input.value.trim();
    asking?.abort();
    if (!text) return fill(list);
    asking = new AbortController();
    try {
      const { hits } = await api.search(
        {
          texts: [{ text, weight: 1 }],
          minus: [],
          like: [],
          unlike: [],
          where: {},
          names: "also",
          offset: 0,
          limit: 6,
          windows: false,
        },
        asking.signal,
      );
      note.textContent = hits.length ? "" : T.nothing;
      fill(
        list,
        hits.map(({ track }) =>
          h(
            "li",
            {},
            h(
              "button",
              { type: "button", class: "pick", on: { click: () => choose(track) } },
              makeCover(track, "small"),
              makeNames(track),
            ),
          ),
        ),
      );
    } catch (error) {
      if (!api.isAbort(error)) note.textContent = api.words(error);
    }
  }, 150);

  const input = h("input", {
    type: "search",
    class: "field",
    id: `pick-${key}`,
    placeholder: T.pickHint,
    autocomplete: "off",
    on: { input: look },
  });
  if (id) {
    api.track(id).then(
      (track) => fill(chosen, makeCover(track, "small"), makeNames(track)),
      () => fill(chosen, h("span", { class: "trouble", text: T.unknownTrack })),
    );
  }
  return h(
    "div",
    { class: "picker" },
    h("label", { for: `pick-${key}`, text: label }),
    id && chosen,
    input,
    list,
    note,
  );
}

export function makePathView() {
  const view = byId("view-path");

  /** @param {Record<string, string>} change */
  const change = (change) => {
    const params = new URLSearchParams(state.route.params);
    for (const [key, value] of Object.entries(change)) params.set(key, value);
    go(`#/path?${params}`, { replace: true });
  };

  on("route", async ({ view: wanted, params }) => {
    if (wanted !== "path") return;
    const from = params.get("from"),
      to = params.get("to");
    const steps = Math.min(30, Math.max(3, Math.round(Number(params.get("steps"))) || 8));
    const list = makeList({ label: T.pathTitle });
    const tools = h("div", { class: "tools", hidden: true });
    const wanting = !from || !to ? T.pathHint : from === to ? T.pathSame : "";
    const note = h("p", { class: "hint", role: "status", text: wanting || T.loading });
    const count = h("input", {
      type: "number",
      class: "field",
      id: "steps",
      min: "3",
      max: "30",
      value: steps,
      on: { change: () => change({ steps: count.value }) },
    });
    fill(
      view,
      h("h1", { tabindex: "-1", text: T.pathTitle }),
      h("p", { class: "lead", text: T.pathLead }),
      h(
        "div",
        { class: "pickers" },
        picker(T.from, from, (track) => change({ from: track.id })),
        picker(T.to, to, (track) => change({ to: track.id })),
        h("div", { class: "picker steps" }, h("label", { for: "steps", text: T.steps }), count),
      ),
      h("div", { class: "result-head" }, note, tools),
      h("div", { class: "path-rows" }, list.el),
    );
    if (wanting || !from || !to) {
      /** @type {HTMLElement | null} */ (view.querySelectorAll("input")[from ? 1 : 0])?.focus();
      return;
    }
    view.querySelector("h1")?.focus({ preventScroll: true });
    try {
      const { tracks } = await api.path(from, to, steps);
      list.show(asHits(tracks));
      note.textContent =
        tracks.length > 1 ? T.pathFound(tracks.length, name(tracks[0]), name(tracks[tracks.length - 1])) : T.nothing;
      tools.hidden = !tracks.length;
      const items = tracks.filter((track) => !track.missing).map((track) => ({ track }));
      fill(
        tools,
        button(T.playAll, "play", () => player.playAll(items)),
        iconButton(T.saveResult, "save", () => save(items, T.pathTitle), { class: "button quiet" }),
      );
    } catch (error) {
      note.textContent = api.words(error);
    }
  });
}

/** The queue beside the page: what comes next, in which order. */

import { save } from "./actions.js";
import { button, iconButton } from "./buttons.js";
import { makeCover, makeNames } from "./cover.js";
import { byId, fill, h } from "./dom.js";
import { on, say } from "./events.js";
import { icon } from "./icons.js";
import * as player from "./player.js";
import { setting } from "./state.js";
import { name, T } from "./texts.js";

const MOST_AFTER = 12;

const panel = () => byId("queue");

/** @param {boolean} [wanted] */
export function toggleQueue(wanted) {
  const open = wanted ?? panel().hidden;
  panel().hidden = !open;
  document.body.classList.toggle("with-queue", open);
  byId("queue-button").setAttribute("aria-expanded", String(open));
  if (open) {
    showQueue();
    panel().querySelector("h2")?.focus();
  } else byId("queue-button").focus();
}

/** @param {import("./player.js").Item} item @param {any[]} actions @param {object} [more] */
function line(item, actions, more = {}) {
  return h(
    "li",
    { class: "queue-line", ...more },
    makeCover(item.track, "small"),
    makeNames(item.track),
    h("div", { class: "queue-actions" }, actions),
  );
}

/** @param {number} place @param {number} to */
function move(place, to) {
  const { queue } = player.player;
  if (to < 0 || to >= queue.length) return;
  player.reorder(place, to);
  say(T.movedTo(name(queue[to].track), to + 1, queue.length));
  /** @type {HTMLElement | null} */ (panel().querySelector(`[data-place="${to}"]`))?.focus();
}

/** @param {import("./player.js").Item} item @param {number} place */
function queued(item, place) {
  const title = name(item.track);
  /** @type {(label: string, sign: import("./icons.js").IconName, run: () => void) => HTMLElement} */
  const act = (label, sign, run) => iconButton(label, sign, run, { class: "icon-button small" });
  const row = line(
    item,
    [
      act(T.moveUp(title), "up", () => move(place, place - 1)),
      act(T.moveDown(title), "down", () => move(place, place + 1)),
      act(T.unqueue(title), "close", () => player.unqueue(place)),
    ],
    { tabindex: "0", draggable: "true", data: { place: String(place) }, "aria-label": T.queuePlace(title, place + 1) },
  );
  row.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.target !== row) return;
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key] ?? 0;
    if (step && event.altKey) move(place, place + step);
    else if (step) /** @type {HTMLElement | null} */ (panel().querySelector(`[data-place="${place + step}"]`))?.focus();
    else if (event.key === "Delete" || event.key === "Backspace") {
      player.unqueue(place);
      const rest = panel().querySelector(`[data-place="${Math.min(place, player.player.queue.length - 1)}"]`);
      /** @type {HTMLElement} */ (rest ?? panel().querySelector("h2"))?.focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  row.addEventListener("dragstart", (/** @type {DragEvent} */ event) =>
    event.dataTransfer?.setData("text/x-place", String(place)),
  );
  row.addEventListener("dragover", (/** @type {DragEvent} */ event) => {
    if (event.dataTransfer?.types.includes("text/x-place")) event.preventDefault();
  });
  row.addEventListener("drop", (/** @type {DragEvent} */ event) => {
    const from = event.dataTransfer?.getData("text/x-place");
    if (from) player.reorder(Number(from), place);
    event.preventDefault();
  });
  return row;
}

/** @type {{radio: import("./player.js").Radio, el: HTMLElement} | null} */
let tuner = null;

/** The same as long as it is the same radio, so that the slider keeps the focus. */
function radioPart() {
  const { radio } = player.player;
  if (!radio) return null;
  if (tuner?.radio === radio) return tuner.el;
  const drift = h("input", {
    type: "range",
    class: "slider",
    min: "0",
    max: "1",
    step: "0.05",
    value: setting("drift", "0.3"),
    on: {
      change: () => player.setDrift(Number(drift.value)),
      input: () => drift.style.setProperty("--share", drift.value),
    },
  });
  drift.style.setProperty("--share", drift.value);
  const el = h(
    "div",
    { class: "radio" },
    h("p", { class: "radio-title" }, icon("radio"), T.radioFrom(name(radio.start))),
    h("label", { class: "radio-drift" }, h("span", { text: T.drift }), drift),
    h("p", { class: "hint", text: T.driftHint }),
  );
  tuner = { radio, el };
  return el;
}

function showQueue() {
  if (panel().hidden) return;
  const { now, queue, context, radio } = player.player;
  const after = context.slice(0, MOST_AFTER);
  const focused = document.activeElement;
  fill(
    panel(),
    h(
      "header",
      { class: "queue-head" },
      h("h2", { tabindex: "-1", text: T.queue }),
      iconButton(T.closeQueue, "close", () => toggleQueue(false)),
    ),
    h(
      "div",
      { class: "queue-tools" },
      button(T.savePlaylist, "save", () => now && save([now, ...queue], T.queueName), { disabled: !now }),
      h(
        "button",
        { type: "button", class: "button quiet", disabled: !queue.length, on: { click: player.clearQueue } },
        T.clear,
      ),
    ),
    radioPart(),
    now && h("h3", { text: T.playingNow }),
    now && h("ul", { class: "queue-list" }, line(now, [])),
    h("h3", { text: T.nextInQueue }),
    queue.length
      ? h("ol", { class: "queue-list" }, queue.map(queued))
      : h("p", { class: "hint", text: radio ? (radio.over ? T.radioOver : T.radioTuning) : T.queueEmpty }),
    after.length > 0 && h("h3", { text: T.thenFromList }),
    after.length > 0 &&
      h(
        "ol",
        { class: "queue-list faint" },
        after.map((item) => line(item, [])),
      ),
  );
  if (focused instanceof HTMLElement && panel().contains(focused)) focused.focus();
}

on("queue", showQueue);

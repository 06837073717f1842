/** The parts of the query beside the search box: words, words against, tracks like and unlike, each with a weight. */

import * as api from "./api.js";
import { iconButton } from "./buttons.js";
import { byId, fill, h } from "./dom.js";
import { on } from "./events.js";
import { closePanel, openPanel } from "./menu.js";
import { ranks } from "./query.js";
import { ask, state } from "./state.js";
import { clock, name, T } from "./texts.js";

const LEAST = 0.1,
  MOST = 3;

/** @typedef {"also" | "minus" | "like" | "unlike"} Side */

/** @param {Side} side @param {number} place @param {object | null} change null: without it */
function changed(side, place, change) {
  const list = [...state.query[side]];
  if (change) list[place] = { ...list[place], ...change };
  else list.splice(place, 1);
  ask({ [side]: list });
}

/** @param {HTMLElement} button @param {string} label @param {number} weight @param {(weight: number) => void} set */
function openWeight(button, label, weight, set) {
  const shown = h("output", { class: "weight-value", text: T.weight(weight) });
  const slider = h("input", {
    type: "range",
    class: "slider",
    min: LEAST,
    max: MOST,
    step: "0.1",
    value: weight,
    "aria-label": T.weightOf(label),
  });
  const share = () => slider.style.setProperty("--share", String((Number(slider.value) - LEAST) / (MOST - LEAST)));
  share();
  slider.addEventListener("input", () => {
    shown.textContent = T.weight(Number(slider.value));
    share();
  });
  slider.addEventListener("change", () => set(Number(slider.value)));
  openPanel(
    button,
    h(
      "div",
      { class: "weight", role: "group", "aria-label": T.weightOf(label) },
      h("span", { text: T.counts }),
      slider,
      shown,
      h("button", { type: "button", class: "button quiet", text: T.done, on: { click: () => closePanel() } }),
    ),
  );
  slider.focus();
}

/**
 * @param {Side} side
 * @param {number} place
 * @param {string | HTMLElement} content
 * @param {string} label
 * @param {number} weight
 */
function chip(side, place, content, label, weight) {
  const against = side === "minus" || side === "unlike";
  const weightButton = h(
    "button",
    {
      type: "button",
      class: "chip-weight",
      "aria-label": T.changeWeight(label, weight),
      "aria-expanded": "false",
      title: T.weightOf(label),
      on: { click: () => openWeight(weightButton, label, weight, (next) => changed(side, place, { weight: next })) },
    },
    T.weight(weight),
  );
  return h(
    "li",
    { class: `chip ${against ? "against" : "for"}` },
    h("span", { class: "chip-kind", text: T.sides[side] }),
    typeof content === "string" ? h("span", { class: "chip-text", text: content, title: content }) : content,
    weightButton,
    iconButton(
      T.remove(label),
      "close",
      () => {
        changed(side, place, null);
        byId("chips").querySelector("button")?.focus();
      },
      { class: "chip-remove" },
    ),
  );
}

/** @param {Side} side @param {import("./query.js").Example} example @param {number} place */
function exampleChip(side, example, place) {
  const part = example.start_s === undefined ? "" : ` ${T.part(clock(example.start_s), clock(example.end_s ?? 0))}`;
  if (example.kind === "upload") return chip(side, place, example.name + part, example.name ?? "", example.weight);
  const text = h("span", { class: "chip-text", text: `…${part}` });
  const made = chip(side, place, text, T.aTrack, example.weight);
  api.track(example.id).then(
    (track) => {
      text.textContent = text.title = name(track) + part;
      made.querySelector(".chip-remove")?.setAttribute("aria-label", T.remove(name(track)));
      made.querySelector(".chip-weight")?.setAttribute("aria-label", T.changeWeight(name(track), example.weight));
    },
    () => {
      text.textContent = T.unknownTrack;
    },
  );
  return made;
}

/** @param {"also" | "minus"} side */
function adder(side) {
  const input = h("input", {
    class: "chip-input",
    "aria-label": T.adders[side].label,
    placeholder: T.adders[side].hint,
    maxlength: "200",
    enterkeyhint: "done",
  });
  const form = h(
    "form",
    { class: "chip-form" },
    h("span", { class: "chip-kind", "aria-hidden": "true", text: T.sides[side] }),
    input,
  );
  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) return;
    input.value = "";
    ask({ [side]: [...state.query[side], { text, weight: 1 }] });
    input.focus();
  });
  return h("li", { class: `chip adder ${side === "minus" ? "against" : "for"}` }, form);
}

export function makeChips() {
  const adders = [adder("also"), adder("minus")];
  let shown = "";

  function show() {
    byId("chips").hidden = !ranks(state.query);
    const { also, minus, like, unlike } = state.query;
    const now = JSON.stringify([also, minus, like, unlike]);
    if (now === shown) return;
    shown = now;
    // The adders stay in the page, and so does the focus in them.
    for (const old of byId("chips").querySelectorAll(".chip:not(.adder)")) old.remove();
    byId("chips").prepend(
      ...also.map((words, i) => chip("also", i, words.text, words.text, words.weight)),
      ...like.map((example, i) => exampleChip("like", example, i)),
      ...minus.map((words, i) => chip("minus", i, words.text, words.text, words.weight)),
      ...unlike.map((example, i) => exampleChip("unlike", example, i)),
    );
  }

  fill(byId("chips"), adders);
  on("route", show);
}

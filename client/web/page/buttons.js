/** Buttons: a sign and words, or a sign alone, whose words are read out and shown by the pointer. */

import { h } from "./dom.js";
import { icon } from "./icons.js";

/**
 * @param {string} words
 * @param {import("./icons.js").IconName} sign
 * @param {(event: Event) => void} run
 * @param {object} [more] its other properties, as of `h`
 */
export const button = (words, sign, run, more = {}) =>
  h("button", { type: "button", class: "button", ...more, on: { click: run } }, icon(sign), words);

/**
 * @param {string} label
 * @param {import("./icons.js").IconName} sign
 * @param {(event: Event) => void} run
 * @param {object} [more] its other properties, as of `h`
 */
export const iconButton = (label, sign, run, more = {}) =>
  h(
    "button",
    { type: "button", class: "icon-button", "aria-label": label, title: label, ...more, on: { click: run } },
    icon(sign),
  );

/** What every button has that opens a menu. */
export const OPENS_MENU = { "aria-haspopup": "menu", "aria-expanded": "false" };

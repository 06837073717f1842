/** A track as lists show it: its cover, or a sleeve drawn from its id where it has none, and its names. */

import { coverUrl } from "./api.js";
import { h } from "./dom.js";
import { trackHash } from "./state.js";
import { byline } from "./texts.js";

/** @type {Set<string>} tracks that turned out to have none, so that they are not asked for again */
const bare = new Set();

/** @param {string} text @returns {number} 0..1, always the same for the same text */
export function fraction(text) {
  let hash = 2166136261;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 16777619);
  hash ^= hash >>> 15;
  return (Math.imul(hash, 2246822507) >>> 0) / 2 ** 32;
}

/** @param {{id: string, missing?: boolean}} track @param {string} [extra] @returns {HTMLElement} */
export function makeCover({ id, missing = false }, extra = "") {
  const sleeve = h("span", { class: `sleeve ${extra}` });
  const hue = Math.round(fraction(id) * 360);
  const turn = Math.round(fraction(`${id}turn`) * 360);
  sleeve.style.setProperty("--hue", String(hue));
  sleeve.style.setProperty("--turn", `${turn}deg`);
  sleeve.style.setProperty("--at-x", `${Math.round(fraction(`${id}x`) * 100)}%`);
  sleeve.style.setProperty("--at-y", `${Math.round(fraction(`${id}y`) * 100)}%`);
  if (missing || bare.has(id)) return sleeve;
  const image = h("img", { alt: "", loading: "lazy", decoding: "async", draggable: "false" });
  image.addEventListener("load", () => sleeve.classList.add("has-cover"));
  image.addEventListener("error", () => {
    bare.add(id);
    image.remove();
  });
  image.src = coverUrl(id);
  sleeve.append(image);
  return sleeve;
}

/** @param {import("./api.js").Track} track @param {{link?: boolean}} [how] @param {...any} more lines below */
export const makeNames = (track, { link = false } = {}, ...more) =>
  h(
    "span",
    { class: "cell-title" },
    link
      ? h("a", { class: "title", href: trackHash(track.id), text: track.title })
      : h("span", { class: "title", text: track.title }),
    h("span", { class: "by", text: byline(track) }),
    more,
  );

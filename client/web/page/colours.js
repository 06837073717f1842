/** What colour each point of the map has, by what its track's field says or by how well the track fits. */

import { colour } from "./dom.js";
import { heat } from "./strip.js";
import { T } from "./texts.js";

const SHADES = 9,
  STEPS = 64,
  LEAST_NAMED = 3;
const LEGEND = [0, 0.25, 0.5, 0.75, 1];

/**
 * @typedef {[number, number, number]} Rgb
 *
 * @typedef {object} Painting
 * @property {Rgb[]} colours one a point
 * @property {{text: string, colour: Rgb}[]} legend
 * @property {{x: number, y: number, text: string}[]} names of groups, where most of each is
 */

/** @param {number} rank below 0 and beyond the last: that of the rest @returns {Rgb} */
const shade = (rank) => colour(rank >= 0 && rank < SHADES ? `var(--shade-${rank})` : "var(--shade-rest)");

/** @param {number} count @returns {Painting} */
export function paintPlain(count) {
  const one = shade(0);
  return { colours: Array.from({ length: count }, () => one), legend: [], names: [] };
}

/**
 * @param {(number | null)[]} shares 0..1
 * @param {string} low what 0 means
 * @param {string} high what 1 means
 * @returns {Painting}
 */
export function paintShares(shares, low, high) {
  const ramp = Array.from({ length: STEPS }, (_, i) => heat(i / (STEPS - 1)));
  const rest = shade(-1);
  const texts = [low, "", "", "", high];
  return {
    colours: shares.map((share) =>
      share === null ? rest : ramp[Math.round(Math.min(1, Math.max(0, share)) * (STEPS - 1))],
    ),
    legend: LEGEND.map((share, i) => ({ text: texts[i], colour: heat(share) })),
    names: [],
  };
}

/**
 * @param {any[]} values of a field; of several in one track, the first counts
 * @param {Float32Array} positions
 * @returns {Painting}
 */
export function paintValues(values, positions) {
  const firsts = values.map((value) => (Array.isArray(value) ? value[0] : value) ?? null);
  const known = firsts.filter((value) => value !== null);
  if (known.length && known.every((value) => typeof value === "number")) {
    const low = known.reduce((a, b) => Math.min(a, b));
    const high = known.reduce((a, b) => Math.max(a, b));
    const shares = firsts.map((value) => (value === null ? null : (value - low) / Math.max(1e-9, high - low)));
    return paintShares(shares, T.value(low), T.value(high));
  }
  /** @type {Map<string, number[]>} */
  const groups = new Map();
  firsts.forEach((value, i) => {
    if (value === null) return;
    const group = groups.get(String(value));
    if (group) group.push(i);
    else groups.set(String(value), [i]);
  });
  const largest = [...groups].sort(([, a], [, b]) => b.length - a.length).slice(0, SHADES);
  const rest = shade(-1);
  const colours = firsts.map(() => rest);
  const legend = largest.map(([text, members], rank) => {
    const own = shade(rank);
    for (const i of members) colours[i] = own;
    return { text, colour: own };
  });
  if (groups.size > SHADES) legend.push({ text: T.others, colour: rest });
  const names = largest
    .filter(([, members]) => members.length >= LEAST_NAMED)
    .map(([text, members]) => {
      // The middle one by each axis, as a mean falls between two islands.
      const middle = (/** @type {number} */ axis) =>
        members.map((i) => positions[2 * i + axis]).sort((a, b) => a - b)[members.length >> 1];
      return { x: middle(0), y: middle(1), text };
    });
  return { colours, legend, names };
}

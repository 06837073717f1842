/** The strip of a track's windows: bars in time, taller and warmer where it fits better. */

import { colour, h } from "./dom.js";
import { on } from "./events.js";
import { clock, T } from "./texts.js";

const BAR = 3,
  GAP = 1.5,
  LEAST_HEIGHT = 0.14;

/** @type {WeakMap<Element, () => void>} */
const painters = new WeakMap();
/** @type {[number, number, number][]} */
let ramp = [];

const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) painters.get(target)?.();
});

on("theme", () => {
  ramp = [];
  for (const canvas of document.querySelectorAll("canvas.strip")) painters.get(canvas)?.();
});

/** The colour of a fit. @param {number} fit 0..1 @returns {[number, number, number]} */
export function heat(fit) {
  if (!ramp.length) ramp = ["var(--fit-0)", "var(--fit-1)", "var(--fit-2)"].map(colour);
  const place = Math.min(1, Math.max(0, fit)) * 2;
  const low = Math.min(1, Math.floor(place));
  const share = place - low;
  const [a, b] = [ramp[low], ramp[low + 1]];
  const mixed = a.map((from, i) => Math.round(from + (b[i] - from) * share));
  return [mixed[0], mixed[1], mixed[2]];
}

/**
 * How well each of so many equal parts of the track fits: between the windows' starts in a straight line, and never
 * below a window that starts within the part, so that no peak is lost where bars are few.
 *
 * @param {import("./api.js").Windows} windows
 * @param {number} durationS
 * @param {number} parts
 */
export function fitOfParts({ starts_s: starts, fits }, durationS, parts) {
  const found = new Float32Array(parts);
  let window = 0;
  for (let part = 0; part < parts; part++) {
    const middle = ((part + 0.5) / parts) * durationS;
    while (window + 1 < starts.length && starts[window + 1] <= middle) window++;
    const gap = (starts[window + 1] ?? starts[window]) - starts[window];
    const share = gap > 0 ? Math.min(1, Math.max(0, (middle - starts[window]) / gap)) : 0;
    found[part] = fits[window] + ((fits[window + 1] ?? fits[window]) - fits[window]) * share;
  }
  starts.forEach((start, i) => {
    const part = Math.min(parts - 1, Math.floor((start / durationS) * parts));
    if (part >= 0) found[part] = Math.max(found[part], fits[i]);
  });
  return found;
}

/**
 * @typedef {object} Strip
 * @property {HTMLCanvasElement} el
 * @property {(windows: import("./api.js").Windows | null, durationS: number, startS?: number | null) => void} show
 * @property {(seconds: number | null) => void} move puts the play head
 */

/**
 * @param {{seek?: (seconds: number) => void, hidden?: boolean}} options seek: called with where it was clicked; hidden:
 *   from screen readers, where something beside it says the same
 * @returns {Strip}
 */
export function makeStrip({ seek, hidden = false }) {
  const canvas = h("canvas", { class: "strip", ...(hidden ? { "aria-hidden": "true" } : { role: "img" }) });
  /** @type {import("./api.js").Windows | null} */
  let windows = null;
  let durationS = 1;
  /** @type {number | null} */
  let head = null;
  /** @type {number | null} */
  let pointer = null;

  function paint() {
    const ratio = devicePixelRatio || 1;
    const width = canvas.clientWidth,
      height = canvas.clientHeight;
    if (!width || !height) return;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const bars = Math.max(1, Math.floor(width / (BAR + GAP)));
    const step = width / bars;
    const fits = windows?.starts_s.length ? fitOfParts(windows, durationS, bars) : null;
    for (let bar = 0; bar < bars; bar++) {
      const fit = fits ? fits[bar] : 0;
      const tall = fits ? (LEAST_HEIGHT + (1 - LEAST_HEIGHT) * fit) * height : 3;
      context.fillStyle = `rgb(${heat(fit).join(" ")})`;
      context.beginPath();
      context.roundRect(bar * step, fits ? height - tall : (height - tall) / 2, step - GAP, tall, 1.5);
      context.fill();
    }
    if (head !== null) mark(context, head, height, "var(--ink)", 2);
    if (pointer !== null) mark(context, pointer, height, "var(--ink-2)", 1);
  }

  /** @type {(context: CanvasRenderingContext2D, seconds: number, height: number, css: string, wide: number) => void} */
  function mark(context, seconds, height, css, wide) {
    const x = Math.min(canvas.clientWidth - wide, (seconds / durationS) * canvas.clientWidth);
    context.fillStyle = `rgb(${colour(css).join(" ")})`;
    context.fillRect(x, 0, wide, height);
  }

  /** @param {PointerEvent | MouseEvent} event */
  const pointed = (event) => (event.offsetX / canvas.clientWidth) * durationS;

  painters.set(canvas, paint);
  resized.observe(canvas);
  if (seek) {
    canvas.classList.add("seekable");
    canvas.addEventListener("click", (/** @type {MouseEvent} */ event) => {
      event.stopPropagation();
      seek(pointed(event));
    });
    canvas.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
      pointer = pointed(event);
      canvas.title = T.playFrom(clock(pointer));
      paint();
    });
    canvas.addEventListener("pointerleave", () => {
      pointer = null;
      paint();
    });
  }

  return {
    el: canvas,
    show(next, seconds, startS = null) {
      windows = next;
      durationS = Math.max(0.1, seconds);
      if (!hidden) canvas.setAttribute("aria-label", T.stripLabel(next ? startS : null));
      paint();
    },
    move(seconds) {
      head = seconds;
      paint();
    },
  };
}

/** Where the map is looked at, and how the world and the screen go over into each other. */

const NEAREST = 400,
  FARTHEST = 0.6,
  MARGIN = 0.92,
  EDGE = 1.2;

/**
 * @param {HTMLElement} frame
 * @param {() => void} changed
 */
export function makeLook(frame, changed) {
  /** @type {import("./points.js").Look} */
  const at = { x: 0, y: 0, scale: 100 };
  /** The scale at which all of the world is seen. */
  let whole = 100;

  const width = () => frame.clientWidth;
  const height = () => frame.clientHeight;

  /** @param {number} px @param {number} py @returns {[number, number]} */
  const toWorld = (px, py) => [at.x + (px - width() / 2) / at.scale, at.y - (py - height() / 2) / at.scale];

  /** @param {number} x @param {number} y @returns {[number, number]} */
  const toScreen = (x, y) => [width() / 2 + (x - at.x) * at.scale, height() / 2 - (y - at.y) * at.scale];

  /** @param {number} dx @param {number} dy in pixels, as a finger draws the map along */
  function pan(dx, dy) {
    at.x = Math.min(EDGE, Math.max(-EDGE, at.x - dx / at.scale));
    at.y = Math.min(EDGE, Math.max(-EDGE, at.y + dy / at.scale));
    changed();
  }

  function showAll() {
    whole = (Math.min(width(), height()) / 2) * MARGIN || 100;
    Object.assign(at, { x: 0, y: 0, scale: whole });
    changed();
  }

  return {
    at,
    toWorld,
    toScreen,
    pan,
    showAll,
    nearness: () => Math.log2(at.scale / whole + 1),

    /** @param {number} factor @param {number} [px] @param {number} [py] what stays where it is */
    zoom(factor, px = width() / 2, py = height() / 2) {
      const [x, y] = toWorld(px, py);
      at.scale = Math.min(whole * NEAREST, Math.max(whole * FARTHEST, at.scale * factor));
      const [nowX, nowY] = toScreen(x, y);
      pan(px - nowX, py - nowY);
    },

    /** @param {number} x @param {number} y */
    goTo(x, y) {
      Object.assign(at, { x, y, scale: Math.max(at.scale, whole * 4) });
      changed();
    },

    /** The frame has another size now. */
    resize() {
      const wasWhole = at.scale === whole;
      whole = (Math.min(width(), height()) / 2) * MARGIN || 100;
      if (wasWhole) showAll();
      else changed();
    },
  };
}

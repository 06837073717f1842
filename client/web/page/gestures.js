/** What fingers, mouse and wheel do on a surface: move, zoom, point, tap, and draw a line. */

const TAP_PX = 6,
  WHEEL = 0.0016,
  PINCHED_WHEEL = 0.01; // how browsers tell of two fingers on a touchpad

/**
 * @typedef {[number, number]} Place
 *
 * @param {HTMLElement} surface
 * @param {object} does
 * @param {() => void} does.begin
 * @param {(dx: number, dy: number) => void} does.move
 * @param {(factor: number, x: number, y: number) => void} does.zoom
 * @param {(x: number, y: number) => void} does.tap
 * @param {(x: number, y: number) => void} does.point
 * @param {() => void} does.leave
 * @param {() => boolean} does.draws whether a finger draws now, instead of moving
 * @param {(line: Place[], done: boolean) => void} does.draw
 */
export function listenToGestures(surface, does) {
  /** @type {Map<number, Place>} */
  const fingers = new Map();
  /** @type {Place[]} */
  let line = [];
  let moved = 0;
  let apart = 0;

  surface.addEventListener("pointerdown", (event) => {
    surface.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    moved = apart = 0;
    does.begin();
    if (does.draws() || event.shiftKey) line = [[event.offsetX, event.offsetY]];
  });
  surface.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    const now = /** @type {Place} */ ([event.offsetX, event.offsetY]);
    if (!before) {
      if (event.pointerType === "mouse") does.point(...now);
      return;
    }
    fingers.set(event.pointerId, now);
    moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (line.length) {
      line.push(now);
      does.draw(line, false);
    } else if (fingers.size === 2) {
      const [a, b] = [...fingers.values()];
      const was = apart;
      apart = Math.hypot(a[0] - b[0], a[1] - b[1]);
      if (was) does.zoom(apart / was, (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
    } else does.move(now[0] - before[0], now[1] - before[1]);
  });
  /** @param {PointerEvent} event */
  const end = (event) => {
    fingers.delete(event.pointerId);
    apart = 0;
    const drawn = line;
    line = [];
    if (drawn.length) does.draw(drawn, true);
    else if (moved < TAP_PX && event.type === "pointerup") does.tap(event.offsetX, event.offsetY);
  };
  surface.addEventListener("pointerup", end);
  surface.addEventListener("pointercancel", end);
  surface.addEventListener("pointerleave", does.leave);
  surface.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      does.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? PINCHED_WHEEL : WHEEL)), event.offsetX, event.offsetY);
    },
    { passive: false },
  );
}

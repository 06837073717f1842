/** The page's icons: strokes on a grid of 24, built as SVG nodes. */

const SVG = "http://www.w3.org/2000/svg";

const STROKES = {
  play: "M7.5 4.6v14.8L19.5 12z",
  pause: "M7 5h3.2v14H7zM13.8 5H17v14h-3.2z",
  next: "M6 5.5v13L15 12zM18 5.5v13",
  previous: "M18 5.5v13L9 12zM6 5.5v13",
  search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.3 15.3 20 20",
  queue: "M4 6h16M4 11h10M4 16h7M16.5 13.5v6l4.5-3z",
  volume: "M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM15.5 9a4 4 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11",
  mute: "M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM16 9.5l5 5M21 9.5l-5 5",
  like: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8.5v7M8.5 12h7",
  unlike: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM8.5 12h7",
  more: "M5.5 12h.01M12 12h.01M18.5 12h.01",
  close: "M6 6l12 12M18 6 6 18",
  up: "M6 14.5l6-6 6 6",
  down: "M6 9.5l6 6 6-6",
  filter: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.8v4.4M9 14.8v4.4",
  mic: "M12 3.5a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0v-5a3 3 0 0 0-3-3zM5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3",
  upload: "M12 15.5V4.5M7.5 8.5l4.5-4.5 4.5 4.5M4.5 15.5v4h15v-4",
  light:
    "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.8v2M12 19.2v2M2.8 12h2M19.2 12h2M5.5 5.5l1.4 1.4M17.1 17.1l1.4 1.4M18.5 5.5l-1.4 1.4M6.9 17.1l-1.4 1.4",
  dark: "M19.5 14.3A8 8 0 1 1 9.7 4.5a6.5 6.5 0 0 0 9.8 9.8z",
  system: "M4 5h16v11H4zM9 20h6",
  map: "M5 6.5h.01M9 15h.01M12.5 9h.01M16 16.5h.01M18.5 6h.01M6.5 19.5h.01M15.5 12.5h.01M8.5 10.5h.01M19 19h.01",
  library: "M5 4.5v15M9 4.5v15M13 5l5.5 14",
  link: "M10 14a4 4 0 0 0 6 .4l2.6-2.6a4 4 0 0 0-5.7-5.7L11.6 7.4M14 10a4 4 0 0 0-6-.4l-2.6 2.6a4 4 0 0 0 5.7 5.7l1.3-1.3",
  save: "M12 4.5v11M7.5 11.5 12 16l4.5-4.5M4.5 19.5h15",
  radio:
    "M12 10.5a1.5 1.5 0 1 0 0 3 1.5 1.5 0 0 0 0-3zM8.3 8.3a5.2 5.2 0 0 0 0 7.4M15.7 15.7a5.2 5.2 0 0 0 0-7.4M5.5 5.5a9.2 9.2 0 0 0 0 13M18.5 18.5a9.2 9.2 0 0 0 0-13",
  path: "M6 16.5a2 2 0 1 0 0 4 2 2 0 0 0 0-4zM18 3.5a2 2 0 1 0 0 4 2 2 0 0 0 0-4zM8 18.5h6.5a3.3 3.3 0 0 0 0-6.5h-5a3.3 3.3 0 0 1 0-6.5H16",
  lasso:
    "M12 4.5c4.7 0 8.5 2.3 8.5 5.2s-3.8 5.3-8.5 5.3-8.5-2.4-8.5-5.3S7.3 4.5 12 4.5zM7 14c-1.5 1-1.5 3 .5 3.5 1.5.4 1.5 2-.5 2.5",
  check: "M5 12.5l4.5 4.5L19.5 7",
  warning: "M12 4 3 19.5h18zM12 10v4.5M12 17h.01",
  keyboard: "M3 6.5h18v11H3zM7 10h.01M10.5 10h.01M14 10h.01M17.5 10h.01M8 14h8",
  add: "M12 5v14M5 12h14",
  less: "M5 12h14",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
};

/** @typedef {keyof typeof STROKES} IconName */

/** @type {Partial<Record<IconName, string>>} */
const CLASSES = { play: "solid", pause: "solid", more: "dots", map: "dots" };

/** @param {IconName} name @param {string} [extra] a class */
export function icon(name, extra = "") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon ${CLASSES[name] ?? ""} ${extra}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", STROKES[name]);
  svg.append(path);
  return svg;
}

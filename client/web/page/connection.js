/** Whether the server is there. It may go away and come back under an open page, which then goes on by itself. */

import * as api from "./api.js";
import { byId, fill, h } from "./dom.js";
import { on, tell } from "./events.js";
import { icon } from "./icons.js";
import { state } from "./state.js";
import { T } from "./texts.js";

const FIRST_S = 1,
  MOST_S = 15,
  CALM_MS = 4000;

let up = true;
let waitS = FIRST_S;
let timer = 0;
/** @type {EventSource | null} */
let source = null;

/** Reads what the library is, and tells when its tracks are not those of before. */
export async function readLibrary() {
  const before = state.library?.state;
  state.library = await api.library();
  document.body.classList.toggle("read-only", state.library.read_only);
  const changed = before !== undefined && before !== state.library.state;
  if (changed) api.forgetTracks();
  tell("library");
  if (changed) tell("changed");
}

function retrySoon() {
  clearTimeout(timer);
  timer = setTimeout(() => void retry(), waitS * 1000);
  waitS = Math.min(MOST_S, waitS * 2);
}

async function retry() {
  try {
    await readLibrary();
  } catch {
    if (!up) retrySoon();
  }
}

function showBanner() {
  const banner = byId("banner");
  banner.hidden = up;
  if (!up) {
    fill(
      banner,
      icon("warning"),
      h("span", { text: T.away }),
      h("button", {
        type: "button",
        class: "button quiet",
        text: T.tryNow,
        on: {
          click: () => {
            waitS = FIRST_S;
            void retry();
          },
        },
      }),
    );
  }
}

/** @param {MessageEvent} event */
function read(event) {
  try {
    return JSON.parse(event.data);
  } catch {
    return null;
  }
}

let readAt = -Infinity;
let readTimer = 0;

/** A library that is added to changes all the time; nobody needs its every state. */
function readSoon() {
  clearTimeout(readTimer);
  readTimer = setTimeout(
    () => {
      readAt = performance.now();
      void readLibrary().catch(() => {});
    },
    Math.max(0, readAt + CALM_MS - performance.now()),
  );
}

function listen() {
  source?.close();
  source = new EventSource(api.EVENTS);
  source.addEventListener("job", (event) => {
    const job = read(event);
    if (job) tell("job", job);
  });
  source.addEventListener("library", (event) => {
    if (read(event)?.state !== state.library?.state) readSoon();
  });
  source.addEventListener("map", (event) => tell("map", read(event)));
  source.addEventListener("error", () => {
    // Whether the server is there, a request tells. The browser tries again by itself, unless it was refused.
    if (up) void readLibrary().catch(() => {});
    if (source?.readyState === EventSource.CLOSED)
      setTimeout(() => up && source?.readyState === EventSource.CLOSED && listen(), MOST_S * 1000);
  });
}

export function watch() {
  on("connection", ({ up: now, busy }) => {
    byId("busy").textContent = busy ? T.busy(Math.ceil(busy)) : "";
    if (now === undefined || now === up) return;
    up = now;
    showBanner();
    if (up) {
      waitS = FIRST_S;
      clearTimeout(timer);
      if (source?.readyState === EventSource.CLOSED) listen();
      tell("connection", { back: true });
    } else retrySoon();
  });
  listen();
}

addEventListener("online", () => {
  if (!up) void retry();
});
addEventListener("pagehide", () => source?.close());
addEventListener("pageshow", (event) => {
  if (event.persisted) listen();
});

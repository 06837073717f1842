/** What plays and what plays next. One audio element; the queue first, then the list that was played from. */

import * as api from "./api.js";
import { on, say, tell } from "./events.js";
import { describes, toWish } from "./query.js";
import { keepSetting, mayChange, setting, state } from "./state.js";
import { name, T } from "./texts.js";

/**
 * @typedef {object} Item
 * @property {import("./api.js").Track} track
 * @property {number | null} [start_s]
 * @property {import("./api.js").Windows | null} [windows]
 * @property {"radio" | "list"} [by] what put it into the queue, where nobody did by hand
 */

/**
 * @typedef {object} Radio
 * @property {import("./api.js").Track} start
 * @property {number} drift
 * @property {number} seed
 * @property {string[]} played ids
 * @property {boolean} over whether it has nothing more
 */

/** @type {{now: Item | null, queue: Item[], context: Item[], past: Item[], radio: Radio | null, trouble: string}} */
export const player = { now: null, queue: [], context: [], past: [], radio: null, trouble: "" };

const STORE = "player";
const MOST_PAST = 200,
  MOST_KEPT = 200,
  MOST_PLAYED = 500,
  RADIO_AHEAD = 5,
  RADIO_MORE = 15;

export const audio = new Audio();
audio.preload = "metadata";
audio.volume = Number(setting("volume", "0.9"));
audio.muted = setting("muted") === "1";

/** Where the track now loading is to begin. */
let startAt = 0;
let wasPlaying = false;
/** Whether the track began by itself, after the one before. */
let followed = false;

export const isPlaying = () => !audio.paused && !audio.ended && !audio.error;

/** @param {string} id */
export const isNow = (id) => player.now?.track.id === id;

/** What to tell of a track whose file is not there. @param {import("./api.js").Track} track */
export const moved = (track) => T.movedFile(track.file, mayChange());

/** @returns {number} the server's word: a stream that is transcoded may not know its own end */
export const duration = () =>
  player.now?.track.duration_s || (Number.isFinite(audio.duration) ? audio.duration : 0) || 1;

export const position = () => (audio.readyState > 0 ? audio.currentTime : startAt);

/**
 * @param {Item} item
 * @param {{from?: number | null, paused?: boolean}} [how] from: seconds; without, where it fits best
 */
function load(item, { from = null, paused = false } = {}) {
  player.now = item;
  player.radio?.played.push(item.track.id);
  player.trouble = "";
  followed = false;
  startAt = from ?? item.start_s ?? 0;
  api.remember(item.track);
  if (item.track.missing) {
    audio.removeAttribute("src");
    audio.load();
    player.trouble = moved(item.track);
    if (!paused) say(player.trouble, "error");
  } else {
    audio.src = api.audioUrl(item.track.id);
    audio.currentTime = startAt;
    if (!paused) void start();
  }
  describe(item.track);
  keep();
  tell("now");
  tell("queue");
  if (!item.windows) void findWindows(item);
}

async function start() {
  wasPlaying = true;
  try {
    await audio.play();
  } catch (error) {
    // Only the refusal to start without a click is not told by the element's own error event.
    if (error instanceof DOMException && error.name === "NotAllowedError") say(T.pressPlay);
  }
}

/** @param {Item} item */
async function findWindows(item) {
  if (!describes(state.query)) return;
  try {
    item.windows = await api.windows(item.track.id, toWish(state.query));
    if (player.now === item) tell("now");
  } catch {
    // The strip stays plain; what is wrong with the server is said elsewhere.
  }
}

/**
 * @param {Item} item
 * @param {{context?: Item[], from?: number | null}} [how] context: what comes after it when the queue is empty; from: a
 *   second, to which the item jumps if it is what plays
 */
export function play(item, { context = [], from = null } = {}) {
  if (from !== null && isNow(item.track.id)) {
    seek(from);
    if (!isPlaying()) toggle();
    return;
  }
  if (player.now) remember(player.now);
  endRadio();
  player.context = context;
  load(item, { from });
}

function endRadio() {
  player.radio = null;
  player.queue = player.queue.filter(({ by }) => by !== "radio");
}

/** Plays a list now, in place of the queue. @param {Item[]} items */
export function playAll(items) {
  if (!items.length) return;
  if (player.now) remember(player.now);
  player.radio = null;
  player.queue = items.slice(1).map((item) => ({ ...item, by: "list" }));
  player.context = [];
  load(items[0]);
}

/** @param {Item} item */
function remember(item) {
  player.past.push(item);
  if (player.past.length > MOST_PAST) player.past.shift();
}

export function toggle() {
  if (!player.now) return;
  if (player.now.track.missing) say(moved(player.now.track), "error");
  else if (isPlaying()) {
    wasPlaying = false;
    audio.pause();
  } else if (player.trouble) load(player.now, { from: position() });
  else void start();
}

/** @param {number} seconds */
export function seek(seconds) {
  if (!player.now) return;
  startAt = Math.min(Math.max(0, seconds), Math.max(0, duration() - 0.5));
  audio.currentTime = startAt;
  tell("time");
}

/** @param {number} seconds */
export const seekBy = (seconds) => seek(position() + seconds);

/** @returns {boolean} whether there was anything to play */
export function next() {
  let item;
  do item = player.queue.shift() ?? player.context.shift();
  while (item?.track.missing);
  if (item) {
    if (player.now) remember(player.now);
    load(item);
  }
  tuneOn();
  return Boolean(item);
}

export function previous() {
  if (position() - (player.now?.start_s ?? 0) > 4 || !player.past.length) return seek(0);
  if (player.now) (player.queue.length ? player.queue : player.context).unshift(player.now);
  const item = player.past.pop();
  if (item) load(item);
}

/** @param {Item[]} items @param {{first?: boolean}} [how] */
export function enqueue(items, { first = false } = {}) {
  if (first) player.queue.unshift(...items);
  else player.queue.push(...items);
  keep();
  tell("queue");
  say(items.length === 1 ? T.queued(name(items[0].track)) : T.queuedMany(items.length));
}

/** @param {number} from @param {number} to */
export function reorder(from, to) {
  if (to < 0 || to >= player.queue.length) return;
  player.queue.splice(to, 0, ...player.queue.splice(from, 1));
  keep();
  tell("queue");
}

/** @param {number} place */
export function unqueue(place) {
  player.queue.splice(place, 1);
  tuneOn();
  keep();
  tell("queue");
}

export function clearQueue() {
  player.queue = [];
  player.radio = null;
  keep();
  tell("queue");
}

/** @param {Item} item */
export function startRadio(item) {
  player.queue = player.queue.filter(({ by }) => !by);
  player.radio = null;
  if (!isNow(item.track.id)) play(item);
  player.context = [];
  player.radio = {
    start: item.track,
    drift: Number(setting("drift", "0.3")),
    seed: Math.floor(Math.random() * 1e6),
    played: [item.track.id],
    over: false,
  };
  keep();
  tell("queue");
  say(T.radioFrom(name(item.track)));
  void tune();
}

/** @param {number} drift 0..1 */
export function setDrift(drift) {
  keepSetting("drift", String(drift));
  if (!player.radio) return;
  Object.assign(player.radio, { drift, over: false });
  player.queue = player.queue.filter(({ by }) => by !== "radio");
  tell("queue");
  void tune();
}

/** @type {AbortController | null} */
let tuning = null;

function tuneOn() {
  if (player.radio && !tuning && player.queue.length < RADIO_AHEAD) void tune();
}

/** Asks what the radio plays next, and no more what was asked before. */
async function tune() {
  const radio = player.radio;
  if (!radio) return;
  tuning?.abort();
  const mine = new AbortController();
  tuning = mine;
  try {
    const coming = player.queue.map(({ track }) => track.id);
    const { tracks } = await api.radio(
      {
        start: radio.start.id,
        drift: radio.drift,
        limit: RADIO_MORE,
        seed: radio.seed,
        played: [...radio.played, ...coming].slice(-MOST_PLAYED),
      },
      mine.signal,
    );
    if (player.radio !== radio) return;
    radio.over = !tracks.length;
    player.queue.push(...tracks.map((track) => ({ track, by: /** @type {const} */ ("radio") })));
    keep();
    tell("queue");
  } catch (error) {
    if (!(error instanceof api.Away) && !api.isAbort(error)) say(api.words(error), "error");
  } finally {
    if (tuning === mine) tuning = null;
  }
}

/** @param {number} volume */
export function setVolume(volume) {
  audio.volume = Math.min(1, Math.max(0, volume));
  audio.muted = false;
  keepSetting("muted", null);
  keepSetting("volume", String(audio.volume));
}

export function mute() {
  audio.muted = !audio.muted;
  keepSetting("muted", audio.muted ? "1" : null);
}

/** Keeps what plays for a reload of the page. */
function keep() {
  try {
    const { now, radio } = player;
    const [queue, context] = [player.queue, player.context].map((items) => items.slice(0, MOST_KEPT));
    sessionStorage.setItem(STORE, JSON.stringify({ now, queue, context, radio, at: position() }));
  } catch {
    sessionStorage.removeItem(STORE); // no room: a reload begins anew
  }
}

export function restore() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(STORE) ?? "null");
    if (!kept?.now) return;
    Object.assign(player, { queue: kept.queue, context: kept.context ?? [], radio: kept.radio ?? null });
    load(kept.now, { from: kept.at, paused: true });
    tuneOn();
  } catch {
    sessionStorage.removeItem(STORE);
  }
}

/** @param {import("./api.js").Track} track */
function describe(track) {
  if (!("mediaSession" in navigator)) return;
  navigator.mediaSession.metadata = new MediaMetadata({
    title: track.title,
    artist: track.artist.join(", "),
    album: track.album ?? "",
    artwork: [{ src: api.coverUrl(track.id) }],
  });
}

if ("mediaSession" in navigator) {
  /** @type {[MediaSessionAction, MediaSessionActionHandler][]} */
  const actions = [
    ["play", toggle],
    ["pause", toggle],
    ["nexttrack", () => void next()],
    ["previoustrack", previous],
    ["seekbackward", () => seekBy(-5)],
    ["seekforward", () => seekBy(5)],
    ["seekto", ({ seekTime }) => seek(seekTime ?? 0)],
  ];
  for (const [action, handler] of actions) {
    try {
      navigator.mediaSession.setActionHandler(action, handler);
    } catch {
      // This browser does not know the action.
    }
  }
}

function tellPosition() {
  if (!("mediaSession" in navigator) || !player.now) return;
  try {
    navigator.mediaSession.setPositionState({ duration: duration(), position: Math.min(position(), duration()) });
  } catch {
    // The system's player shows no position.
  }
}

async function explain() {
  const item = player.now;
  if (!item || !audio.error || !audio.hasAttribute("src")) return;
  startAt = audio.currentTime || startAt;
  player.trouble = T.cannotPlay;
  try {
    const track = await api.track(item.track.id, true);
    if (player.now !== item) return;
    if (track.missing) {
      item.track = track;
      player.trouble = moved(track);
    }
  } catch (error) {
    player.trouble = error instanceof api.Away ? T.playsOnWhenBack : T.goneTrack;
  }
  if (player.now !== item) return;
  say(player.trouble, "error");
  tell("now");
  // One bad file does not end the music for whoever only listens.
  if (followed && player.trouble !== T.playsOnWhenBack) followed = next();
}

audio.addEventListener("error", () => void explain());
audio.addEventListener("loadedmetadata", () => {
  if (startAt && Math.abs(audio.currentTime - startAt) > 1) audio.currentTime = startAt;
});
audio.addEventListener("ended", () => {
  followed = next();
  if (!followed) tell("now");
});
for (const event of ["play", "pause", "playing", "waiting"]) audio.addEventListener(event, () => tell("now"));
for (const event of ["timeupdate", "seeked"]) audio.addEventListener(event, () => tell("time"));
audio.addEventListener("volumechange", () => tell("time"));
for (const event of ["loadedmetadata", "seeked", "play", "pause"]) audio.addEventListener(event, tellPosition);
addEventListener("pagehide", keep);

on("connection", ({ back }) => {
  if (back) tuneOn();
  if (back && player.trouble === T.playsOnWhenBack && player.now)
    load(player.now, { from: startAt, paused: !wasPlaying });
});

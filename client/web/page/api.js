/** The server's API: one function for each thing that it does. */

import { tell } from "./events.js";
import { T } from "./texts.js";

/**
 * @typedef {object} Track
 * @property {string} id
 * @property {string} title
 * @property {string[]} artist
 * @property {string | null} album
 * @property {string[]} genre
 * @property {number | null} year
 * @property {number | null} bpm
 * @property {string | null} key
 * @property {Record<string, any>} metadata all fields, annotations included
 * @property {Record<string, any>} annotations the user's own
 * @property {Record<string, any>} hidden_tags what the file says where an annotation says something else
 * @property {number} duration_s
 * @property {string} file
 * @property {boolean} missing
 * @property {string} warning
 *
 * @typedef {{starts_s: number[], fits: number[]}} Windows
 * @typedef {Windows & {scores: number[]}} ScoredWindows
 *
 * @typedef {object} Hit
 * @property {Track} track
 * @property {number} [score]
 * @property {number | null} [probability]
 * @property {boolean} [weak]
 * @property {string[]} [found_by]
 * @property {number | null} [start_s] where it fits best
 * @property {Windows | null} [windows]
 * @property {{text: string, start_s: number | null, fit: number} | null} [lyrics] the line that is sung so
 *
 * @typedef {object} Reading how the server understood the words
 * @property {Record<string, number>} wanted
 * @property {Record<string, number>} unwanted
 *
 * @typedef {{hits: Hit[], reading: Reading | null, weak: boolean, next_offset: number | null, seconds: number}} Answer
 *
 * @typedef {{value: string, count: number}} Value
 * @typedef {{from: number, to: number, bins: {from: number, to: number, count: number}[]}} Range
 * @typedef {Record<string, Value[] | Range>} Facets
 *
 * @typedef {{text: string, kind: string, count: number}} Suggestion
 *
 * @typedef {object} Library
 * @property {string} name
 * @property {number} tracks
 * @property {number} missing
 * @property {number} failed
 * @property {number} duration_s
 * @property {string} model_name
 * @property {string} fingerprint
 * @property {number | null} window_s
 * @property {boolean} read_only
 * @property {boolean} local
 * @property {string} state
 * @property {string[]} fields
 * @property {boolean} lyrics whether some track has them
 * @property {{state: string}} map
 *
 * @typedef {object} Job
 * @property {string} id
 * @property {string} kind
 * @property {string[]} paths
 * @property {"running" | "done" | "failed" | "stopped"} state
 * @property {number} done
 * @property {number} total
 * @property {string} message
 * @property {Record<string, any> | null} report
 *
 * @typedef {{state: string, ids: string[], x: number[], y: number[], colour?: {values: any[]}}} Points
 */

const ROOT = "/api/v1";
const MOST_WAIT_S = 30;

/** The server answered, and not with what was asked for. */
export class Problem extends Error {
  /** @param {number} status @param {string} detail a sentence for people */
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** The server did not answer. */
export class Away extends Error {}

/** What to tell of an error. @param {unknown} error @param {string} [away] where the server did not answer */
export const words = (error, away = T.away) => (error instanceof Away ? away : /** @type {Error} */ (error).message);

/** @type {() => Promise<void>} resolves when a token was accepted */
let signIn = () => Promise.reject(new Problem(401, ""));

/** @param {() => Promise<void>} ask */
export function whenLocked(ask) {
  signIn = ask;
}

/** @param {unknown} error */
export function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError";
}

/**
 * @param {number} seconds
 * @param {AbortSignal} [signal]
 */
function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("", "AbortError"));
    });
  });
}

/** @param {Response} response */
async function problem(response) {
  try {
    const { detail, title } = await response.json();
    return new Problem(response.status, String(detail || title || response.status));
  } catch {
    return new Problem(response.status, `${response.status} ${response.statusText}`);
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {{body?: any, form?: FormData, signal?: AbortSignal, open?: boolean}} [options] open: a 401 is the answer
 * @returns {Promise<Response>}
 */
async function send(method, path, { body, form, signal, open = false } = {}) {
  for (let tries = 0; ; tries++) {
    let response;
    try {
      response = await fetch(ROOT + path, {
        method,
        signal,
        body: form ?? (body === undefined ? undefined : JSON.stringify(body)),
        headers: body === undefined ? {} : { "Content-Type": "application/json" },
      });
    } catch (error) {
      if (isAbort(error)) throw error;
      tell("connection", { up: false });
      throw new Away();
    }
    tell("connection", { up: true });
    if (response.ok) return response;
    if (response.status === 401 && !open && tries < 3) {
      await signIn();
      continue;
    }
    if (response.status === 429 && tries < 3) {
      const seconds = Math.min(MOST_WAIT_S, Math.max(0.5, Number(response.headers.get("Retry-After")) || 1));
      tell("connection", { up: true, busy: seconds });
      await pause(seconds, signal);
      continue;
    }
    throw await problem(response);
  }
}

/** @param {string} path @param {AbortSignal} [signal] @returns {Promise<any>} */
const get = async (path, signal) => (await send("GET", path, { signal })).json();

/** @param {string} path @param {any} body @param {AbortSignal} [signal] @returns {Promise<any>} */
const post = async (path, body, signal) => (await send("POST", path, { body, signal })).json();

/** @param {string} id */
const at = (id) => `/tracks/${encodeURIComponent(id)}`;

/** @param {Record<string, any>} given */
const query = (given) => {
  const known = Object.entries(given).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return known.length ? `?${new URLSearchParams(known)}` : "";
};

/** @type {Map<string, Promise<Track>>} */
const known = new Map();

/** @param {Track} track */
export function remember(track) {
  known.set(track.id, Promise.resolve(track));
  return track;
}

export const forgetTracks = () => known.clear();

export const EVENTS = `${ROOT}/events`;

/** @param {string} id */
export const audioUrl = (id) => `${ROOT}${at(id)}/audio`;

/** @param {string} id */
export const coverUrl = (id) => `${ROOT}${at(id)}/cover`;

/** @returns {Promise<Library>} */
export const library = () => get("/library");

/** @param {string} token */
export const openSession = (token) => send("POST", "/session", { body: { token }, open: true });

/** @param {any} body @param {AbortSignal} [signal] @returns {Promise<Answer>} */
export const search = (body, signal) => post("/search", body, signal);

/** @param {string} q @param {AbortSignal} [signal] @returns {Promise<{suggestions: Suggestion[]}>} */
export const suggest = (q, signal) => get(`/suggest${query({ q, limit: 6 })}`, signal);

/** @param {string} fields @param {number} limit @param {{containing?: string, signal?: AbortSignal}} [how] @returns {Promise<{facets: Facets}>} */
export const facets = (fields, limit, { containing, signal } = {}) =>
  get(`/facets${query({ fields, limit, containing })}`, signal);

/** @param {string} id @param {boolean} [fresh] @returns {Promise<Track>} */
export function track(id, fresh = false) {
  const kept = fresh ? undefined : known.get(id);
  if (kept) return kept;
  const asked = get(at(id));
  known.set(id, asked);
  asked.catch(() => known.delete(id));
  return asked;
}

/** @param {string} id @param {number} [limit] @returns {Promise<Answer>} */
export const similar = (id, limit = 10) => get(`${at(id)}/similar${query({ limit })}`);

/** @param {string} id @returns {Promise<{lines: {text: string, start_s: number | null}[]}>} */
export const lyrics = (id) => get(`${at(id)}/lyrics`);

/** @param {string} id @param {any} body @param {AbortSignal} [signal] @returns {Promise<ScoredWindows>} */
export const windows = (id, body, signal) => post(`${at(id)}/windows`, body, signal);

/** @param {string} id @param {string[]} labels @returns {Promise<{tags: {label: string, score: number, probability: number}[]}>} */
export const tags = (id, labels) => post(`${at(id)}/tags`, { labels });

/** @param {string} id @param {Record<string, any>} values null takes one away @returns {Promise<Track>} */
export const annotate = async (id, values) =>
  remember(await (await send("PUT", `${at(id)}/annotations`, { body: values })).json());

/** @param {Blob} file @param {string} name @returns {Promise<{id: string, name: string, duration_s: number}>} */
export async function upload(file, name) {
  const form = new FormData();
  form.append("file", file, name);
  return (await send("POST", "/uploads", { form })).json();
}

/** @returns {Promise<{failed: {file: string, reason: string}[]}>} */
export const failed = () => get("/failed");

/** @param {number} [offset] @returns {Promise<{tracks: Track[], next_offset: number | null}>} */
export const missing = (offset = 0) => get(`/missing${query({ offset, limit: 50 })}`);

/** @returns {Promise<{removed: number, back: number}>} */
export const forgetMissing = () => post("/missing/forget", {});

/** @param {number} least @returns {Promise<{pairs: {first: Track, second: Track, similarity: number}[]}>} */
export const duplicates = (least) => get(`/duplicates${query({ least })}`);

/** @param {string[]} paths @returns {Promise<{id: string}>} */
export const add = (paths) => post("/jobs", { kind: "add", paths });

/** @returns {Promise<Job[]>} */
export const jobs = async () => {
  const all = await get("/jobs");
  return Array.isArray(all) ? all : all.jobs;
};

/** @param {string} id */
export const stopJob = (id) => send("DELETE", `/jobs/${encodeURIComponent(id)}`);

/** @param {string} name @param {string[]} tracks @param {string} format @returns {Promise<Blob>} */
export const playlist = async (name, tracks, format) =>
  (await send("POST", "/playlists", { body: { name, tracks, format } })).blob();

/** @param {string} [by] @returns {Promise<Points>} */
export const points = (by) => get(`/map${query({ by })}`);

/** @param {string} text @param {AbortSignal} [signal] @returns {Promise<{fits: number[]}>} */
export const mapFits = (text, signal) => post("/map/fits", { text }, signal);

/** @param {string} from @param {string} to @param {number} steps @returns {Promise<{tracks: Track[]}>} */
export const path = (from, to, steps) => post("/path", { from, to, steps });

/** @param {{start: string, drift: number, limit: number, seed: number, played: string[]}} body @param {AbortSignal} [signal] @returns {Promise<{tracks: Track[]}>} */
export const radio = (body, signal) => post("/radio", body, signal);

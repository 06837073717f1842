/** What the parts of the page tell each other, so that none needs to know who listens. */

const bus = new EventTarget();

/**
 * @typedef {"route" | "now" | "time" | "queue" | "library" | "changed" | "connection" | "theme" | "job" | "map" | "say"} Topic
 *   route: the address changed; now: another track, or play and pause; time: the player went on; queue: its content
 *   changed; library: what is known about it was read again; changed: its tracks changed; say: a line for the person.
 */

/** @param {Topic} topic @param {(detail: any) => void} listener */
export function on(topic, listener) {
  bus.addEventListener(topic, (event) => listener(/** @type {CustomEvent} */ (event).detail));
}

/** @param {Topic} topic @param {any} [detail] */
export function tell(topic, detail) {
  bus.dispatchEvent(new CustomEvent(topic, { detail }));
}

/** Says a line to the person: shown for a while, and read out. @param {string} text @param {"note" | "error"} [kind] */
export function say(text, kind = "note") {
  tell("say", { text, kind });
}

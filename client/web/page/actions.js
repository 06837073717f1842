/** What can be done with a track wherever it stands: the same words and the same menu in every view. */

import { iconButton, OPENS_MENU } from "./buttons.js";
import { say } from "./events.js";
import { savePlaylist } from "./dialogs.js";
import { openMenu } from "./menu.js";
import * as player from "./player.js";
import { ask, go, state, trackHash } from "./state.js";
import { name, T } from "./texts.js";

/** @typedef {import("./player.js").Item} Item */

const MOST_SAVED = 10_000; // as the API has it

/**
 * @param {"like" | "unlike"} side
 * @param {import("./query.js").Example} example
 */
export function addExample(side, example) {
  const same = (/** @type {import("./query.js").Example} */ other) =>
    other.id === example.id && other.start_s === example.start_s;
  const other = side === "like" ? "unlike" : "like";
  ask({
    [side]: [...state.query[side].filter((old) => !same(old)), example],
    [other]: state.query[other].filter((old) => !same(old)),
  });
}

/** @param {"like" | "unlike"} side @param {import("./api.js").Track} track */
export function addTrack(side, track) {
  addExample(side, { kind: "track", id: track.id, weight: 1 });
  say(side === "like" ? T.likes(name(track)) : T.unlikes(name(track)));
}

/** @param {string} hash */
export async function copyLink(hash) {
  const link = new URL(hash, location.href).href;
  try {
    await navigator.clipboard.writeText(link);
    say(T.linkCopied);
  } catch {
    say(T.linkNotCopied(link), "error");
  }
}

/** @param {HTMLElement} button @param {Item} item @param {{onTrackPage?: boolean}} [where] */
export function openTrackMenu(button, item, { onTrackPage = false } = {}) {
  const { track } = item;
  openMenu(button, [
    track.missing ? null : { label: T.playNext, icon: "next", run: () => player.enqueue([item], { first: true }) },
    track.missing ? null : { label: T.addToQueue, icon: "queue", run: () => player.enqueue([item]) },
    { label: T.moreLikeThis, icon: "like", run: () => addTrack("like", track) },
    { label: T.lessLikeThis, icon: "unlike", run: () => addTrack("unlike", track) },
    track.missing ? null : { label: T.radioFromHere, icon: "radio", run: () => void player.startRadio(item) },
    { label: T.pathTo, icon: "path", run: () => go(`#/path?from=${encodeURIComponent(track.id)}`) },
    { label: T.onTheMap, icon: "map", run: () => go(`#/map?at=${encodeURIComponent(track.id)}`) },
    onTrackPage ? null : { label: T.openTrack, icon: "library", run: () => go(trackHash(track.id)) },
    { label: T.copyTrackLink, icon: "link", run: () => void copyLink(trackHash(track.id)) },
  ]);
}

/** @param {Item} item @param {{onTrackPage?: boolean}} [where] @param {object} [more] the button's other properties */
export function menuButton(item, where, more = {}) {
  const label = T.moreOf(name(item.track));
  const opener = iconButton(label, "more", () => openTrackMenu(opener, item, where), { ...OPENS_MENU, ...more });
  return opener;
}

/** @param {import("./api.js").Track} track */
export const playButton = (track) =>
  iconButton(T.playTrack(name(track)), "play", () => player.play({ track }), { disabled: track.missing });

/** @param {Item[]} items @param {string} title */
export function save(items, title) {
  const there = items.filter(({ track }) => !track.missing);
  if (there.length > MOST_SAVED) say(T.tooManyToSave(MOST_SAVED), "error");
  else if (there.length)
    savePlaylist(
      there.map(({ track }) => track.id),
      title,
    );
  else say(T.nothingToSave, "error");
}

/** The keys that hold everywhere but where one types. */

import { mute, next, player, previous, seekBy, setVolume, toggle, audio } from "./player.js";
import { openHelp } from "./dialogs.js";
import { byId } from "./dom.js";
import { toggleQueue } from "./queue.js";
import { activeList } from "./rows.js";

const SEEK_S = 5,
  LOUDER = 0.05;

/** @param {Element} target */
function types(target) {
  if (target instanceof HTMLInputElement)
    return !["checkbox", "radio", "range", "button", "submit"].includes(target.type);
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement;
}

export function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    const target = /** @type {Element} */ (event.target);
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (types(target) || target.closest("dialog, [role=menu]")) return;
    // Space and Enter belong to what has the focus, where it does something with them.
    if (event.key === " " && target.closest("button, a, summary, label, input:not([type=range])")) return;
    /** @type {Record<string, () => void>} */
    const does = {
      " ": toggle,
      "/": () => byId("q").focus(),
      j: () => activeList()?.move(1),
      k: () => activeList()?.move(-1),
      ArrowDown: () => activeList()?.move(1),
      ArrowUp: () => activeList()?.move(-1),
      ArrowLeft: () => seekBy(-SEEK_S),
      ArrowRight: () => seekBy(SEEK_S),
      n: () => void next(),
      p: previous,
      m: mute,
      q: () => player.now && toggleQueue(),
      "?": openHelp,
    };
    if (!byId("queue").hidden) does.Escape = () => toggleQueue(false);
    if (target instanceof HTMLInputElement && event.key.startsWith("Arrow")) return;
    const run =
      event.shiftKey && event.key === "ArrowUp"
        ? () => setVolume(audio.volume + LOUDER)
        : event.shiftKey && event.key === "ArrowDown"
          ? () => setVolume(audio.volume - LOUDER)
          : does[event.key];
    if (!run) return;
    event.preventDefault();
    run();
  });
}

/** The bar at the foot of the page: what plays, where it is, how loud. */

import { openTrackMenu } from "./actions.js";
import { iconButton, OPENS_MENU } from "./buttons.js";
import { makeCover } from "./cover.js";
import { byId, fill, h } from "./dom.js";
import { on } from "./events.js";
import { icon } from "./icons.js";
import * as player from "./player.js";
import { toggleQueue } from "./queue.js";
import { trackHash } from "./state.js";
import { makeStrip } from "./strip.js";
import { byline, clock, T } from "./texts.js";

export function makeBar() {
  const bar = byId("player");
  const strip = makeStrip({ hidden: true });
  const cover = h("span", { class: "bar-cover" });
  const title = h("a", { class: "title", href: "#/" });
  const by = h("span", { class: "by" });
  const trouble = h("span", { class: "trouble" });
  const playButton = h(
    "button",
    { type: "button", class: "play-button", "aria-label": T.play, on: { click: player.toggle } },
    icon("play"),
    icon("pause"),
  );
  const seek = h("input", {
    type: "range",
    class: "seek",
    min: "0",
    step: "0.1",
    value: "0",
    "aria-label": T.seek,
    on: { input: () => player.seek(Number(seek.value)) },
  });
  const at = h("span", { class: "clock" });
  const end = h("span", { class: "clock" });
  const muteButton = iconButton(T.mute, "volume", player.mute);
  const volume = h("input", {
    type: "range",
    class: "slider volume",
    min: "0",
    max: "1",
    step: "0.02",
    "aria-label": T.volume,
    on: { input: () => player.setVolume(Number(volume.value)) },
  });
  const queueButton = iconButton(T.queue, "queue", () => toggleQueue(), {
    "aria-expanded": "false",
    "aria-controls": "queue",
    id: "queue-button",
  });

  fill(
    bar,
    h("div", { class: "bar-now" }, cover, h("div", { class: "bar-names" }, title, by, trouble)),
    h(
      "div",
      { class: "bar-buttons" },
      iconButton(T.previous, "previous", player.previous),
      playButton,
      iconButton(T.next, "next", () => void player.next()),
    ),
    h("div", { class: "bar-seek" }, at, h("div", { class: "seek-box" }, strip.el, seek), end),
    h(
      "div",
      { class: "bar-more" },
      iconButton(
        T.moreOfThis,
        "more",
        (event) => {
          const now = player.player.now;
          if (now) openTrackMenu(/** @type {HTMLElement} */ (event.currentTarget), now);
        },
        OPENS_MENU,
      ),
      muteButton,
      volume,
      queueButton,
    ),
  );

  /** @type {string | null} */
  let shown = null;

  function showNow() {
    const { now, trouble: words } = player.player;
    bar.hidden = !now;
    document.body.classList.toggle("with-player", Boolean(now));
    if (!now) return;
    if (shown !== now.track.id) {
      shown = now.track.id;
      fill(cover, makeCover(now.track));
      title.textContent = now.track.title;
      title.href = trackHash(now.track.id);
      title.title = now.track.title;
      by.textContent = byline(now.track);
      seek.max = String(player.duration());
      end.textContent = clock(player.duration());
    }
    trouble.textContent = words;
    bar.classList.toggle("in-trouble", Boolean(words));
    strip.show(now.windows ?? null, player.duration());
    const playing = player.isPlaying();
    bar.toggleAttribute("data-playing", playing);
    bar.toggleAttribute("data-waiting", playing && player.audio.readyState < 3);
    playButton.setAttribute("aria-label", playing ? T.pause : T.play);
    playButton.title = playing ? T.pause : T.play;
    showTime();
  }

  function showTime() {
    const seconds = player.position();
    seek.value = String(seconds);
    seek.setAttribute("aria-valuetext", T.ofTime(clock(seconds), clock(player.duration())));
    at.textContent = clock(seconds);
    strip.move(seconds);
    const { muted, volume: loud } = player.audio;
    volume.value = String(muted ? 0 : loud);
    volume.style.setProperty("--share", String(muted ? 0 : loud));
    muteButton.setAttribute("aria-pressed", String(muted));
    muteButton.replaceChildren(icon(muted || loud === 0 ? "mute" : "volume"));
  }

  on("now", showNow);
  on("time", showTime);
  showNow();
}

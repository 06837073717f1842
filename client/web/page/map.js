/** The map: every track a point, near to what sounds like it. */

import { menuButton, playButton, save } from "./actions.js";
import * as api from "./api.js";
import { button, iconButton } from "./buttons.js";
import { makeCover, makeNames } from "./cover.js";
import { byId, fill, h, quiet } from "./dom.js";
import { paintPlain, paintShares, paintValues } from "./colours.js";
import { on, say } from "./events.js";
import { listenToGestures } from "./gestures.js";
import { makeLook } from "./look.js";
import * as player from "./player.js";
import { makeFinder, makePainter, normal, within } from "./points.js";
import { keepSetting, setting, SINGULAR, state } from "./state.js";
import { byline, name, T } from "./texts.js";

const REACH_PX = 14,
  STEP_PX = 60,
  HOVER_MS = 90,
  LISTEN_MS = 450,
  FETCH_MOST = 300,
  AGAIN_MS = 4000;
const BY_WORDS = "\0"; // the name of no field

export function makeMapView() {
  const view = byId("view-map");
  const canvas = h("canvas", { class: "map-points" });
  const over = h("canvas", {
    class: "map-over",
    tabindex: "0",
    role: "application",
    "aria-label": T.mapLabel,
    "aria-describedby": "map-hint",
  });
  const labels = h("div", { class: "map-labels", "aria-hidden": "true" });
  const tip = h("div", { class: "map-tip", hidden: true });
  const card = h("div", { class: "map-card", hidden: true, role: "group", "aria-label": T.chosenPoint });
  const message = h("div", { class: "map-message", role: "status", hidden: true });
  const legend = h("ul", { class: "map-legend", "aria-label": T.legend });
  const picked = h("div", { class: "map-picked", hidden: true, role: "status" });
  const frame = h("div", { class: "map-frame" }, canvas, over, labels, tip, message, card);

  /** @type {import("./points.js").Painter | null} */
  let painter = null;
  /** @type {string[]} */
  let ids = [];
  let positions = new Float32Array(0);
  let nearest = makeFinder(positions);
  /** @type {import("./colours.js").Rgb[]} one a point */
  let colours = [];
  /** @type {Set<number> | null} */
  let chosen = null;
  let pointed = -1,
    held = -1;
  /** @type {[number, number][]} */
  let line = [];
  let lassoing = false,
    crosshair = false;
  let loaded = "";
  /** @type {string | null} the library's state of which there is no map */
  let failed = null;
  let frameAsked = 0;
  /** @type {{x: number, y: number, text: string}[]} */
  let names = [];

  // Controls

  /** The field that the points are to be coloured by where no words are given; "" for none. */
  let wanted = "genre";
  /** The same, where some track has it. */
  let field = "";
  const by = h("select", {
    class: "field",
    id: "map-by",
    on: {
      change: () => {
        wanted = field = by.value;
        text.value = "";
        void paintBy();
      },
    },
  });
  const text = h("input", {
    type: "search",
    class: "field",
    id: "map-text",
    placeholder: T.mapTextHint,
    maxlength: "200",
  });
  const textForm = h(
    "form",
    {
      class: "inline-form",
      on: {
        submit: (/** @type {Event} */ event) => {
          event.preventDefault();
          void paintByText();
        },
      },
    },
    h("label", { for: "map-text", class: "visually-hidden", text: T.mapText }),
    text,
  );
  const sound = h("input", {
    type: "checkbox",
    id: "map-sound",
    checked: setting("mapSound") === "1",
    on: { change: () => keepSetting("mapSound", sound.checked ? "1" : null) },
  });
  const lasso = button(T.lasso, "lasso", () => setLasso(!lassoing), { "aria-pressed": "false" });
  const textBox = quiet(() => void paintByText(), 350);
  text.addEventListener("input", textBox);

  const zoom = h(
    "div",
    { class: "map-zoom" },
    iconButton(T.zoomIn, "add", () => look.zoom(1.5)),
    iconButton(T.zoomOut, "less", () => look.zoom(1 / 1.5)),
    iconButton(T.wholeMap, "fit", () => look.showAll()),
  );

  fill(
    view,
    h(
      "div",
      { class: "map-head" },
      h("h1", { tabindex: "-1", text: T.mapTitle }),
      h(
        "div",
        { class: "map-tools" },
        h("label", { for: "map-by", text: T.colourBy }),
        by,
        textForm,
        h("label", { class: "switch" }, sound, h("span", { text: T.soundOnHover })),
        lasso,
      ),
    ),
    picked,
    h("div", { class: "map-body" }, frame, zoom),
    legend,
    h("p", { class: "hint", id: "map-hint", text: T.mapHint }),
  );

  // Drawing

  const look = makeLook(frame, draw);

  /** @param {number} place */
  const screenOf = (place) => look.toScreen(positions[2 * place], positions[2 * place + 1]);

  const width = () => over.clientWidth,
    height = () => over.clientHeight;

  function draw() {
    frameAsked ||= requestAnimationFrame(() => {
      frameAsked = 0;
      if (!painter) return;
      const crowd = Math.min(1, Math.max(0, (Math.log10(ids.length + 1) - 2) / 3));
      painter.draw(look.at, (9 - 6 * crowd) * (0.75 + 0.4 * look.nearness()));
      drawOver();
      placeLabels();
    });
  }

  function drawOver() {
    const ratio = devicePixelRatio || 1;
    const context = over.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width(), height());
    const ink = getComputedStyle(over).color;
    context.strokeStyle = ink;
    context.lineWidth = 2;
    const now = player.player.now ? ids.indexOf(player.player.now.track.id) : -1;
    for (const place of new Set([pointed, held, now])) {
      if (place < 0) continue;
      const [x, y] = screenOf(place);
      context.beginPath();
      context.arc(x, y, place === now ? 11 : 8, 0, 7);
      context.stroke();
    }
    if (crosshair) {
      context.globalAlpha = 0.5;
      context.beginPath();
      for (const [dx, dy] of [
        [1, 0],
        [-1, 0],
        [0, 1],
        [0, -1],
      ]) {
        context.moveTo(width() / 2 + dx * 14, height() / 2 + dy * 14);
        context.lineTo(width() / 2 + dx * 26, height() / 2 + dy * 26);
      }
      context.stroke();
      context.globalAlpha = 1;
    }
    if (line.length > 1) {
      context.beginPath();
      line.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
      context.closePath();
      context.globalAlpha = 0.1;
      context.fillStyle = ink;
      context.fill();
      context.globalAlpha = 1;
      context.setLineDash([5, 4]);
      context.stroke();
      context.setLineDash([]);
    }
  }

  function placeLabels() {
    /** @type {[number, number, number, number][]} */
    const taken = [[zoom.offsetLeft, zoom.offsetTop, zoom.offsetWidth, zoom.offsetHeight]];
    const boxes = /** @type {HTMLElement[]} */ ([...labels.children]);
    const sizes = boxes.map(({ offsetWidth, offsetHeight }) => [offsetWidth, offsetHeight]);
    boxes.forEach((label, i) => {
      const [x, y] = look.toScreen(names[i].x, names[i].y);
      const [wide, high] = sizes[i];
      const [left, top] = [x - wide / 2, y - high / 2];
      const isFree = taken.every(([l, t, w, h]) => l + w < left || left + wide < l || t + h < top || top + high < t);
      if (isFree) taken.push([left, top, wide, high]);
      label.style.visibility = isFree ? "" : "hidden";
      label.style.transform = `translate(${left}px, ${top}px)`;
    });
  }

  new ResizeObserver(() => {
    if (!width()) return;
    const ratio = devicePixelRatio || 1;
    for (const each of [canvas, over]) {
      each.width = Math.round(width() * ratio);
      each.height = Math.round(height() * ratio);
    }
    look.resize();
  }).observe(frame);

  // Colours

  function sendColours() {
    if (!painter) return;
    const bytes = new Uint8Array(ids.length * 4);
    for (let i = 0; i < ids.length; i++) {
      bytes.set(colours[i] ?? [128, 128, 128], 4 * i);
      bytes[4 * i + 3] = chosen && !chosen.has(i) ? 36 : 225;
    }
    painter.colour(bytes);
    draw();
  }

  /** @param {import("./colours.js").Painting} painting */
  function paint(painting) {
    ({ colours, names } = painting);
    fill(
      labels,
      names.map(({ text: words }) => h("span", { text: words })),
    );
    fill(
      legend,
      painting.legend.map(({ text: words, colour: rgb }) => {
        const dot = h("span", { class: "dot" });
        dot.style.background = `rgb(${rgb.join(" ")})`;
        return h("li", {}, dot, words);
      }),
    );
    sendColours();
  }

  /** Whether the answer for a field is still what the colours are to show. @param {string} asked */
  const isStill = (asked) => field === asked && !text.value.trim();

  async function paintBy() {
    const asked = field;
    by.value = asked;
    if (asked === "") return paint(paintPlain(ids.length));
    try {
      const { colour: given } = await api.points(asked);
      if (given && isStill(asked)) paint(paintValues(given.values, positions));
    } catch (error) {
      say(api.words(error), "error");
    }
  }

  /** @type {AbortController | null} */
  let fitting = null;

  async function paintByText() {
    textBox.cancel();
    const words = text.value.trim();
    fitting?.abort();
    if (!words) return paintBy();
    by.value = BY_WORDS;
    fitting = new AbortController();
    try {
      const { fits } = await api.mapFits(words, fitting.signal);
      paint(paintShares(fits, T.fitsNot, T.fitsWell));
    } catch (error) {
      if (!api.isAbort(error)) say(api.words(error), "error");
    }
  }

  // What is under the pointer

  let hoverTimer = 0,
    listenTimer = 0;

  /** @param {number} place */
  function point(place) {
    if (place === pointed) return;
    pointed = place;
    clearTimeout(hoverTimer);
    clearTimeout(listenTimer);
    tip.hidden = true;
    draw();
    if (place < 0) return;
    hoverTimer = setTimeout(async () => {
      try {
        const track = await api.track(ids[place]);
        if (pointed !== place) return;
        fill(tip, h("strong", { text: track.title }), h("span", { text: byline(track) }));
        const [x, y] = screenOf(place);
        tip.style.left = `${Math.min(width() - 240, Math.max(8, x + 14))}px`;
        tip.style.top = `${Math.min(height() - 60, Math.max(8, y + 14))}px`;
        tip.hidden = false;
        if (crosshair) byId("live").textContent = name(track);
        if (sound.checked && !track.missing)
          listenTimer = setTimeout(() => player.isNow(track.id) || player.play({ track }), LISTEN_MS);
      } catch {
        // The point is shown without its name.
      }
    }, HOVER_MS);
  }

  /** @param {number} place */
  async function hold(place) {
    held = place;
    card.hidden = place < 0;
    draw();
    if (place < 0) return;
    try {
      const track = await api.track(ids[place]);
      if (held !== place) return;
      fill(
        card,
        makeCover(track, "small"),
        makeNames(track, { link: true }),
        playButton(track),
        menuButton({ track }),
        iconButton(T.close, "close", () => void hold(-1)),
      );
      if (crosshair) byId("live").textContent = name(track);
    } catch (error) {
      say(api.words(error), "error");
    }
  }

  /** @param {number} px @param {number} py */
  const under = (px, py) => nearest(...look.toWorld(px, py), REACH_PX / look.at.scale);

  // Lasso

  /** @param {boolean} wanted */
  function setLasso(wanted) {
    lassoing = wanted;
    lasso.setAttribute("aria-pressed", String(wanted));
    over.classList.toggle("lassoing", wanted);
    if (wanted) say(T.lassoHint);
  }

  /** @param {number[]} inside */
  function choose(inside) {
    chosen = inside.length ? new Set(inside) : null;
    picked.hidden = !chosen;
    sendColours();
    if (!chosen) return;
    const few = inside.slice(0, FETCH_MOST);
    /** @param {(items: import("./player.js").Item[]) => void} run */
    const withTracks = (run) => async () => {
      try {
        const tracks = await Promise.all(few.map((i) => api.track(ids[i])));
        run(tracks.filter((track) => !track.missing).map((track) => ({ track })));
      } catch (error) {
        say(api.words(error), "error");
      }
    };
    fill(
      picked,
      h("strong", { text: T.pickedTracks(inside.length) }),
      button(T.play, "play", withTracks(player.playAll)),
      button(
        T.addToQueue,
        "queue",
        withTracks((items) => player.enqueue(items)),
      ),
      button(T.savePlaylist, "save", () =>
        save(
          inside.map((i) => ({ track: /** @type {any} */ ({ id: ids[i] }) })),
          T.fromMap,
        ),
      ),
      h("button", { type: "button", class: "button quiet", text: T.clear, on: { click: () => choose([]) } }),
    );
  }

  // Pointers

  listenToGestures(over, {
    begin: () => {
      crosshair = false;
    },
    move: look.pan,
    zoom: look.zoom,
    tap: (x, y) => void hold(under(x, y)),
    point: (x, y) => point(under(x, y)),
    leave: () => point(-1),
    draws: () => lassoing,
    draw: (drawn, done) => {
      line = done ? [] : drawn;
      if (done) {
        const around = drawn.map(([x, y]) => look.toWorld(x, y));
        choose(drawn.length > 3 ? within(positions, around) : []);
        setLasso(false);
      }
      draw();
    },
  });
  over.addEventListener("blur", () => {
    crosshair = false;
    point(-1);
    draw();
  });
  over.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    /** @type {Record<string, () => void>} */
    const does = {
      ArrowLeft: () => look.pan(STEP_PX, 0),
      ArrowRight: () => look.pan(-STEP_PX, 0),
      ArrowUp: () => look.pan(0, STEP_PX),
      ArrowDown: () => look.pan(0, -STEP_PX),
      "+": () => look.zoom(1.4),
      "=": () => look.zoom(1.4),
      "-": () => look.zoom(1 / 1.4),
      0: look.showAll,
      Enter: () => void hold(pointed),
      Escape: () => {
        void hold(-1);
        choose([]);
      },
    };
    const run = does[event.key];
    if (!run) return;
    crosshair = true;
    run();
    if (event.key !== "Escape") point(nearest(look.at.x, look.at.y, STEP_PX / look.at.scale));
    event.preventDefault();
    event.stopPropagation();
  });

  // Coming and going

  /** @param {string} words */
  function tellState(words) {
    message.hidden = !words;
    message.textContent = words;
  }

  async function load() {
    const { library } = state;
    if (!library || loaded === library.state) return;
    if (failed === library.state) return tellState(T.mapFailed);
    if (!ids.length) tellState(T.loading);
    const fields = library.fields.filter((field) => !SINGULAR.includes(field));
    field = fields.includes(wanted) ? wanted : "";
    fill(
      by,
      h("option", { value: "", text: T.oneColour }),
      fields.map((name) => h("option", { value: name, text: T.field(name) })),
      h("option", { value: BY_WORDS, text: T.byWords, hidden: true, disabled: true }),
    );
    by.value = text.value.trim() ? BY_WORDS : field;
    const asked = field;
    try {
      const points = await api.points(asked || undefined);
      if (points.state === "computing") {
        tellState(T.mapComputing);
        setTimeout(() => state.route.view === "map" && void load(), AGAIN_MS);
        return;
      }
      loaded = library.state;
      ids = points.ids;
      positions = normal(points.x, points.y);
      nearest = makeFinder(positions);
      chosen = null;
      picked.hidden = true;
      pointed = held = -1;
      card.hidden = true;
      painter ??= makePainter(canvas, state.route.params.has("webgl"));
      painter.place(positions);
      tellState(ids.length ? "" : T.noTracks);
      if (painter.kind === "canvas") byId("map-hint").textContent = `${T.noWebgl} ${T.mapHint}`;
      if (points.colour && isStill(asked)) paint(paintValues(points.colour.values, positions));
      else if (text.value.trim()) await paintByText();
      else await paintBy();
      look.showAll();
      showAsked();
    } catch (error) {
      tellState(api.words(error, T.awayResults));
    }
  }

  function showAsked() {
    const at = state.route.params.get("at");
    const place = at ? ids.indexOf(at) : -1;
    if (place < 0) return;
    look.goTo(positions[2 * place], positions[2 * place + 1]);
    void hold(place);
  }

  on("route", ({ view: wanted }) => {
    if (wanted !== "map") return;
    void load().then(() => view.querySelector("h1")?.focus({ preventScroll: true }));
    if (loaded) showAsked();
  });
  on("map", (told) => {
    // Asking again would have it drawn again, and fail again.
    failed = told?.state === "none" ? (state.library?.state ?? "") : null;
    if (failed === null) loaded = "";
    if (state.route.view === "map") void load();
  });
  on("changed", () => {
    loaded = "";
  });
  on("now", draw);
  on("theme", () => void (text.value.trim() ? paintByText() : ids.length && paintBy()));
  on("connection", ({ back }) => {
    if (back && state.route.view === "map" && !loaded) void load();
  });
}

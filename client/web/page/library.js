/** The library: what is in it, adding to it, and what is wrong with some of its files. */

import { playButton } from "./actions.js";
import * as api from "./api.js";
import { makeNames } from "./cover.js";
import { confirmed } from "./dialogs.js";
import { byId, fill, h } from "./dom.js";
import { on, say, tell } from "./events.js";
import { icon } from "./icons.js";
import { mayChange, state } from "./state.js";
import { hours, percent, T } from "./texts.js";

const MOST_SHOWN = 50,
  MOST_JOBS = 5;

/** @param {string} title @param {string} hint @param {any[]} content */
const card = (title, hint, content) =>
  h(
    "section",
    { class: "card wide", "aria-label": title },
    h("h2", { text: title }),
    hint && h("p", { class: "hint", text: hint }),
    content,
  );

/** @param {string} value @param {string} label */
const fact = (value, label) => h("div", { class: "stat" }, h("dd", { text: value }), h("dt", { text: label }));

/** @param {import("./api.js").Job} job */
export function makeJob(job) {
  const running = job.state === "running";
  const bar = h("progress", { class: "job-bar", max: Math.max(1, job.total), "aria-label": T.jobLabel(job.kind) });
  if (!running || job.total) bar.value = running ? job.done : job.total || 1;
  else bar.removeAttribute("value");
  return h(
    "li",
    { class: `job ${job.state}` },
    h(
      "div",
      { class: "job-head" },
      h("strong", { text: T.jobStates[job.state] ?? job.state }),
      h("span", { class: "job-number", text: job.total ? T.ofNumber(job.done, job.total) : "" }),
      running &&
        mayChange() &&
        h("button", {
          type: "button",
          class: "button quiet",
          text: T.stop,
          on: { click: () => api.stopJob(job.id).catch((error) => say(api.words(error), "error")) },
        }),
    ),
    h("code", { class: "file", text: job.paths.join(", ") }),
    running && bar,
    h("p", { class: "hint", text: job.message || reportWords(job.report) }),
  );
}

/** @param {Record<string, any> | null} report */
function reportWords(report) {
  if (!report) return "";
  const counts = Object.entries(T.report).map(([key, words]) => {
    const count = Array.isArray(report[key]) ? report[key].length : report[key];
    return count ? `${T.number(count)} ${words}` : "";
  });
  return counts.filter(Boolean).join(", ") || T.reportNothing;
}

/** @param {import("./api.js").Track} track */
const trackLine = (track) =>
  h(
    "div",
    { class: "file-line" },
    playButton(track),
    makeNames(track, { link: true }, h("code", { class: "file", text: track.file })),
  );

/** A part that is read when it is opened: some of them take the server a while. @param {string} title @param {string} hint @param {() => Promise<any[]>} read */
function lazyCard(title, hint, read) {
  const content = h("div", { class: "lazy" });
  const button = h("button", { type: "button", class: "button", text: T.look, on: { click: () => void load() } });
  async function load() {
    button.disabled = true;
    fill(content, h("p", { class: "hint", role: "status", text: T.loading }));
    try {
      fill(content, await read());
      button.textContent = T.lookAgain;
    } catch (error) {
      fill(content, h("p", { class: "form-error", role: "alert", text: api.words(error) }));
    }
    button.disabled = false;
  }
  return {
    part: card(title, hint, [content, h("div", { class: "card-foot" }, button)]),
    /** Reads it where there is something in it, and again if it was read. @param {number} count */
    refresh: (count) => void ((count || content.childElementCount) && load()),
  };
}

async function readFailed() {
  const { failed } = await api.failed();
  if (!failed.length) return [h("p", { class: "fine" }, icon("check"), T.noFailed)];
  return [
    h(
      "ul",
      { class: "files" },
      failed
        .slice(0, MOST_SHOWN)
        .map(({ file, reason }) =>
          h(
            "li",
            { class: "file-line" },
            h(
              "div",
              { class: "cell-title" },
              h("code", { class: "file", text: file }),
              h("span", { class: "reason", text: reason }),
            ),
          ),
        ),
    ),
    failed.length > MOST_SHOWN && h("p", { class: "hint", text: T.andMore(failed.length - MOST_SHOWN) }),
    mayChange() && h("p", { class: "hint", text: T.failedWhat }),
  ];
}

async function readMissing() {
  const { tracks, next_offset } = await api.missing();
  if (!tracks.length) return [h("p", { class: "fine" }, icon("check"), T.noMissing)];
  const forget = h("button", {
    type: "button",
    class: "button danger",
    text: T.forget,
    on: {
      click: async () => {
        if (!(await confirmed(T.forget, T.forgetSure, T.forget))) return;
        try {
          const { removed, back } = await api.forgetMissing();
          say(T.forgot(removed, back));
          tell("changed");
        } catch (error) {
          say(api.words(error), "error");
        }
      },
    },
  });
  return [
    h(
      "ul",
      { class: "files" },
      tracks.map((track) => h("li", {}, trackLine(track))),
    ),
    next_offset !== null &&
      h("p", { class: "hint", text: T.andMore((state.library?.missing ?? tracks.length) - tracks.length) }),
    mayChange() && [h("p", { class: "hint", text: T.missingWhat }), forget],
  ];
}

async function readDuplicates() {
  const { pairs } = await api.duplicates(0.98);
  if (!pairs.length) return [h("p", { class: "fine" }, icon("check"), T.noDuplicates)];
  return [
    h(
      "ul",
      { class: "files pairs" },
      pairs
        .slice(0, MOST_SHOWN)
        .map(({ first, second, similarity }) =>
          h(
            "li",
            { class: "pair" },
            h("span", { class: "alike", text: T.alike(percent(similarity)) }),
            trackLine(first),
            trackLine(second),
          ),
        ),
    ),
    pairs.length > MOST_SHOWN && h("p", { class: "hint", text: T.andMore(pairs.length - MOST_SHOWN) }),
    mayChange() && h("p", { class: "hint", text: T.duplicatesWhat }),
  ];
}

function addPart() {
  const input = h("input", {
    class: "field",
    id: "folder",
    required: true,
    placeholder: T.folderHint,
    autocomplete: "off",
    spellcheck: "false",
  });
  const wrong = h("p", { class: "form-error", role: "alert" });
  const form = h(
    "form",
    { class: "inline-form" },
    h("label", { for: "folder", text: T.folder }),
    input,
    h("button", { class: "button primary", text: T.add }),
  );
  form.addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    wrong.textContent = "";
    try {
      await api.add([input.value.trim()]);
      input.value = "";
      say(T.adding);
      tell("job", null);
    } catch (error) {
      wrong.textContent = api.words(error);
    }
  });
  return [form, wrong];
}

export function makeLibraryView() {
  const view = byId("view-library");
  const stats = h("dl", { class: "stats" });
  const jobList = h("ul", { class: "jobs" });
  /** The last one last. @type {Map<string, import("./api.js").Job>} */
  let jobs = new Map();
  let refresh = () => {};

  function showStats() {
    const { library } = state;
    if (!library) return;
    fill(
      stats,
      fact(T.number(library.tracks), T.tracksLabel),
      fact(hours(library.duration_s), T.ofMusic),
      fact(T.number(library.missing), T.missingLabel),
      fact(T.number(library.failed), T.failedLabel),
    );
    const model = view.querySelector(".model");
    if (model) model.textContent = T.model(library.model_name, library.fingerprint, library.window_s);
  }

  function showJobs() {
    const all = [...jobs.values()].reverse();
    fill(jobList, all.slice(0, MOST_JOBS).map(makeJob));
    jobList.hidden = !all.length;
  }

  async function readJobs() {
    try {
      const known = new Map((await api.jobs()).reverse().map((job) => [job.id, job]));
      for (const [id, job] of jobs) {
        // What an event has told meanwhile is newer; of what the server has forgotten nobody knows how it ended.
        if (job.state !== "running" && known.has(id)) known.set(id, job);
      }
      jobs = known;
      showJobs();
    } catch (error) {
      if (!(error instanceof api.Away)) fill(jobList, h("li", { class: "form-error", text: api.words(error) }));
    }
  }

  on("job", (job) => {
    if (job) jobs.set(job.id, job);
    if (state.route.view !== "library") return;
    if (job) showJobs();
    else void readJobs();
  });
  on("library", showStats);
  on("route", ({ view: wanted }) => {
    if (wanted !== "library" || !state.library) return;
    const local = mayChange() && state.library.local;
    const missing = lazyCard(T.missingTitle, T.missingHint, readMissing);
    const failed = lazyCard(T.failedTitle, T.failedHint, readFailed);
    const duplicates = lazyCard(T.duplicatesTitle, T.duplicatesHint, readDuplicates);
    // Not the duplicates: to look for them takes long, and a library that grows changes often.
    refresh = () => {
      missing.refresh(state.library?.missing ?? 0);
      failed.refresh(state.library?.failed ?? 0);
    };
    fill(
      view,
      h("h1", { tabindex: "-1", text: state.library.name }),
      h("p", { class: "lead model" }),
      stats,
      h(
        "div",
        { class: "cards" },
        card(T.addTitle, local ? T.addHint : state.library.read_only ? T.readOnly : T.addElsewhere, [
          local && addPart(),
          jobList,
        ]),
        missing.part,
        failed.part,
        duplicates.part,
      ),
    );
    showStats();
    showJobs();
    view.querySelector("h1")?.focus({ preventScroll: true });
    if (local) void readJobs();
    refresh();
  });
  on("changed", () => {
    if (state.route.view === "library") refresh();
  });
}

/** Search by a sound: a file dropped on the page or chosen, or eight seconds from the microphone. */

import { addExample } from "./actions.js";
import * as api from "./api.js";
import { openDialog } from "./dialogs.js";
import { byId, h } from "./dom.js";
import { say } from "./events.js";
import { T } from "./texts.js";

const RECORD_S = 8;

/** @param {Blob} file @param {string} name */
async function searchBy(file, name) {
  say(T.listening(name));
  try {
    const sound = await api.upload(file, name);
    addExample("like", { kind: "upload", id: sound.id, name: sound.name || name, weight: 1 });
  } catch (error) {
    const words = api.words(error);
    say(error instanceof api.Away ? words : T.notHeard(name, words.replace(`${name}: `, "")), "error");
  }
}

export function chooseFile() {
  const input = h("input", { type: "file", accept: "audio/*,video/*" });
  input.addEventListener("change", () => {
    const file = input.files?.[0];
    if (file) void searchBy(file, file.name);
  });
  input.click();
}

export function acceptDrops() {
  const veil = byId("drop");
  /** @param {DragEvent} event */
  const isFile = (event) => Boolean(event.dataTransfer?.types.includes("Files"));
  document.addEventListener("dragenter", (event) => {
    if (isFile(event)) veil.hidden = false;
  });
  document.addEventListener("dragover", (event) => {
    if (isFile(event)) event.preventDefault();
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) veil.hidden = true;
  });
  document.addEventListener("drop", (event) => {
    veil.hidden = true;
    if (!isFile(event)) return;
    event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (file) void searchBy(file, file.name);
  });
}

/** @param {unknown} error */
function micTrouble(error) {
  if (!(error instanceof DOMException)) return T.micFailed;
  if (error.name === "NotAllowedError") return T.micRefused;
  if (error.name === "NotFoundError") return T.micNone;
  return T.micFailed;
}

/** @type {(stream: MediaStream, ring: HTMLElement, recorder: MediaRecorder) => void} */
function watchLevel(stream, ring, recorder) {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 512;
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const began = performance.now();
  const look = () => {
    if (recorder.state === "inactive") return void context.close();
    analyser.getFloatTimeDomainData(samples);
    const loud = Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
    ring.style.setProperty("--level", String(Math.min(1, loud * 4)));
    ring.style.setProperty("--done", String((performance.now() - began) / (RECORD_S * 1000)));
    requestAnimationFrame(look);
  };
  look();
}

export async function record() {
  if (!navigator.mediaDevices || !("MediaRecorder" in window)) return say(T.micInsecure, "error");
  /** @type {MediaStream} */
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
  } catch (error) {
    return say(micTrouble(error), "error");
  }
  const recorder = new MediaRecorder(stream);
  /** @type {Blob[]} */
  const parts = [];
  let wanted = true;
  const left = h("span", { class: "ring-left", text: String(RECORD_S) });
  const ring = h("div", { class: "ring", "aria-hidden": "true" }, left);
  const dialog = openDialog(
    T.recording,
    [
      ring,
      h("p", { class: "hint centred", role: "status", text: T.recordingHint(RECORD_S) }),
      h(
        "div",
        { class: "form-foot" },
        h("button", { type: "button", class: "button quiet", text: T.cancel, on: { click: () => dialog.close() } }),
        h("button", { type: "button", class: "button primary", text: T.enough, on: { click: () => recorder.stop() } }),
      ),
    ],
    {
      onClose: () => {
        if (recorder.state === "inactive") return;
        wanted = false;
        recorder.stop();
      },
    },
  );
  const began = performance.now();
  const timer = setInterval(() => {
    const seconds = RECORD_S - (performance.now() - began) / 1000;
    left.textContent = String(Math.max(0, Math.ceil(seconds)));
    if (seconds <= 0 && recorder.state !== "inactive") recorder.stop();
  }, 200);
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  recorder.addEventListener("stop", () => {
    clearInterval(timer);
    for (const track of stream.getTracks()) track.stop();
    dialog.close();
    const type = recorder.mimeType || "audio/webm";
    if (wanted)
      void searchBy(
        new Blob(parts, { type }),
        `${T.recordingName}.${type.includes("mp4") ? "m4a" : type.includes("ogg") ? "ogg" : "webm"}`,
      );
  });
  recorder.start();
  watchLevel(stream, ring, recorder);
}

/** The field for a line that is remembered: there only where some track of the library has lyrics. */

import { byId, fill, h } from "./dom.js";
import { on } from "./events.js";
import { askAsTyped, state } from "./state.js";
import { T } from "./texts.js";

const QUIET_MS = 250;

export function makeLyricsField() {
  const form = byId("lyrics");
  const input = h("input", {
    type: "search",
    id: "line",
    class: "field",
    dir: "auto",
    placeholder: T.lyricsPlaceholder,
    autocomplete: "off",
    spellcheck: "false",
    enterkeyhint: "search",
    maxlength: "500",
  });
  fill(form, h("label", { for: "line", text: T.lyricsLabel }), input);

  const { commit, typing } = askAsTyped(input, "lyrics", QUIET_MS);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    commit();
  });

  function show() {
    const { lyrics } = state.query;
    // A link may ask for what the library has not got: then it can be taken out.
    form.hidden = !state.library?.lyrics && !lyrics;
    if (!typing() && input.value.trim() !== lyrics.trim()) input.value = lyrics;
  }
  on("route", show);
  on("library", show);
}

/** All that the page says, in English, and how it writes times and numbers. */

const LANGUAGE = "en";
const numbers = new Intl.NumberFormat(LANGUAGE);
const whole = new Intl.NumberFormat(LANGUAGE, { style: "percent" });

/** @param {number} count @param {string} one @param {string} [many] */
const some = (count, one, many = `${one}s`) => `${numbers.format(count)} ${count === 1 ? one : many}`;

/** @param {string[]} parts */
const listed = (parts) =>
  new Intl.ListFormat(LANGUAGE, { type: "conjunction" }).format(parts.map((part) => `“${part}”`));

/** @param {number} share */
export const percent = (share) => whole.format(share);

/** @param {number} seconds */
export function clock(seconds) {
  const all = Math.max(0, Math.floor(seconds || 0));
  const [hour, minute, second] = [Math.floor(all / 3600), Math.floor((all % 3600) / 60), all % 60];
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  return hour ? `${hour}:${two(minute)}:${two(second)}` : `${minute}:${two(second)}`;
}

/** @param {number} seconds */
export function hours(seconds) {
  if (seconds < 60) return some(Math.round(seconds), "second");
  if (seconds < 90 * 60) return some(Math.round(seconds / 60), "minute");
  if (seconds < 72 * 3600) return some(Math.round(seconds / 3600), "hour");
  return some(Math.round(seconds / 86400), "day");
}

/** @param {import("./api.js").Track} track its title with who plays it */
export const name = (track) => (track.artist?.length ? `${track.title} – ${track.artist.join(", ")}` : track.title);

/** @param {import("./api.js").Track} track */
export const byline = (track) => [track.artist?.join(", "), track.album, track.year].filter(Boolean).join(" · ");

/** @param {number} probability @param {boolean} [weak] */
export function fitWord(probability, weak = false) {
  if (probability < 0.1 || (weak && probability < 0.3)) return "Hardly fits";
  if (weak) return "Nearest only";
  if (probability >= 0.9) return "Fits very well";
  if (probability >= 0.7) return "Fits well";
  if (probability >= 0.4) return "Fits partly";
  return "Fits a little";
}

/** @param {string[]} ways "lyrics", "name" and "sound" */
export const foundBy = (ways) => (ways.length ? `by ${ways.join(" and ")}` : "");

/** @type {Record<string, string>} */
const FIELDS = { bpm: "Tempo (BPM)", albumartist: "Album artist", tracknumber: "Track number", discnumber: "Disc" };

export const T = {
  product: "MusicSearch",
  close: "Close",
  cancel: "Cancel",
  save: "Save",
  show: "Show",
  done: "Done",
  clear: "Clear",
  add: "Add",
  stop: "Stop",
  loading: "One moment …",
  again: "Try again",
  tryNow: "Try now",
  wentWrong: "That did not work",
  number: (/** @type {number} */ value) => numbers.format(value),
  value: (/** @type {number} */ value) => String(Math.round(value * 100) / 100),
  tracks: (/** @type {number} */ count) => some(count, "track"),
  ofNumber: (/** @type {number} */ done, /** @type {number} */ total) =>
    `${numbers.format(done)} of ${numbers.format(total)}`,
  field: (/** @type {string} */ field) =>
    FIELDS[field] ?? field.charAt(0).toUpperCase() + field.slice(1).replaceAll("_", " "),

  // Head
  skip: "Skip to the music",
  startPage: "MusicSearch, start page",
  landmarks: {
    search: "Search",
    nav: "Pages",
    facets: "Filters",
    chips: "Search terms",
    queue: "Queue",
    player: "Player",
  },
  search: "Search",
  map: "Map",
  library: "Library",
  /** @type {Record<string, string>} */
  themes: { system: "Colours: as in the system", light: "Colours: light", dark: "Colours: dark" },
  searchLabel: "Describe the music, or type a name",
  searchPlaceholder: "Describe it, or type a name",
  suggestions: "Suggestions",
  clearSearch: "Clear the search",
  soundFile: "Search by a sound file",
  soundMic: "Search by the microphone",
  suggestion: (/** @type {string} */ kind, /** @type {number} */ count) =>
    count > 1 ? `${kind}, ${some(count, "track")}` : kind,

  lyricsLabel: "A line that you remember",
  lyricsPlaceholder: "words that are sung …",

  // Chips
  sides: { also: "and", minus: "not", like: "like", unlike: "unlike" },
  adders: {
    also: { label: "More wanted words", hint: "as well …" },
    minus: { label: "Unwanted words", hint: "this …" },
  },
  weight: (/** @type {number} */ weight) => `×${Math.round(weight * 10) / 10}`,
  weightOf: (/** @type {string} */ label) => `How much “${label}” counts`,
  changeWeight: (/** @type {string} */ label, /** @type {number} */ weight) =>
    `“${label}” counts ${Math.round(weight * 10) / 10} times; change it`,
  counts: "Counts",
  aTrack: "a track",
  unknownTrack: "There is no such track",
  remove: (/** @type {string} */ label) => `Remove “${label}”`,
  part: (/** @type {string} */ from, /** @type {string} */ to) => `(${from} to ${to})`,
  likes: (/** @type {string} */ title) => `More like “${title}”`,
  unlikes: (/** @type {string} */ title) => `Less like “${title}”`,

  // Results
  results: "Results",
  more: "Show more",
  heroTitle: "What do you want to hear?",
  heroSub: (/** @type {number} */ tracks, /** @type {number} */ seconds) =>
    `${some(tracks, "track")}, ${hours(seconds)} of music. Say what it sounds like, drop a sound here, or type a name.`,
  examplesLabel: "Examples",
  examples: [
    "calm solo piano at night",
    "driving drums, no vocals",
    "warm strings, slowly rising",
    "dusty hip hop beat",
    "a lullaby with bells",
    "something to dance to",
  ],
  found: (/** @type {number} */ count, /** @type {boolean} */ more, /** @type {number} */ seconds) =>
    `${more ? `Best ${numbers.format(count)}` : some(count, "track")}, in ${Math.max(1, Math.round(seconds * 1000))} ms`,
  matching: (/** @type {number} */ count, /** @type {boolean} */ more) =>
    more
      ? `First ${numbers.format(count)} that match`
      : `${some(count, "track")} that ${count === 1 ? "matches" : "match"}`,
  newest: "Newest in the library",
  weakAll: "Nothing here really fits. These are the nearest.",
  nothing: "Nothing found",
  nothingHint: "Try fewer or other words.",
  nothingFiltered: "No track passes these filters.",
  noTracks: "There is no music in this library yet",
  noTracksHint: "Add a folder, and describe what you want to hear.",
  toLibrary: "Add a folder",
  toSearch: "To the search",
  readAs: (/** @type {string[]} */ wanted, /** @type {string[]} */ unwanted) =>
    `Read as ${wanted.length ? `${listed(wanted)} ` : "anything "}without ${listed(unwanted)}.`,
  takeLiterally: "Take it word for word",
  literal: "Taken word for word.",
  understand: "Read its meaning",
  libraryChanged: "The library has changed. Search again",
  playAll: "Play all",
  queueAll: "Add all to the queue",
  saveResult: "Save as a playlist",
  copyLink: "Copy a link to this search",
  linkCopied: "Link copied",
  linkNotCopied: (/** @type {string} */ link) => `This browser does not let the page copy. The link: ${link}`,
  nameFits: "The name fits",
  byName: "by name",
  byLyrics: "by lyrics",
  lyricsTitle: (/** @type {number} */ fit) => `Words: ${percent(fit)} alike`,
  playLine: (/** @type {string} */ line, /** @type {string} */ time) => `Play “${line}” from ${time}`,
  fitTitle: (/** @type {number} */ probability, /** @type {number | undefined} */ score) =>
    `Sound: ${percent(probability)} sure${score === undefined ? "" : `, score ${score.toFixed(3)}`}`,
  playTrack: (/** @type {string} */ title) => `Play “${title}”`,
  pauseTrack: (/** @type {string} */ title) => `Pause “${title}”`,
  playFrom: (/** @type {string} */ time) => `Play from ${time}`,
  stripLabel: (/** @type {number | null} */ start) =>
    start === null ? "How well its parts fit: not known" : `How well its parts fit; best from ${clock(start)}`,
  moved: "The file has been moved or deleted",
  movedFile: (/** @type {string} */ file, /** @type {boolean} */ mine) =>
    `The file is no longer there: ${file}${mine ? ". Add the folder that it is in now, or forget it in the library." : ""}`,

  // What can be done with a track
  moreOf: (/** @type {string} */ title) => `More for “${title}”`,
  moreOfThis: "More for this track",
  moreLike: (/** @type {string} */ title) => `More like “${title}”`,
  lessLike: (/** @type {string} */ title) => `Less like “${title}”`,
  moreLikeThis: "More like this",
  lessLikeThis: "Less like this",
  playNext: "Play next",
  addToQueue: "Add to the queue",
  radioFromHere: "Radio from here",
  radio: "Radio",
  pathTo: "Path to …",
  onTheMap: "Show on the map",
  openTrack: "About this track",
  copyTrackLink: "Copy a link",

  // Filters
  filters: "Filters",
  filtersOn: (/** @type {number} */ count) => `Filters (${count})`,
  clearFilters: "Clear all filters",
  showResults: "Show the results",
  searchIn: "Search in",
  names: { also: "Both", never: "Sound", only: "Names" },
  onePerArtist: "One track per artist",
  narrow: "Find …",
  narrowField: (/** @type {string} */ field) => `Find among: ${field}`,
  allOf: (/** @type {number} */ count) => `All ${numbers.format(count)}`,
  mostFrequent: (/** @type {number} */ count) => `The ${numbers.format(count)} most frequent`,
  fewer: "Fewer",
  rangeEnd: (/** @type {string} */ field, /** @type {string} */ end) => `${T.field(field)}, ${end}`,
  anyOf: (/** @type {number} */ low, /** @type {number} */ high) => `Any, ${low} to ${high}`,
  between: (/** @type {number} */ low, /** @type {number} */ high) =>
    low === high ? String(low) : `${low} to ${high}`,
  bin: (/** @type {number} */ low, /** @type {number} */ high, /** @type {number} */ count) =>
    `${Math.round(low)} to ${Math.round(high)}: ${some(count, "track")}`,

  // Player
  play: "Play",
  pause: "Pause",
  next: "Next",
  previous: "Previous",
  seek: "Where in the track",
  volume: "Volume",
  mute: "Mute",
  ofTime: (/** @type {string} */ at, /** @type {string} */ end) => `${at} of ${end}`,
  cannotPlay: "This file does not play here. It may be damaged.",
  goneTrack: "It is not in the library any more.",
  pressPlay: "Press play to begin: the browser waits for it.",
  playsOnWhenBack: "The server is away. Playback continues when the server is back.",
  queue: "Queue",
  closeQueue: "Close the queue",
  queueName: "Queue",
  queueEmpty: "Nothing yet. Add tracks by their menus, or press the key “a” on a row.",
  playingNow: "Playing",
  nextInQueue: "Next",
  thenFromList: "Then, from the list",
  queued: (/** @type {string} */ title) => `“${title}” is in the queue`,
  queuedMany: (/** @type {number} */ count) => `${some(count, "track")} added to the queue`,
  queuePlace: (/** @type {string} */ title, /** @type {number} */ place) =>
    `${place}: ${title}. Alt and arrow keys move it, Delete removes it.`,
  moveUp: (/** @type {string} */ title) => `Move “${title}” up`,
  moveDown: (/** @type {string} */ title) => `Move “${title}” down`,
  unqueue: (/** @type {string} */ title) => `Take “${title}” out of the queue`,
  movedTo: (/** @type {string} */ title, /** @type {number} */ place, /** @type {number} */ count) =>
    `“${title}” is now ${place} of ${count}`,
  radioFrom: (/** @type {string} */ title) => `Radio from “${title}”`,
  radioTuning: "Looking for what comes next …",
  radioOver: "The radio has nothing more to play.",
  drift: "Drift",
  driftHint: "How far the radio may move away from its start.",

  // Dialogs
  keys: "Keys",
  /** @type {[string[], string][]} */
  keyList: [
    [["/"], "Search"],
    [["j", "k"], "Next and previous row; the arrow keys do the same"],
    [["Enter"], "Play the row"],
    [["Space"], "Play and pause"],
    [["←", "→"], "5 seconds back and on"],
    [["n", "p"], "Next and previous track"],
    [["Shift ↑", "Shift ↓"], "Louder and softer"],
    [["m"], "Mute"],
    [["l", "u"], "More and less like the row"],
    [["a"], "Add the row to the queue"],
    [["q"], "Queue"],
    [["Esc"], "Close, or leave the search box"],
    [["?"], "This list"],
  ],
  tokenTitle: "This library is locked",
  tokenWhy: "The person who started the server has the token.",
  token: "Token",
  signIn: "Open",
  tokenWrong: "That is not the token.",
  playlist: "Playlist",
  savePlaylist: "Save as a playlist",
  playlistName: "Name",
  playlistFormat: "Format",
  formats: { m3u8: "M3U8, for most players", xspf: "XSPF", jspf: "JSPF" },
  playlistSaved: (/** @type {string} */ title) => `“${title}” is saved`,
  nothingToSave: "There is nothing to save.",
  tooManyToSave: (/** @type {number} */ most) => `A playlist holds at most ${numbers.format(most)} tracks.`,

  // Sounds
  listening: (/** @type {string} */ title) => `Listening to “${title}” …`,
  notHeard: (/** @type {string} */ title, /** @type {string} */ why) => `“${title}” could not be used: ${why}`,
  dropHere: "Drop a sound to find what is like it",
  recording: "Listening",
  recordingHint: (/** @type {number} */ seconds) => `Let it hear some music, for ${seconds} seconds at most.`,
  enough: "That is enough",
  recordingName: "recording",
  micRefused: "The browser does not let the page use the microphone. Allow it at the address bar and try again.",
  micNone: "No microphone was found.",
  micFailed: "The microphone could not be used.",
  micInsecure: "The browser gives the microphone only to pages on this computer or over HTTPS.",

  // Track
  stripTitle: "Where it fits",
  stripAsk: "How well its parts fit",
  stripPlaceholder: "piano, a choir, a solo …",
  bestAt: (/** @type {string} */ time) => `Best from ${time}.`,
  likePart: "More like this part",
  tagsTitle: "What it sounds like",
  labelsAsk: "Labels, with commas between them",
  labelsChange: "Other labels",
  labelsDefault: "The usual labels",
  labels: [
    "ambient",
    "blues",
    "classical",
    "country",
    "electronic",
    "folk",
    "funk",
    "hip hop",
    "house",
    "jazz",
    "latin",
    "metal",
    "pop",
    "punk",
    "reggae",
    "rock",
    "soul",
    "techno",
    "calm",
    "happy",
    "sad",
    "dark",
    "energetic",
    "dreamy",
    "piano",
    "guitar",
    "strings",
    "choir",
    "singing",
    "drums",
  ],
  lyrics: "Lyrics",
  factsTitle: "What the file says",
  length: "Length",
  file: "File",
  notesTitle: "Your notes",
  notesHint: "Kept in the library, not in the file. You can search and filter by them.",
  readOnly: "This library is read-only.",
  noteName: "Name",
  noteValue: "Value",
  noteNameHint: "mood",
  noteValueHint: "for a rainy day",
  noteKept: "Saved",
  similar: "Similar",
  similarTo: (/** @type {string} */ title) => `Similar to “${title}”`,

  // Path
  pathTitle: "From one track to another",
  pathLead: "A row of tracks from one to the other. Each is close to the track before.",
  from: "From",
  to: "To",
  steps: "Tracks",
  pickHint: "A title, an artist or a description",
  pathHint: "Choose the first and the last track.",
  pathSame: "The first and the last track are the same: choose another one.",
  pathFound: (/** @type {number} */ count, /** @type {string} */ from, /** @type {string} */ to) =>
    `${some(count, "track")} from “${from}” to “${to}”`,

  // Map
  mapTitle: "Map",
  mapLabel: "Map of the library. Arrow keys move it, plus and minus zoom, Enter chooses the track in the middle.",
  mapHint:
    "Drag to move, scroll or pinch to zoom, click a point to choose it. Shift and drag, or “Draw around”, picks many.",
  noWebgl: "This browser has no WebGL, so the map is drawn in a simpler way.",
  mapFailed: "The map could not be drawn. The server's log says why.",
  mapComputing: "The map is being drawn. The first time takes a while.",
  colourBy: "Colour",
  oneColour: "one colour",
  mapText: "Colour by how well tracks fit these words",
  mapTextHint: "or by words",
  byWords: "these words",
  soundOnHover: "Play the track under the pointer",
  lasso: "Draw around",
  lassoHint: "Draw a line around the tracks that you want.",
  zoomIn: "Nearer",
  zoomOut: "Farther",
  wholeMap: "The whole map",
  legend: "Colours",
  others: "others",
  fitsNot: "hardly fits",
  fitsWell: "fits well",
  chosenPoint: "Chosen track",
  pickedTracks: (/** @type {number} */ count) => `${some(count, "track")} picked`,
  fromMap: "From the map",

  // Library
  tracksLabel: "tracks",
  ofMusic: "of music",
  missingLabel: "missing",
  failedLabel: "not readable",
  model: (/** @type {string} */ model, /** @type {string} */ print, /** @type {number | null} */ seconds) =>
    `Model ${model} (${print.slice(0, 8)})${seconds ? `, windows of ${Math.round(seconds * 10) / 10} s` : ""}`,
  addTitle: "Add music",
  addHint: "A folder on this computer. Files that are already in the library are skipped.",
  addElsewhere: "Folders are added on the computer that holds the library.",
  folder: "Folder",
  folderHint: "/home/you/Music",
  adding: "Adding has begun. You can search meanwhile.",
  jobLabel: (/** @type {string} */ kind) => (kind === "add" ? "Adding music" : kind),
  /** @type {Record<string, string>} */
  jobStates: { running: "Running", done: "Done", failed: "Failed", stopped: "Stopped" },
  /** @type {Record<string, string>} */
  report: {
    added: "added",
    updated: "updated",
    retagged: "with new tags",
    unchanged: "unchanged",
    failed: "not readable",
    missing: "missing",
  },
  reportNothing: "Nothing to add was found.",
  missingTitle: "Missing files",
  missingHint: "Tracks whose file is not where it was.",
  noMissing: "Every file is where it was.",
  missingWhat:
    "Moved? Add the folder that they are in now, and the library recognises them. On a drive that is not connected? Leave them. Deleted? Forget them.",
  forget: "Forget missing tracks",
  forgetSure: "The library deletes their vectors and your notes on them. It keeps tracks whose files are back.",
  forgot: (/** @type {number} */ removed, /** @type {number} */ back) =>
    `${some(removed, "track")} forgotten${back ? `, ${numbers.format(back)} were back` : ""}`,
  failedTitle: "Files that could not be read",
  failedHint: "They are left out of the search.",
  noFailed: "Every file could be read.",
  failedWhat: "Replace a damaged file and add its folder again; only changed files are read again.",
  duplicatesTitle: "Duplicates",
  duplicatesHint: "Tracks that sound the same.",
  noDuplicates: "No two tracks sound the same.",
  alike: (/** @type {string} */ share) => `${share} alike`,
  duplicatesWhat: "Nothing is deleted here. Delete the copy that you do not want, then forget it as missing.",
  look: "Look",
  lookAgain: "Look again",
  andMore: (/** @type {number} */ count) => `and ${numbers.format(Math.max(0, count))} more`,

  // The API's page
  apiBody: "Body",
  apiAnswer: "Answer",
  apiShapes: "Schemas",
  anything: "anything",
  openapi: "The same as OpenAPI JSON",

  // The server
  away: "The server is away. The page goes on by itself when it is back.",
  awayResults: "The server does not answer.",
  busy: (/** @type {number} */ seconds) => `The server is busy; the next try is in ${some(seconds, "second")}.`,
};

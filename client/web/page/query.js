/** A query, as the page's address and as the body of a request. The address is the one place where it is kept. */

/**
 * @typedef {{text: string, weight: number}} Words
 *
 * @typedef {object} Example a track, part of one, or a sound that was given
 * @property {"track" | "upload"} kind
 * @property {string} id
 * @property {number} weight
 * @property {string} [name] of an upload
 * @property {number} [start_s]
 * @property {number} [end_s]
 *
 * @typedef {{from: number | null, to: number | null}} Between
 *
 * @typedef {object} Query
 * @property {string} text
 * @property {number} weight of the text
 * @property {string} lyrics a line that is sung
 * @property {Words[]} also
 * @property {Words[]} minus
 * @property {Example[]} like
 * @property {Example[]} unlike
 * @property {Record<string, string[] | Between>} where
 * @property {"also" | "only" | "never"} names
 * @property {boolean} literal
 * @property {number | null} perArtist
 */

/** @returns {Query} */
export function emptyQuery() {
  return {
    text: "",
    weight: 1,
    lyrics: "",
    also: [],
    minus: [],
    like: [],
    unlike: [],
    where: {},
    names: "also",
    literal: false,
    perArtist: null,
  };
}

/** Whether it says anything that tracks can be ranked by. @param {Query} query */
export const ranks = (query) => describes(query) || Boolean(query.lyrics.trim());

/** Whether it says how tracks sound, so that their parts fit well or badly. @param {Query} query */
export function describes(query) {
  return Boolean(
    query.text.trim() || query.also.length || query.minus.length || query.like.length || query.unlike.length,
  );
}

/** @param {string} text @param {number} weight */
function weighted(text, weight) {
  return weight === 1 && !/\*[\d.]+$/.test(text) ? text : `${text}*${weight}`;
}

/** @param {string} given @returns {[string, number]} */
function unweighted(given) {
  const found = /^([^]*)\*([\d.]+)$/.exec(given);
  const weight = found ? Number(found[2]) : 1;
  return found && weight > 0 ? [found[1], weight] : [given, 1];
}

/** @param {Example} example */
function sayExample(example) {
  const part = example.start_s === undefined ? "" : `@${example.start_s}-${example.end_s}`;
  const id = encodeURIComponent(example.id);
  const name = example.kind === "upload" ? `!${encodeURIComponent(example.name ?? "")}` : "";
  return weighted(`${id}${name}${part}`, example.weight);
}

/** @param {string} given @returns {Example | null} */
function readExample(given) {
  const [rest, weight] = unweighted(given);
  const found = /^([^!@]+)(?:!([^@]*))?(?:@([\d.]+)-([\d.]+))?$/.exec(rest);
  if (!found) return null;
  try {
    const part = found[3] ? { start_s: Number(found[3]), end_s: Number(found[4]) } : {};
    const id = decodeURIComponent(found[1]);
    return found[2] === undefined
      ? { kind: "track", id, weight, ...part }
      : { kind: "upload", id, weight, name: decodeURIComponent(found[2]), ...part };
  } catch {
    return null; // a link that was cut or edited
  }
}

/** @param {string} given @returns {Words} */
function readWords(given) {
  const [text, weight] = unweighted(given);
  return { text, weight };
}

/** @param {string} text */
const number = (text) => (text !== "" && Number.isFinite(Number(text)) ? Number(text) : null);

/** @param {Query} query @returns {URLSearchParams} */
export function toParams(query) {
  const params = new URLSearchParams();
  if (query.text) params.set("q", query.text);
  if (query.weight !== 1) params.set("qw", String(query.weight));
  if (query.lyrics) params.set("lyrics", query.lyrics);
  for (const words of query.also) params.append("also", weighted(words.text, words.weight));
  for (const words of query.minus) params.append("minus", weighted(words.text, words.weight));
  for (const example of query.like) params.append("like", sayExample(example));
  for (const example of query.unlike) params.append("unlike", sayExample(example));
  for (const [field, wanted] of Object.entries(query.where)) {
    if (Array.isArray(wanted)) for (const value of wanted) params.append(`is.${field}`, value);
    else params.set(`in.${field}`, `${wanted.from ?? ""}..${wanted.to ?? ""}`);
  }
  if (query.names !== "also") params.set("names", query.names);
  if (query.literal) params.set("literal", "1");
  if (query.perArtist) params.set("per", String(query.perArtist));
  return params;
}

/** @param {URLSearchParams} params @returns {Query} */
export function fromParams(params) {
  const query = emptyQuery();
  query.text = params.get("q") ?? "";
  query.weight = Number(params.get("qw")) || 1;
  query.lyrics = params.get("lyrics") ?? "";
  query.also = params.getAll("also").map(readWords);
  query.minus = params.getAll("minus").map(readWords);
  query.like = params
    .getAll("like")
    .map(readExample)
    .filter((example) => example !== null);
  query.unlike = params
    .getAll("unlike")
    .map(readExample)
    .filter((example) => example !== null);
  for (const name of new Set(params.keys())) {
    const field = name.slice(3);
    if (name.startsWith("is.")) query.where[field] = params.getAll(name);
    if (name.startsWith("in.")) {
      const [from, to] = (params.get(name) ?? "").split("..");
      query.where[field] = { from: number(from), to: number(to ?? "") };
    }
  }
  const names = params.get("names");
  if (names === "only" || names === "never") query.names = names;
  query.literal = params.has("literal");
  query.perArtist = Number(params.get("per")) || null;
  return query;
}

/** @param {Example} example */
function toExample({ kind, id, weight, start_s, end_s }) {
  return start_s === undefined ? { [kind]: id, weight } : { [kind]: id, weight, start_s, end_s };
}

/** What is ranked by, as the API wants it. @param {Query} query */
export function toWish(query) {
  const text = query.text.trim();
  return {
    texts: [...(text ? [{ text, weight: query.weight }] : []), ...query.also],
    minus: query.minus,
    like: query.like.map(toExample),
    unlike: query.unlike.map(toExample),
  };
}

/** @param {Query} query @param {number} offset @param {number} limit */
export function toBody(query, offset, limit) {
  return {
    ...toWish(query),
    lyrics: query.lyrics.trim(),
    where: query.where,
    per_artist: query.perArtist,
    names: query.names,
    literal: query.literal,
    offset,
    limit,
    windows: describes(query),
  };
}

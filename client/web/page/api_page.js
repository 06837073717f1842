/** The API as a page to read, made from its description. */

import { byId, fill, h } from "./dom.js";
import { T } from "./texts.js";

const METHODS = ["get", "post", "put", "patch", "delete"];

/** @param {any} root @param {any} schema */
function resolve(root, schema) {
  const parts = typeof schema?.$ref === "string" ? schema.$ref.replace("#/", "").split("/") : null;
  return parts ? parts.reduce((/** @type {any} */ at, /** @type {string} */ part) => at?.[part], root) : schema;
}

/** @param {any} root @param {any} schema @param {number} [depth] @returns {string} */
function shape(root, schema, depth = 0) {
  const ref = typeof schema?.$ref === "string" ? schema.$ref.split("/").at(-1) : "";
  if (ref && depth > 0) return ref;
  const found = resolve(root, schema) ?? {};
  const either = found.anyOf ?? found.oneOf;
  if (either) return either.map((/** @type {any} */ one) => shape(root, one, depth + 1)).join(" | ");
  if (found.enum) return found.enum.map((/** @type {any} */ one) => JSON.stringify(one)).join(" | ");
  if (found.type === "array") return `[${shape(root, found.items, depth + 1)}]`;
  if (found.properties) {
    const required = new Set(found.required ?? []);
    const lines = Object.entries(found.properties).map(
      ([field, inner]) =>
        `${"  ".repeat(depth + 1)}${field}${required.has(field) ? "" : "?"}: ${shape(root, inner, depth + 1)}`,
    );
    return `{\n${lines.join("\n")}\n${"  ".repeat(depth)}}`;
  }
  return found.type ?? T.anything;
}

/** @param {any} root @param {string} path @param {string} method @param {any} call */
function part(root, path, method, call) {
  const body = Object.values(call.requestBody?.content ?? {})[0];
  const parameters = (call.parameters ?? []).map((/** @type {any} */ given) => resolve(root, given));
  const answers = Object.entries(call.responses ?? {}).filter(([status]) => status.startsWith("2"));
  const schemas = answers
    .map(([, answer]) => Object.values(resolve(root, answer)?.content ?? {})[0]?.schema)
    .filter((schema) => schema && Object.keys(schema).length);
  return h(
    "section",
    { class: "card wide" },
    h("h2", {}, h("code", { class: "method", text: method.toUpperCase() }), " ", h("code", { text: path })),
    h("p", { class: "hint", text: call.description || call.summary || "" }),
    parameters.length > 0 &&
      h(
        "dl",
        { class: "facts" },
        parameters.map((/** @type {any} */ given) =>
          h(
            "div",
            {},
            h("dt", {}, h("code", { text: given.name })),
            h("dd", { text: [shape(root, given.schema), given.description].filter(Boolean).join(" — ") }),
          ),
        ),
      ),
    body && h("h3", { text: T.apiBody }),
    body && h("pre", { tabindex: "0", text: shape(root, body.schema) }),
    schemas.length > 0 && h("h3", { text: T.apiAnswer }),
    schemas.map((schema) => h("pre", { tabindex: "0", text: shape(root, schema) })),
  );
}

async function show() {
  const main = byId("api");
  try {
    const root = await (await fetch("/api/v1/openapi.json")).json();
    fill(
      main,
      h("h1", { text: `${root.info?.title ?? T.product} ${root.info?.version ?? ""}` }),
      h("p", { class: "lead", text: root.info?.description ?? "" }),
      h("p", { class: "lead" }, h("a", { href: "/api/v1/openapi.json", text: T.openapi })),
      h(
        "div",
        { class: "cards api" },
        Object.entries(root.paths ?? {}).flatMap(([path, calls]) =>
          METHODS.filter((method) => calls[method]).map((method) => part(root, path, method, calls[method])),
        ),
      ),
      h("h2", { class: "api-shapes", text: T.apiShapes }),
      h(
        "div",
        { class: "cards api" },
        Object.entries(root.components?.schemas ?? {}).map(([name, schema]) =>
          h(
            "section",
            { class: "card" },
            h("h2", {}, h("code", { text: name })),
            h("p", { class: "hint", text: schema.description ?? "" }),
            h("pre", { tabindex: "0", text: shape(root, schema) }),
          ),
        ),
      ),
    );
  } catch {
    fill(main, h("p", { class: "form-error", role: "alert", text: T.awayResults }));
  }
}

void show();

/** Builds the page's nodes. What comes from the library only ever becomes text here: nothing parses HTML. */

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * @param {string} tag
 * @param {Record<string, any>} [props] `text`, `on` (listeners by event), `data` (data attributes), `value`; every
 *   other name is an attribute, left out when null or false.
 * @param {...(Child | Child[])} children
 * @returns {any} the element; its exact type is the caller's business
 */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") node.textContent = String(value);
    else if (name === "on") for (const event of Object.keys(value)) node.addEventListener(event, value[event]);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "value") /** @type {any} */ (node).value = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...shown(children));
  return node;
}

/** @param {any[]} children @returns {(Node | string)[]} */
const shown = (children) =>
  children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);

/**
 * Puts children into a node, in place of what it has.
 *
 * @param {Element} node
 * @param {...any} children
 */
export function fill(node, ...children) {
  node.replaceChildren(...shown(children));
}

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  return /** @type {T} */ (document.getElementById(id));
}

/**
 * Calls a function once its caller has been quiet for a while.
 *
 * @template {any[]} A
 * @param {(...given: A) => void} call
 * @param {number} quietMs
 */
export function quiet(call, quietMs) {
  let timer = 0;
  const later = (/** @type {A} */ ...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...given), quietMs);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}

/** @param {string} css a colour as the style sheet would say it; @returns {[number, number, number]} */
export function colour(css) {
  const probe = h("i", { hidden: true });
  probe.style.color = css;
  document.body.append(probe);
  const numbers = getComputedStyle(probe).color.match(/[\d.]+/g) ?? ["0", "0", "0"];
  probe.remove();
  return [Number(numbers[0]), Number(numbers[1]), Number(numbers[2])];
}

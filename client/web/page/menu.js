/** Menus and small panels that open at a button, close by Escape or a click elsewhere, and give the focus back. */

import { byId, h } from "./dom.js";
import { icon } from "./icons.js";

/** @type {{panel: HTMLElement, button: HTMLElement} | null} */
let open = null;

/** @param {{focus?: boolean}} [how] */
export function closePanel({ focus = true } = {}) {
  if (!open) return;
  const { panel, button } = open;
  open = null;
  panel.remove();
  button.setAttribute("aria-expanded", "false");
  if (focus) button.focus();
}

/**
 * @param {HTMLElement} button
 * @param {HTMLElement} panel
 */
export function openPanel(button, panel) {
  const again = open?.button === button;
  closePanel({ focus: again });
  if (again) return;
  panel.classList.add("panel");
  // Within a dialog the rest of the page is out of reach, and so would be a panel.
  (button.closest("dialog") ?? byId("main")).append(panel);
  button.setAttribute("aria-expanded", "true");
  const at = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = panel;
  const below = at.bottom + height + 12 < innerHeight || at.top < height + 12;
  panel.style.left = `${Math.max(8, Math.min(at.right - width, innerWidth - width - 8))}px`;
  panel.style.top = `${below ? Math.min(at.bottom + 6, innerHeight - height - 8) : at.top - height - 6}px`;
  open = { panel, button };
}

/**
 * @typedef {{label: string, icon: import("./icons.js").IconName, run: () => void} | null} Entry null: left out
 *
 * @param {HTMLElement} button
 * @param {Entry[]} entries
 */
export function openMenu(button, entries) {
  const items = entries.flatMap((entry) =>
    entry
      ? [
          h(
            "button",
            {
              type: "button",
              role: "menuitem",
              tabindex: "-1",
              class: "menu-item",
              on: {
                click: () => {
                  closePanel();
                  entry.run();
                },
              },
            },
            icon(entry.icon),
            h("span", { text: entry.label }),
          ),
        ]
      : [],
  );
  const menu = h("div", { role: "menu", class: "menu", "aria-label": button.getAttribute("aria-label") }, items);
  menu.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const place = items.indexOf(document.activeElement);
    const moves = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: items.length - 1 };
    if (event.key in moves) {
      const next = moves[/** @type {keyof typeof moves} */ (event.key)];
      items[(next + items.length) % items.length].focus();
      event.preventDefault();
    } else if (event.key === "Tab") closePanel();
    event.stopPropagation();
    if (event.key === "Escape") closePanel();
  });
  openPanel(button, menu);
  if (open?.panel === menu) items[0]?.focus();
}

document.addEventListener("pointerdown", (event) => {
  const target = /** @type {Node} */ (event.target);
  if (open && !open.panel.contains(target) && !open.button.contains(target)) closePanel({ focus: false });
});
document.addEventListener(
  "keydown",
  (event) => {
    if (event.key === "Escape" && open) {
      closePanel();
      event.preventDefault();
      event.stopPropagation();
    }
  },
  true,
);
addEventListener("popstate", () => closePanel({ focus: false }));
document.addEventListener("scroll", () => closePanel({ focus: false }), { passive: true });

// Runs before the first paint, so that a dark page does not flash white.
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem("theme");
  } catch {
    // Storage is switched off: the system's wish counts.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();

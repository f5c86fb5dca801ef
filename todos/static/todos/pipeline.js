// Keeps the pipeline page up to date: requests its panels every few seconds while the page is visible.
(() => {
  const panels = document.getElementById("panels");
  if (!panels) return;
  const live = document.querySelector("[data-live]");
  const text = document.querySelector("[data-live-text]");
  const dot = live.querySelector(".todo-dot");
  const every = Number(panels.dataset.every) * 1000;
  const timeout = 10000; // milliseconds for one response
  let lastUpdate = Date.now();
  let problem = "";
  let timer = null;

  function showStatus() {
    const seconds = Math.round((Date.now() - lastUpdate) / 1000);
    const isStale = Boolean(problem) || seconds > 3 * (every / 1000);
    const status = isStale ? `Not up to date: last update ${seconds} s ago. ${problem}` : "Live";
    live.classList.toggle("stale", isStale);
    dot.className = `todo-dot ${isStale ? "bad" : "ok"}`;
    if (text.textContent !== status) text.textContent = status;
  }

  // Replaces only the panels that changed, so that focus, selection and scroll position stay.
  function show(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    const focused = document.activeElement && document.activeElement.id;
    // While a table of the database is locked there are problems only, without the other panels.
    const count = (root) => root.querySelectorAll("[data-panel]").length;
    if (count(fresh) !== count(panels)) panels.innerHTML = html;
    for (const panel of panels.querySelectorAll("[data-panel]")) {
      const update = fresh.querySelector(`[data-panel="${panel.dataset.panel}"]`);
      if (!update || update.innerHTML === panel.innerHTML) continue;
      const selection = document.getSelection();
      if (!selection.isCollapsed && panel.contains(selection.anchorNode)) continue;
      const scrolled = panel.querySelector(".todo-scroll");
      const left = scrolled ? scrolled.scrollLeft : 0;
      panel.innerHTML = update.innerHTML;
      if (left) panel.querySelector(".todo-scroll").scrollLeft = left;
    }
    const again = focused && document.getElementById(focused);
    if (again && again !== document.activeElement) again.focus({ preventScroll: true });
  }

  // The title of an error page is the reason: "The database is unavailable".
  async function reason(response) {
    const { title } = new DOMParser().parseFromString(await response.text(), "text/html");
    return `${title || `The server answered ${response.status}`}.`;
  }

  async function refresh() {
    timer = null;
    try {
      const response = await fetch(panels.dataset.url, { signal: AbortSignal.timeout(timeout), redirect: "manual" });
      if (response.type === "opaqueredirect") throw new Error("You are signed out: load the page again.");
      if (!response.ok) throw new Error(await reason(response));
      show(await response.text());
      lastUpdate = Date.now();
      problem = "";
    } catch (error) {
      problem = error instanceof TypeError ? "The server does not answer." : error.message;
    }
    showStatus();
    schedule(every);
  }

  function schedule(milliseconds) {
    if (timer === null && !document.hidden) timer = setTimeout(refresh, milliseconds);
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      clearTimeout(timer);
      timer = null;
    } else {
      schedule(0);
    }
  });
  setInterval(() => document.hidden || showStatus(), 1000);
  showStatus();
  schedule(every);
})();

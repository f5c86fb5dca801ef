// Requests the forecast for the values of the form, shortly after each change.
(() => {
  const panel = document.getElementById("forecast");
  const form = panel && document.getElementById("periodictask_form");
  if (!form) return;
  let timer = null;
  let pending = null;

  async function refresh() {
    if (pending) pending.abort();
    pending = new AbortController();
    const values = new URLSearchParams(new FormData(form));
    values.delete("csrfmiddlewaretoken");
    try {
      const response = await fetch(`${panel.dataset.url}?${values}`, { signal: pending.signal });
      if (!response.ok) throw new Error(`The server answered ${response.status}`);
      panel.innerHTML = await response.text();
    } catch (error) {
      if (error.name !== "AbortError") panel.textContent = `No forecast. ${error.message}.`;
    }
  }

  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, 300);
  });
  refresh();
})();

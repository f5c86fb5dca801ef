// Asks the server what the values of the form would do, shortly after each change.
(() => {
  const place = document.getElementById("forecast");
  const form = place && document.getElementById("periodictask_form");
  if (!form) return;
  let timer = null;
  let current = null;

  async function ask() {
    if (current) current.abort();
    current = new AbortController();
    const values = new URLSearchParams(new FormData(form));
    values.delete("csrfmiddlewaretoken");
    try {
      const response = await fetch(`${place.dataset.url}?${values}`, { signal: current.signal });
      if (!response.ok) throw new Error(`the server answered ${response.status}`);
      place.innerHTML = await response.text();
    } catch (error) {
      if (error.name !== "AbortError") place.textContent = `No forecast: ${error.message}.`;
    }
  }

  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, 300);
  });
  ask();
})();

// The theme draws some buttons as other elements. Makes the keyboard reach them, and a screen reader name them.
document.addEventListener("DOMContentLoaded", () => {
  const names = {
    sidebarMobileOpen: "Menu",
    sidebarDesktopOpen: "Side bar",
    openTheme: "Light or dark",
    openUserLinks: "Account",
    filterOpen: "Filters",
    showActions: "More actions",
  };
  const bare = "span, a:not([href]), a[href='#'], div[x-on\\:click*='openUserLinks'], h2";
  for (const element of document.querySelectorAll("[x-on\\:click]")) {
    if (!element.matches(bare)) continue;
    const name = Object.keys(names).find((key) => element.getAttribute("x-on:click").includes(key));
    if (name) element.setAttribute("aria-label", names[name]);
    element.setAttribute("role", "button");
    element.tabIndex = 0;
    element.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      element.click();
    });
  }
  const nameless = {
    "#searchbar, #searchbar-submit, [x-ref='searchInput']": "Search",
    "a.bg-primary-600[href='/admin/']": "Pipeline",
    ".vDateField": "Date",
    ".vTimeField": "Time",
    ".selector-filter input": "Filter",
  };
  for (const [selector, name] of Object.entries(nameless)) {
    for (const element of document.querySelectorAll(selector)) element.setAttribute("aria-label", name);
  }
  for (const icon of document.querySelectorAll(".material-symbols-outlined:not([role])")) {
    icon.setAttribute("aria-hidden", "true"); // its text is only the glyph's name
  }
});

// Runs in <head>, before the first paint, so that a chosen theme never flashes. Shares its key with Django's admin.
"use strict";
{
  const root = document.documentElement;
  root.classList.add("js");
  let theme = null;
  try {
    theme = localStorage.getItem("theme");
  } catch {
    // Storage may be forbidden; the system's preference then decides.
  }
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
}

// Theme switch, menus, tabs and confirm dialogs.

const THEMES = ["auto", "light", "dark"];

/** The switch goes auto, light, dark; auto follows the system. */
export function setUpTheme() {
  const root = document.documentElement;
  const current = () => root.dataset.theme || "auto";
  const label = () => {
    for (const button of document.querySelectorAll("[data-theme-switch]")) {
      button.dataset.shows = current();
      button.querySelector("[data-theme-word]").textContent = button.dataset[`word${current()}`];
    }
  };
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-switch]")) return;
    const next = THEMES[(THEMES.indexOf(current()) + 1) % THEMES.length];
    if (next === "auto") delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      localStorage.setItem("theme", next);
    } catch {
      // Storage may be forbidden; the choice then lasts for this page.
    }
    label();
    document.dispatchEvent(new CustomEvent("tollgate:theme"));
  });
  label();
}

/** Menus are <details>: one open at a time, closed by Escape, by a click beside them and by leaving with Tab. */
export function setUpMenus() {
  const closeOthers = (keep) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (menu !== keep) menu.open = false;
  };
  document.addEventListener("click", (event) => closeOthers(event.target.closest("details.menu")));
  document.addEventListener("focusin", (event) => closeOthers(event.target.closest("details.menu")));
  document.addEventListener("keydown", (event) => {
    const menu = event.target.closest?.("details.menu[open]");
    if (!menu) return;
    if (event.key === "Escape") {
      menu.open = false;
      menu.querySelector("summary").focus();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const items = [...menu.querySelectorAll(".menu__items :is(a, button)")];
      const step = event.key === "ArrowDown" ? 1 : -1;
      const at = items.indexOf(document.activeElement);
      items[(at + step + items.length) % items.length]?.focus();
    }
  });
}

/** Tabs by the ARIA pattern. Without JavaScript all panels stand below each other. The choice of language is remembered. */
export function setUpTabs(scope) {
  for (const box of scope.querySelectorAll(".tabs:not([data-ready])")) {
    const tabs = [...box.querySelectorAll('[role="tab"]')];
    const kept = readChoice(box);
    show(box, tabs, tabs.find((tab) => tab.dataset.tab === kept) ?? tabs[0]);
    box.dataset.ready = "yes";
    box.addEventListener("click", (event) => {
      const tab = event.target.closest('[role="tab"]');
      if (tab) choose(box, tabs, tab);
    });
    box.addEventListener("keydown", (event) => {
      const at = tabs.indexOf(event.target);
      const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
      if (at < 0 || to === undefined) return;
      event.preventDefault();
      const tab = tabs[(to + tabs.length) % tabs.length];
      choose(box, tabs, tab);
      tab.focus();
    });
  }
}

function show(box, tabs, chosen) {
  for (const tab of tabs) {
    const selected = tab === chosen;
    tab.setAttribute("aria-selected", String(selected));
    tab.tabIndex = selected ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = !selected;
  }
}

/** All boxes that share a data-tabs-group turn together: who reads Go here reads Go there. */
function choose(box, tabs, tab) {
  show(box, tabs, tab);
  const group = box.dataset.tabsGroup;
  if (!group) return;
  try {
    localStorage.setItem(`tabs:${group}`, tab.dataset.tab);
  } catch {
    // Storage may be forbidden; the choice then lasts for this page.
  }
  for (const other of document.querySelectorAll(`.tabs[data-tabs-group="${CSS.escape(group)}"]`)) {
    const theirs = [...other.querySelectorAll('[role="tab"]')];
    const same = theirs.find((each) => each.dataset.tab === tab.dataset.tab);
    if (other !== box && same) show(other, theirs, same);
  }
}

function readChoice(box) {
  try {
    return localStorage.getItem(`tabs:${box.dataset.tabsGroup}`);
  } catch {
    return null;
  }
}

/** A link with data-confirm leads to a confirm page; its panel is shown as a dialog, Cancel focused. */
export function setUpConfirm() {
  document.addEventListener("click", async (event) => {
    const cancel = event.target.closest("dialog [data-cancel]");
    if (cancel) {
      event.preventDefault();
      cancel.closest("dialog").close();
      return;
    }
    const link = event.target.closest("a[data-confirm]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const panel = await fetchPanel(link.href);
    if (panel) openDialog(panel, link);
    else location.assign(link.href);
  });
}

async function fetchPanel(url) {
  try {
    const answer = await fetch(url, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) return null;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    return page.querySelector("[data-confirm-panel]");
  } catch {
    return null;
  }
}

function openDialog(panel, link) {
  const dialog = document.createElement("dialog");
  const heading = panel.querySelector("h1");
  if (heading) {
    const title = document.createElement("h2");
    title.id = "confirm-title";
    title.append(...heading.childNodes);
    heading.replaceWith(title);
    dialog.setAttribute("aria-labelledby", title.id);
  }
  dialog.append(document.adoptNode(panel));
  dialog.addEventListener("close", () => {
    dialog.remove();
    link.focus();
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector("[data-cancel]")?.focus();
}

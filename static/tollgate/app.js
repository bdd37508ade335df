// Behaviour of every page. Nothing here is needed to use a page: each part only makes quicker what plain HTML does.
import { announce } from "./announce.js";
import { setUpConfirm, setUpMenus, setUpTabs, setUpTheme } from "./widgets.js";
import { setUpCopy } from "./copy.js";

const UPDATE_TIMES_MS = 30_000;

/** A form is sent once: a second press does nothing until the page is shown again. */
function setUpForms() {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || event.defaultPrevented || form.hasAttribute("data-repeatable")) return;
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    event.submitter?.setAttribute("aria-busy", "true");
  });
  const release = () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
    for (const button of document.querySelectorAll("button[aria-busy]")) button.removeAttribute("aria-busy");
  };
  window.addEventListener("pageshow", release);
  document.addEventListener("htmx:afterRequest", release);
}

/** "3 minutes ago" grows older while the page is open; the exact UTC stays in the tooltip. */
function updateTimes() {
  const format = new Intl.RelativeTimeFormat(document.documentElement.lang || "en", { numeric: "auto" });
  const steps = [["second", 60], ["minute", 60], ["hour", 24], ["day", 30], ["month", 12], ["year", Infinity]];
  for (const time of document.querySelectorAll("time[data-relative]")) {
    let value = (Date.parse(time.dateTime) - Date.now()) / 1000;
    if (Number.isNaN(value)) continue;
    for (const [unit, size] of steps) {
      if (Math.abs(value) < size) {
        time.textContent = unit === "second" && Math.abs(value) < 45 ? nearNow(value) : format.format(Math.round(value), unit);
        break;
      }
      value /= size;
    }
  }
}

function nearNow(seconds) {
  return seconds > 5 ? `in ${Math.round(seconds)} s` : "just now";
}

/** A secret that is shown once must not be lost: leaving asks, until it was copied or ticked as saved. */
function setUpShownOnce() {
  const unsaved = () => document.querySelector("[data-shown-once]:not([data-saved])");
  const save = (event) => {
    const box = event.target.closest("[data-shown-once]");
    if (box && (event.type === "tollgate:copied" || event.target.matches("[data-saved-tick]:checked"))) box.dataset.saved = "yes";
  };
  document.addEventListener("tollgate:copied", save);
  document.addEventListener("change", save);
  window.addEventListener("beforeunload", (event) => {
    if (unsaved()) event.preventDefault();
  });
}

function setUp() {
  setUpTheme();
  setUpMenus();
  setUpTabs(document);
  setUpConfirm();
  setUpCopy(announce);
  setUpForms();
  setUpShownOnce();
  updateTimes();
  setInterval(updateTimes, UPDATE_TIMES_MS);
  document.addEventListener("htmx:afterSwap", (event) => {
    setUpTabs(event.target);
    updateTimes();
  });
  document.addEventListener("htmx:responseError", () => announce("That did not work. Reload the page and try again."));
}

// Hashed file names can make one module two (a page asks for app.<hash>.js, an import for app.js): the first one does it all.
const root = document.documentElement;
if (!root.dataset.behaves) {
  root.dataset.behaves = "yes";
  setUp();
}

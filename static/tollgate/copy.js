// Copy buttons. data-copy="#id" copies what an element holds, data-copy-text a given text; data-copy-url asks the
// server for a secret and copies it without showing it (POST, answer {"value": "..."}).

const SHOWN_MS = 2_000;

export function setUpCopy(announce) {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-copy-text], [data-copy-url]");
    if (!button) return;
    event.preventDefault();
    try {
      await write(textOf(button));
    } catch (problem) {
      if (problem instanceof NeedsPage) location.assign(problem.url);
      else announce(button.dataset.copyFailed || "Copying did not work. Select the text and copy it by hand.");
      return;
    }
    showCopied(button, announce);
  });
}

class NeedsPage extends Error {
  constructor(url) {
    super("the server asks for the password first");
    this.url = url;
  }
}

async function textOf(button) {
  if (button.dataset.copyUrl) return fetchSecret(button);
  if (button.dataset.copyText !== undefined) return button.dataset.copyText;
  const source = document.querySelector(button.dataset.copy);
  return source.value ?? source.textContent.replace(/\n$/, "");
}

/** Whatever is not the secret (re-authentication, an expired session) is a page to go to. */
async function fetchSecret(button) {
  const token = document.querySelector("[name=csrfmiddlewaretoken]")?.value ?? "";
  const answer = await fetch(button.dataset.copyUrl, {
    method: "POST",
    redirect: "manual",
    headers: { Accept: "application/json", "X-CSRFToken": token, "X-Requested-With": "XMLHttpRequest" },
  });
  const body = await answer.json().catch(() => ({}));
  if (answer.ok && typeof body.value === "string") return body.value;
  throw new NeedsPage(body.reauthenticate || button.dataset.copyFallback || location.href);
}

/** The promise goes into the clipboard item itself, or Safari forgets the click that allowed it. */
async function write(promise) {
  if (window.ClipboardItem && navigator.clipboard?.write) {
    let failure = null;
    const blob = promise.then((text) => new Blob([text], { type: "text/plain" })).catch((error) => {
      failure = error;
      throw error;
    });
    try {
      await navigator.clipboard.write([new ClipboardItem({ "text/plain": blob })]);
      return;
    } catch (error) {
      if (failure) throw failure;
    }
  }
  const text = await promise;
  if (navigator.clipboard?.writeText) {
    try {
      await navigator.clipboard.writeText(text);
      return;
    } catch {
      // Not allowed here (an insecure origin, a policy): the old way still works.
    }
  }
  writeBySelection(text);
}

function writeBySelection(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  area.readOnly = true;
  document.body.append(area);
  const before = document.activeElement;
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  before?.focus();
  if (!done) throw new Error("the browser refused to copy");
}

function showCopied(button, announce) {
  const word = button.dataset.copyDone || "Copied.";
  button.dataset.copied = "yes";
  announce(word);
  button.dispatchEvent(new CustomEvent("tollgate:copied", { bubbles: true }));
  setTimeout(() => { delete button.dataset.copied; }, SHOWN_MS);
}

// The credential of the chosen key. It is asked for when it is first needed, kept in this module's memory, and written nowhere.

export class Unavailable extends Error {}

export class Credentials {
  #known = new Map();

  /** `root` is the console's element: it holds the CSRF token. */
  constructor(root) {
    this.root = root;
  }

  /** Raises Unavailable with a word of console_words.py's "state"; leaves the page to ask for the password where that is needed. */
  async of(id, key) {
    if (!this.#known.has(id)) this.#known.set(id, await this.#load(key));
    return this.#known.get(id);
  }

  async #load(key) {
    const token = this.root.querySelector("[name=csrfmiddlewaretoken]").value;
    const answer = await fetch(key.revealUrl, {
      method: "POST",
      redirect: "manual",
      headers: { Accept: "application/json", "X-CSRFToken": token },
    }).catch(() => { throw new Unavailable("not_loaded"); });
    if (answer.ok) return (await answer.json()).value;
    if (answer.status === 401) leaveFor((await answer.json()).reauthenticate);
    if (answer.type === "opaqueredirect") leaveFor(location.href); // the session is over: this page leads to signing in
    if (answer.status === 409) throw new Unavailable(key.status === "suspended" ? "suspended" : "revoked");
    throw new Unavailable(answer.status === 429 ? "slow_down" : "not_loaded");
  }
}

/** Whoever comes back from there finds this key chosen: its id stands in the page's address. */
function leaveFor(url) {
  location.assign(url);
  throw new Unavailable("loading");
}

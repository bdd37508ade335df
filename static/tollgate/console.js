// The console: one call or a burst, from this browser to the gateway, shown as it went over the wire and explained in words.
import { announce } from "./announce.js";
import { TokenBucket } from "./bucket.js";
import { CallChart } from "./chart.js";
import { burstThatFinds, durationText, explanationOf, fill, kindOf, median, refill } from "./console/answers.js";
import { Burst } from "./console/burst.js";
import { Credentials, Unavailable } from "./console/credential.js";
import { makeCall, masked, requestText, responseText } from "./console/wire.js";

const CHART_SPAN_S = 12;
const PACE_MS = 1000;
const COUNTERS_MS = 250;
const MARKS = { ok: "good", throttled: "warning", quota: "bad", refused: "bad", failed: "bad" };

const root = document.querySelector("#console");
const data = JSON.parse(document.querySelector("#console-data").textContent);
const $ = (selector) => root.querySelector(selector);

class Console {
  constructor() {
    this.words = data.words;
    this.credentials = new Credentials(root);
    this.chart = new CallChart($("#chart"), { span: CHART_SPAN_S });
    this.latest = new Map(); // the latest call of each kind
    this.shown = null; // the kind that the response pane is held at; null: whatever came last
    this.seen429 = readSeen();
    this.burst = null;
    this.first429 = undefined; // the burst (null: a single call) in which the first 429 came
    this.abort = new AbortController();
    this.reset();
    this.choose(root.querySelector("#key").value);
    this.listen();
    setInterval(() => this.showCounters(), COUNTERS_MS);
  }

  listen() {
    $("#key").addEventListener("change", (event) => this.choose(event.target.value));
    $("#one").addEventListener("submit", (event) => { event.preventDefault(); this.sendOne(); });
    $("#burst").addEventListener("submit", (event) => { event.preventDefault(); this.sendBurst(); });
    $("#stop").addEventListener("click", () => this.stop());
    $("#clear").addEventListener("click", () => this.clear());
    $("#seen").addEventListener("click", (event) => {
      const button = event.target.closest("[data-show]");
      if (button) this.hold(button.dataset.show);
    });
    root.addEventListener("keydown", (event) => { if (event.key === "Escape") this.stop(); });
    document.addEventListener("visibilitychange", () => this.runChart());
    this.runChart();
  }

  runChart() {
    if (document.hidden) this.chart.stop();
    else this.chart.start();
  }

  // --- The key ---------------------------------------------------------------------------------------------------------------

  choose(id) {
    this.stop();
    this.id = id;
    this.key = data.keys[id];
    this.bucket = new TokenBucket({ rate: this.key.rate, burst: this.key.burst, at: performance.now() });
    this.chart.setBucket({ rate: this.key.rate, burst: this.key.burst });
    const { count, rate } = burstThatFinds(this.key);
    $("#count").value = count;
    $("#rate").value = rate;
    $("#url").textContent = this.key.url ?? "";
    $("#key-limits").textContent = `${this.key.limits}.`;
    this.showKeyState(this.key.url ? this.words.state[this.key.status] : this.words.state.no_url);
    for (const button of root.querySelectorAll("#one button, #burst [type=submit]")) button.disabled = !this.key.url;
    $("#request").textContent = this.key.url ? requestText(this.key.url, this.maskedCredential()) : "";
    history.replaceState(null, "", `?key=${id}`);
  }

  maskedCredential() {
    return $("#other-credential").value.trim() || masked(`tgk${"x".repeat(12)}${this.key.lastFour}`);
  }

  showKeyState(text) {
    $("#key-state").textContent = text ?? "";
    $("#key-state").hidden = !text;
  }

  /** The credential to send; null after having said why there is none. */
  async credential() {
    const typed = $("#other-credential").value.trim();
    if (typed) return typed;
    if (root.dataset.mayReveal !== "yes") {
      root.querySelector("details").open = true;
      $("#other-credential").focus();
      return null;
    }
    try {
      return await this.credentials.of(this.id, this.key);
    } catch (problem) {
      if (!(problem instanceof Unavailable)) throw problem;
      this.showKeyState(this.words.state[problem.message]);
      announce(this.words.state[problem.message]);
      return null;
    }
  }

  // --- Calls -----------------------------------------------------------------------------------------------------------------

  async sendOne() {
    if (this.busy) return;
    this.busy = true;
    try {
      const credential = await this.credential();
      if (credential === null) return;
      this.shown = null;
      $("#status").hidden = true;
      const call = await this.call(credential);
      if (call) this.explain(call);
    } finally {
      this.busy = false;
    }
  }

  async sendBurst() {
    const form = $("#burst");
    if (this.busy || !form.reportValidity()) return;
    this.busy = true;
    const credential = await this.credential();
    if (credential === null) {
      this.busy = false;
      return;
    }
    this.shown = null;
    const tally = { ok: 0, throttled: 0, quota: 0, refused: 0, failed: 0 };
    const calls = [];
    this.burst = new Burst({
      count: Number($("#count").value),
      rate: Number($("#rate").value),
      send: () => calls.push(this.call(credential).then((call) => this.tally(tally, call))),
      onSent: () => this.endBurst(tally, calls),
    });
    this.setBursting(true);
    $("#chart").scrollIntoView({ block: "nearest" }); // what a burst is for is seen there
    this.say("waiting", fill(this.words.state.sending, { count: this.burst.count, rate: this.burst.rate }), "");
    this.burst.start();
  }

  tally(tally, call) {
    if (!call) return;
    tally[call.kind] += 1;
    if (call.kind === "throttled" && !this.seen429) this.explain(call); // while the burst goes on: the gate comes down just now
  }

  async endBurst(tally, calls) {
    const burst = this.burst;
    const took = burst.took;
    await Promise.all(calls);
    this.summarise(tally, burst, took);
    this.burst = null;
    this.busy = false;
    this.setBursting(false);
  }

  /** Ends a burst: nothing more is sent, and answers that are still under way are no longer waited for. */
  stop() {
    const burst = this.burst;
    if (!burst || burst.stopped) return;
    const unfinished = burst.running;
    burst.stopped = true;
    burst.stop();
    this.abort.abort();
    this.abort = new AbortController();
    if (unfinished) burst.onSent();
  }

  setBursting(bursting) {
    const [start, stop] = [root.querySelector("#burst [type=submit]"), $("#stop")];
    const hadFocus = root.querySelector("#burst").contains(document.activeElement);
    stop.disabled = !bursting;
    start.disabled = bursting || !this.key.url;
    root.querySelector("#one button").disabled = bursting || !this.key.url;
    if (hadFocus) (bursting ? stop : start).focus();
  }

  async call(credential) {
    const url = this.key.url;
    const key = this.id;
    this.sent += 1;
    this.waiting += 1;
    $("#request").textContent = requestText(url, credential);
    const call = await makeCall(url, credential, this.abort.signal);
    this.waiting -= 1;
    if (!call || key !== this.id) return null;
    call.kind = kindOf(call);
    this.note(call);
    return call;
  }

  note(call) {
    this.latencies.push(call.latency);
    this.answeredAt.push(performance.now());
    if (call.kind === "ok" || call.kind === "throttled") this.bucket.learn(Math.max(call.at, this.bucket.at), call.kind === "ok");
    this.chart.add(call);
    this.latest.set(call.kind, call);
    if (this.shown === null) this.showResponse(call);
    const button = root.querySelector(`[data-show="${call.kind}"]`);
    button.hidden = false;
    $("#seen").hidden = this.latest.size < 2;
  }

  // --- What is shown ---------------------------------------------------------------------------------------------------------

  showResponse(call) {
    const status = $("#status");
    status.hidden = call.status === 0;
    status.textContent = call.status;
    status.className = `wire__status wire__status--${call.kind}`;
    $("#latency").textContent = durationText(call.latency, this.words.time);
    $("#response").className = "";
    $("#response").textContent = responseText(call) || this.words.explain.network.title;
    for (const button of root.querySelectorAll("[data-show]")) button.setAttribute("aria-pressed", String(button.dataset.show === call.kind));
  }

  hold(kind) {
    this.shown = kind;
    this.showResponse(this.latest.get(kind));
    this.explain(this.latest.get(kind));
  }

  explain(call) {
    let name = explanationOf(call);
    if (name === "throttled" && (!this.seen429 || this.first429 === this.burst)) {
      this.first429 = this.burst;
      this.seen429 = true;
      rememberSeen();
      name = "first";
    }
    const { title, text } = this.words.explain[name];
    const values = this.values(call);
    const checks = (this.words.checks[name] ?? []).map((check) => fill(check, values));
    this.say(MARKS[call.kind], fill(title, values), fill(text, values), checks);
  }

  values(call) {
    const { every, full } = refill(this.key);
    const resets = new Date(this.key.resetsAt);
    return {
      status: call.status,
      left: Math.floor(this.bucket.level(performance.now())),
      rate: this.key.rate,
      burst: this.key.burst,
      every: durationText(every, this.words.time),
      full: durationText(full, this.words.time),
      quota: this.key.quota?.toLocaleString(document.documentElement.lang) ?? "",
      period: this.key.period,
      wait: durationText(Math.max(0, resets - Date.now()), this.words.time),
      moment: resets.toISOString().slice(11, 16),
      origin: location.origin,
      host: new URL(this.key.url).host,
    };
  }

  summarise(tally, burst, took) {
    const kinds = Object.keys(tally).filter((kind) => kind === "ok" || tally[kind]);
    const figures = kinds.map((kind) => fill(this.words.state[`count_${kind}`], { count: tally[kind] })).join(", ");
    const values = { figures, sent: burst.sent, count: burst.count, rate: this.key.rate, took: durationText(took, this.words.time) };
    const calm = burst.sent === tally.ok;
    const { title, text } = this.words.explain[burst.stopped ? "stopped" : calm ? "calm" : "burst"];
    const why = ["quota", "refused", "failed", "throttled"].find((kind) => tally[kind]);
    if (burst.stopped || calm || !why) this.say(calm ? "good" : "waiting", fill(title, values), fill(text, values));
    else this.sayWhy(this.latest.get(why), `${fill(title, values)}: ${fill(text, values)}`);
  }

  /** The worst answer of a burst, explained after the burst's own figures. */
  sayWhy(call, figures) {
    this.showResponse(call);
    this.explain(call);
    $("#explanation [data-text]").prepend(`${figures} `);
  }

  say(mark, title, text, checks = []) {
    const box = $("#explanation");
    box.className = `console__explain note note--${mark}`;
    box.querySelector("[data-mark]").textContent = { good: "200", warning: "429" }[mark] ?? (mark === "waiting" ? "..." : "!");
    box.querySelector("[data-title] strong").textContent = title;
    box.querySelector("[data-text]").textContent = text;
    const list = box.querySelector("[data-checks]");
    list.hidden = !checks.length;
    list.replaceChildren(...checks.map((check) => Object.assign(document.createElement("li"), { textContent: check })));
  }

  showCounters() {
    const since = performance.now() - PACE_MS;
    while (this.answeredAt.length && this.answeredAt[0] < since) this.answeredAt.shift();
    const time = (ms) => (ms === null ? "-" : durationText(ms, this.words.time));
    const slowest = this.latencies.reduce((most, each) => Math.max(most, each), -1);
    const values = {
      sent: this.sent,
      waiting: this.waiting,
      pace: this.answeredAt.length,
      median: time(median(this.latencies)),
      slowest: time(slowest < 0 ? null : slowest),
    };
    for (const [name, value] of Object.entries(values)) {
      const place = root.querySelector(`[data-counter="${name}"]`);
      if (place.textContent !== String(value)) place.textContent = value;
    }
  }

  reset() {
    this.sent = 0;
    this.waiting ??= 0;
    this.latencies = [];
    this.answeredAt = [];
    this.latest.clear();
    this.shown = null;
  }

  clear() {
    this.reset();
    this.chart.clear();
    for (const button of root.querySelectorAll("[data-show]")) button.hidden = true;
    $("#seen").hidden = true;
    this.showCounters();
  }
}

/** Whether this browser has seen a 429 here before; only the first one is greeted. */
function readSeen() {
  try {
    return localStorage.getItem("tollgate:seen-429") === "yes";
  } catch {
    return false;
  }
}

function rememberSeen() {
  try {
    localStorage.setItem("tollgate:seen-429", "yes");
  } catch {
    // Storage may be forbidden; the next visit greets its first 429 again.
  }
}

new Console();

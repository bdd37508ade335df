// The chart of calls: a dot a call, answered ones below, refused ones above, the bucket's level as a line.
// It needs `_components/call_chart.html`; uPlot draws axes and line, the dots are drawn on its canvas.
import uPlot from "../vendor/uplot/uPlot.esm.js";
import { TokenBucket } from "./bucket.js";

const KINDS = ["ok", "throttled", "quota", "refused", "failed"];
const COLOUR_NAMES = ["good", "warning", "bad", "accent", "ink-2", "line"];
const LOW_BAND = [0.1, 0.4];
const HIGH_BAND = [0.6, 0.9];
const ROWS_IN_BAND = 7;
const FRAME_MS = 33;
const CALM_FRAME_MS = 1000;
const KEPT_CALLS = 5000;
const KNEE_MS = 300;

export class CallChart {
  #root; #canvas; #span; #plot; #colours = {}; #bucket = null; #line = []; #calls = []; #frame = 0; #drawn = 0; #running = false;

  /** `root` is the element of `_components/call_chart.html`; `span` is how many seconds are shown. */
  constructor(root, { span = 12 } = {}) {
    this.#root = root;
    this.#canvas = root.querySelector("[data-canvas]");
    this.#span = span;
    this.counts = Object.fromEntries(KINDS.map((kind) => [kind, 0]));
    this.#canvas.replaceChildren();
    this.#readColours();
    this.#plot = new uPlot(this.#options(), [[], []], this.#canvas);
    new ResizeObserver(() => this.#fit()).observe(this.#canvas);
    const repaint = () => { this.#readColours(); this.#draw(); };
    document.addEventListener("tollgate:theme", repaint);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
    this.#draw();
  }

  /** The limits of the key in use. The bucket starts full; the level is computed from the calls. Null: no line. */
  setBucket(limits, at = performance.now()) {
    this.#bucket = limits && limits.rate > 0 && limits.burst > 0 ? new TokenBucket({ ...limits, at }) : null;
    this.#line = this.#bucket ? [[at, this.#bucket.burst]] : [];
    this.#draw();
  }

  /** One answered call. `kind`: ok, throttled, quota, refused, failed; `at`: performance.now() of its sending. */
  add({ kind, at = performance.now() }) {
    this.counts[kind] += 1;
    this.#calls.push({ kind, at });
    if (this.#calls.length > KEPT_CALLS) this.#calls.splice(0, this.#calls.length - KEPT_CALLS);
    if (this.#bucket && (kind === "ok" || kind === "throttled")) {
      this.#learn(Math.max(at, this.#bucket.at), kind === "ok");
    }
    this.#count(kind);
    if (!this.#running) this.#draw();
  }

  /** Let time pass on the chart. */
  start() {
    if (this.#running) return;
    this.#running = true;
    this.#loop(performance.now());
  }

  stop() {
    this.#running = false;
    cancelAnimationFrame(this.#frame);
  }

  clear() {
    this.#calls = [];
    this.#line = [];
    for (const kind of KINDS) {
      this.counts[kind] = 0;
      this.#count(kind);
    }
    if (this.#bucket) this.setBucket({ rate: this.#bucket.rate, burst: this.#bucket.burst });
    this.#draw();
  }

  /** The line joins what was left after each call; where the bucket had time to refill, the line shows the refilling. */
  #learn(when, passed) {
    const bucket = this.#bucket;
    if (when - bucket.at > KNEE_MS) {
      const full = bucket.at + ((bucket.burst - bucket.tokens) / bucket.rate) * 1000;
      if (full < when) this.#line.push([full, bucket.burst]);
      this.#line.push([when, bucket.level(when)]);
    }
    bucket.learn(when, passed);
    if (passed) this.#line.push([when, bucket.tokens]);
  }

  /** The line's last stretch: from the last call to now. */
  #rest(now) {
    const bucket = this.#bucket;
    const full = bucket.at + ((bucket.burst - bucket.tokens) / bucket.rate) * 1000;
    const end = [Math.max(now, bucket.at), bucket.level(now)];
    return full > bucket.at && full < now ? [[full, bucket.burst], end] : [end];
  }

  #loop(now) {
    const pause = matchMedia("(prefers-reduced-motion: reduce)").matches ? CALM_FRAME_MS : FRAME_MS;
    if (now - this.#drawn >= pause) this.#draw();
    if (this.#running) this.#frame = requestAnimationFrame((next) => this.#loop(next));
  }

  #draw() {
    const now = performance.now();
    this.#drawn = now;
    this.#forget(now);
    const line = this.#bucket ? [...this.#line, ...this.#rest(now)] : [];
    if (line.length) line.unshift([now - this.#span * 1000 - 1, line[0][1]]);
    this.#plot.setData([line.map(([at]) => (at - now) / 1000), line.map(([, level]) => level)], true);
    this.#showGate(now);
  }

  #forget(now) {
    const edge = now - (this.#span + 1) * 1000;
    const kept = this.#calls.findIndex((call) => call.at >= edge);
    if (kept !== 0) this.#calls.splice(0, kept < 0 ? this.#calls.length : kept);
    let points = 0;
    while (points + 2 < this.#line.length && this.#line[points + 2][0] < edge) points += 1;
    if (points) this.#line.splice(0, points);
  }

  /** The bar is down while there is no token, or while the last answer was a refusal. */
  #showGate(now) {
    const gate = this.#root.querySelector("[data-gate]");
    if (!gate) return;
    const last = this.#calls.at(-1);
    const refused = last && last.kind !== "ok" && now - last.at < 600;
    const closed = Boolean(refused || (this.#bucket && this.#bucket.level(now) < 1));
    if ((gate.dataset.gate === "closed") === closed) return;
    gate.dataset.gate = closed ? "closed" : "open";
    gate.querySelector("[data-gate-word]").textContent = closed ? gate.dataset.wordClosed : gate.dataset.wordOpen;
  }

  #count(kind) {
    const number = this.#root.querySelector(`[data-count="${kind}"]`);
    if (!number) return;
    number.textContent = this.counts[kind].toLocaleString(document.documentElement.lang || "en");
    if (this.counts[kind]) number.closest("li").hidden = false;
  }

  #fit() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (width && height && (width !== this.#plot.width || height !== this.#plot.height)) this.#plot.setSize({ width, height });
  }

  /** A custom property may hold light-dark(); a probe element turns it into the colour of now. */
  #readColours() {
    const probe = document.createElement("span");
    this.#root.append(probe);
    for (const name of COLOUR_NAMES) {
      probe.style.color = `var(--${name})`;
      this.#colours[name] = getComputedStyle(probe).color;
    }
    probe.remove();
  }

  #options() {
    const font = "12px system-ui, sans-serif";
    const axis = { font, stroke: () => this.#colours["ink-2"], ticks: { show: false } };
    const grid = { stroke: () => this.#colours.line, width: 1 };
    return {
      width: this.#canvas.clientWidth || 600,
      height: this.#canvas.clientHeight || 240,
      cursor: { show: false },
      legend: { show: false },
      padding: [8, 4, 0, 0],
      scales: {
        x: { time: false, range: () => [-this.#span, 0] },
        calls: { range: () => [0, 1] },
        level: { range: () => [0, this.#bucket?.burst ?? 1] },
      },
      axes: [
        { ...axis, grid: { show: false }, size: 28, splits: () => this.#timeMarks(), values: (_plot, marks) => marks.map((mark) => (mark ? `−${-mark} s` : "")) },
        { ...axis, scale: "calls", grid, size: 40, splits: () => [0.25, 0.5, 0.75], values: () => ["200", "", "429"] },
        { ...axis, scale: "level", side: 1, grid: { show: false }, size: 40, splits: () => this.#levelMarks(), values: (_plot, marks) => marks.map(String) },
      ],
      series: [{}, {
        scale: "level",
        stroke: () => this.#colours.accent,
        fill: () => this.#colours.accent.replace("rgb(", "rgba(").replace(")", ", 0.06)"),
        width: 1.5,
        points: { show: false },
      }],
      hooks: { draw: [(plot) => this.#drawDots(plot)] },
    };
  }

  #timeMarks() {
    return [1, 0.75, 0.5, 0.25].map((part) => -Math.round(this.#span * part));
  }

  #levelMarks() {
    return this.#bucket ? [0, this.#bucket.burst] : [];
  }

  #drawDots(plot) {
    const { ctx, bbox } = plot;
    const now = this.#drawn;
    const size = 3.25 * devicePixelRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    for (const call of this.#calls) {
      const [low, high] = call.kind === "ok" ? LOW_BAND : HIGH_BAND;
      const row = Math.abs(Math.floor(call.at / 7)) % ROWS_IN_BAND;
      const x = plot.valToPos((call.at - now) / 1000, "x", true);
      const y = plot.valToPos(low + ((high - low) * row) / (ROWS_IN_BAND - 1), "calls", true);
      dot(ctx, call.kind, x, y, size, this.#colours);
    }
    ctx.restore();
  }
}

/** Each meaning has its shape: a circle passed, a triangle was throttled, a square was refused. */
function dot(ctx, kind, x, y, size, colours) {
  ctx.fillStyle = kind === "ok" ? colours.good : kind === "throttled" ? colours.warning : kind === "failed" ? colours["ink-2"] : colours.bad;
  ctx.beginPath();
  if (kind === "ok") ctx.arc(x, y, size, 0, 2 * Math.PI);
  else if (kind === "throttled") {
    ctx.moveTo(x, y - 1.3 * size);
    ctx.lineTo(x + 1.25 * size, y + size);
    ctx.lineTo(x - 1.25 * size, y + size);
  } else ctx.rect(x - 0.9 * size, y - 0.9 * size, 1.8 * size, 1.8 * size);
  ctx.fill();
}

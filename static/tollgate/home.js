// The home page's picture: a client that hurries, stops, and hurries again, against the bucket of a real tier.
import { CallChart } from "./chart.js";
import { TokenBucket } from "./bucket.js";

const SPAN_S = 12;
const TICK_MS = 40;

/** Seconds and calls a second: calm under the rate, then far over it, then a pause in which the bucket fills. */
function script(rate) {
  return [[2.4, rate * 0.6], [1.6, rate * 3], [1.6, rate * 0.2], [2, rate * 0.9], [1.2, rate * 4], [2.2, 0]];
}

class Client {
  constructor(rate) {
    this.script = script(rate);
    this.length = this.script.reduce((sum, [seconds]) => sum + seconds, 0);
    this.owed = 0;
  }

  /** How many calls fall into a tick that ends `seconds` after the start. */
  calls(seconds) {
    let at = seconds % this.length;
    const [, pace] = this.script.find(([length]) => (at -= length) < 0);
    this.owed += (pace * TICK_MS) / 1000;
    const due = Math.floor(this.owed);
    this.owed -= due;
    return due;
  }
}

class Picture {
  constructor(root) {
    const limits = { rate: Number(root.dataset.rate), burst: Number(root.dataset.burst) };
    this.chart = new CallChart(root, { span: SPAN_S });
    this.client = new Client(limits.rate);
    this.timer = 0;
    this.ticks = 0;
    this.chart.setBucket(limits, performance.now() - SPAN_S * 1000);
    this.bucket = new TokenBucket({ ...limits, at: performance.now() - SPAN_S * 1000 });
    for (let back = SPAN_S * 1000; back > 0; back -= TICK_MS) this.tick(performance.now() - back);
  }

  tick(at) {
    this.ticks += 1;
    const due = this.client.calls((this.ticks * TICK_MS) / 1000);
    for (let each = 0; each < due; each += 1) {
      const when = at + (each * TICK_MS) / due;
      this.chart.add({ kind: this.bucket.take(when) ? "ok" : "throttled", at: when });
    }
  }

  play() {
    if (this.timer) return;
    this.chart.start();
    this.timer = setInterval(() => this.tick(performance.now()), TICK_MS);
  }

  pause() {
    clearInterval(this.timer);
    this.timer = 0;
    this.chart.stop();
  }
}

const root = document.querySelector("#picture");
if (root) {
  const button = document.querySelector("#picture-pause");
  const picture = new Picture(root);
  let wanted = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  let seen = true;
  const update = () => {
    if (wanted && seen && !document.hidden) picture.play();
    else picture.pause();
    button.textContent = wanted ? button.dataset.wordPause : button.dataset.wordPlay;
  };
  button.addEventListener("click", () => { wanted = !wanted; update(); });
  document.addEventListener("visibilitychange", update);
  new IntersectionObserver(([entry]) => { seen = entry.isIntersecting; update(); }).observe(root);
  update();
}

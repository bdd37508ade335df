// Sends `count` calls at `rate` a second: `send` is called for each at its time, whether or not earlier ones were answered.

const TICK_MS = 5;
// After a pause of the browser (a hidden tab) calls that are overdue are made up for in steps of this many seconds' worth.
const LARGEST_STEP_S = 0.1;

export class Burst {
  #timer = 0; #startedAt = 0; #credit = 0; #last = 0;

  constructor({ count, rate, send, onSent, now = () => performance.now() }) {
    Object.assign(this, { count, rate, send, onSent, now });
    this.sent = 0;
  }

  get running() {
    return this.#timer !== 0;
  }

  start() {
    this.#startedAt = this.#last = this.now();
    this.#credit = 1; // the first call goes at once
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#tick();
  }

  /** No more calls; those under way are the caller's. */
  stop() {
    clearInterval(this.#timer);
    this.#timer = 0;
  }

  /** Milliseconds since the start. */
  get took() {
    return this.now() - this.#startedAt;
  }

  #tick() {
    const now = this.now();
    this.#credit += Math.min(LARGEST_STEP_S, (now - this.#last) / 1000) * this.rate;
    this.#last = now;
    while (this.#credit >= 1 && this.sent < this.count) {
      this.#credit -= 1;
      this.sent += 1;
      this.send();
    }
    if (this.sent >= this.count && this.running) {
      this.stop();
      this.onSent();
    }
  }
}

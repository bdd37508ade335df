// The token bucket of API Gateway: `burst` tokens at most, `rate` new ones a second, one for each call.

export class TokenBucket {
  /** Times are milliseconds of any one clock. A bucket starts full. */
  constructor({ rate, burst, at = 0 }) {
    this.rate = rate;
    this.burst = burst;
    this.tokens = burst;
    this.at = at;
  }

  /** Tokens at a time; a clock that goes backwards adds none. */
  level(at) {
    return Math.min(this.burst, this.tokens + (Math.max(0, at - this.at) / 1000) * this.rate);
  }

  /** Take one token; false when there is none. */
  take(at) {
    this.tokens = this.level(at);
    this.at = Math.max(at, this.at);
    if (this.tokens < 1) return false;
    this.tokens -= 1;
    return true;
  }

  /** What an answer of the real gateway taught: a 200 took a token, a 429 means that none was left. */
  learn(at, passed) {
    this.tokens = this.level(at);
    this.at = Math.max(at, this.at);
    this.tokens = passed ? Math.max(0, this.tokens - 1) : Math.min(this.tokens, 0.99);
  }
}

// What an answer of the gateway means. Pure: nothing here touches the page or the network.
// Kinds are those of chart.js: ok, throttled, quota, refused, failed.

/** `call`: {status, errorType, body}; status 0 when no answer came. */
export function kindOf({ status, errorType, body }) {
  if (status === 0) return "failed";
  if (status === 429) return errorType === "LimitExceededException" || body.includes("Limit Exceeded") ? "quota" : "throttled";
  if (status === 401 || status === 403) return "refused";
  return status >= 500 ? "failed" : "ok";
}

/** Which of the texts of console_words.py explains a call, apart from the first 429. */
export function explanationOf(call) {
  if (call.status === 0) return "network";
  if (call.kind === "refused") return call.body.includes("Missing Authentication Token") ? "unknown_path" : "forbidden";
  if (call.kind === "ok") return call.status < 400 ? "ok" : "api";
  return call.kind;
}

/** Put values into a text's {names}; a name without a value stays as it is. */
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** Milliseconds in at most two units, as the pages write them: 6 h 12 min, 1.5 s, 100 ms. */
export function durationText(ms, words) {
  if (ms < 1000) return fill(words.milliseconds, { milliseconds: Math.max(1, Math.round(ms)) });
  const seconds = ms / 1000;
  if (seconds < 60) return fill(words.seconds, { seconds: Number(seconds.toFixed(seconds < 10 ? 1 : 0)) });
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return fill(words.minutes, { minutes });
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return fill(words.hours, { hours, minutes: minutes % 60 });
  return fill(words.days, { days: Math.floor(hours / 24), hours: hours % 24 });
}

/** How a bucket of this key refills: time for one token, and for all of them, in milliseconds. */
export function refill({ rate, burst }) {
  return { every: 1000 / rate, full: (1000 * burst) / rate };
}

/** A burst that is sure to find the limit: some three times the rate for two seconds, within what the form takes. */
export function burstThatFinds({ rate, burst }) {
  const pace = Math.max(1, Math.min(200, Math.ceil(rate * 3)));
  const needed = pace > rate ? Math.ceil((burst * pace) / (pace - rate) + pace) : burst + 20;
  return { rate: pace, count: Math.max(10, Math.min(500, needed)) };
}

export function median(numbers) {
  if (!numbers.length) return null;
  const sorted = [...numbers].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)];
}

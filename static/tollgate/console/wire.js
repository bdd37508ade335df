// Request and response as text, the way they went over the wire, as far as a browser lets a page see it.

/** The credential with all but its ends hidden. */
export function masked(credential) {
  return credential.length > 12 ? `${credential.slice(0, 3)}${"•".repeat(12)}${credential.slice(-4)}` : "•".repeat(credential.length);
}

export function requestText(url, credential) {
  const { pathname, search, host } = new URL(url);
  return [`GET ${pathname}${search}`, `Host: ${host}`, `Origin: ${location.origin}`, "Accept: */*", `X-Api-Key: ${masked(credential)}`].join("\n");
}

export function responseText(call) {
  if (call.status === 0) return "";
  const headers = call.headers.map(([name, value]) => `${name}: ${value}`);
  return [`${call.status} ${call.reason}`.trim(), ...headers, "", call.body].join("\n");
}

/** One call. Never throws: no answer is an answer of status 0; null when it was stopped. */
export async function makeCall(url, credential, signal) {
  const at = performance.now();
  try {
    const answer = await fetch(url, {
      mode: "cors",
      cache: "no-store",
      credentials: "omit",
      referrerPolicy: "no-referrer",
      headers: { "X-Api-Key": credential },
      signal,
    });
    const latency = performance.now() - at;
    const body = await answer.text();
    const errorType = answer.headers.get("x-amzn-errortype") ?? "";
    return { at, latency, status: answer.status, reason: answer.statusText, headers: [...answer.headers], errorType, body };
  } catch (error) {
    if (error.name === "AbortError") return null;
    return { at, latency: performance.now() - at, status: 0, reason: "", headers: [], errorType: "", body: "" };
  }
}

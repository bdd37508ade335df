"""Buy an API key and print its credential: buy_key.py TIER NAME. Run twice within 72 hours it buys once."""

import hashlib
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request


def call(method, path, body=None, once=None):
    """The answer. Waits and asks again when there are too many requests or the server is away: with the same key nothing is done twice."""
    url = path if "://" in path else f"{os.environ['TOLLGATE_URL'].rstrip('/')}/api/v1{path}"
    headers = {"Authorization": f"Bearer {os.environ['TOLLGATE_TOKEN']}", "Content-Type": "application/json"}
    headers |= {"Idempotency-Key": once} if once else {}
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers, method=method)
    for attempt in range(8):
        try:
            return json.load(urllib.request.urlopen(request, timeout=60))
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503):
                sys.exit(f"{error.code}: {json.load(error)['detail']}")
            time.sleep(int(error.headers.get("Retry-After", 2**attempt)))
        except (OSError, http.client.HTTPException):
            time.sleep(2**attempt / 4)
    sys.exit("The portal does not answer.")


if len(sys.argv) != 3:
    sys.exit(__doc__)
tier, name = sys.argv[1:]
once = hashlib.sha256(f"buy {tier} {name}".encode()).hexdigest()
key = call("POST", "/keys", {"tier": tier, "name": name}, once)
while call("GET", f"/keys/{key['id']}")["status"] == "preparing":
    time.sleep(2)
print(f"{name} is ready at {key['endpoint']}", file=sys.stderr)
print(key["credential"])

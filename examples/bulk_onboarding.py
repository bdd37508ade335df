"""Buy a key for each row of a CSV file (tier,name,description): bulk_onboarding.py IN OUT. OUT gets ids and credentials, or reasons."""

import csv
import hashlib
import http.client
import json
import os
import sys
import time
from urllib import error, request


def post(path, body, once):
    """The answer. Waits and asks again when there are too many requests or the server is away: with the same key nothing is done twice."""
    headers = {"Authorization": f"Bearer {os.environ['TOLLGATE_TOKEN']}", "Content-Type": "application/json", "Idempotency-Key": once}
    asked = request.Request(f"{os.environ['TOLLGATE_URL']}/api/v1{path}", json.dumps(body).encode(), headers)
    for attempt in range(8):
        try:
            return json.load(request.urlopen(asked, timeout=60))
        except error.HTTPError as refusal:
            if refusal.code not in (429, 503):
                sys.exit(f"{refusal.code}: {json.load(refusal)['detail']}")
            time.sleep(int(refusal.headers.get("Retry-After", 2**attempt)))
        except (OSError, http.client.HTTPException):
            time.sleep(2**attempt / 4)
    sys.exit("The portal does not answer.")


items, failures = list(csv.DictReader(open(sys.argv[1], newline="", encoding="utf-8"))), 0
with open(sys.argv[2], "w", newline="", encoding="utf-8") as out:
    os.chmod(sys.argv[2], 0o600)  # the credentials are for your eyes only, also where the file was there before
    for start in range(0, len(items), 500):
        batch = {"items": items[start : start + 500]}
        once = hashlib.sha256(f"{start} {batch}".encode()).hexdigest()  # run again after a failure, nothing is bought twice
        for item, outcome in zip(batch["items"], post("/keys/batch", batch, once)["outcomes"], strict=True):
            key, problem = outcome["key"] or {}, outcome["problem"] or {}
            csv.writer(out).writerow([item["name"], key.get("id"), key.get("credential"), problem.get("detail")])
            failures += outcome["key"] is None
sys.exit(f"{failures} were refused: {sys.argv[2]} says why." if failures else 0)

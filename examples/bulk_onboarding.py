"""Buy a key for each row of a CSV file (tier,name,description): bulk_onboarding.py IN OUT. What is refused is in OUT.refused: mend it."""

import csv
import hashlib
import http.client
import json
import os
import sys
import time
from urllib import error, request


def buy(rows, start):
    """The outcomes. Waits and asks again when there are too many requests or no server: of the same file nothing is bought twice."""
    once = hashlib.sha256(f"{start} {rows}".encode()).hexdigest()
    headers = {"Authorization": f"Bearer {os.environ['TOLLGATE_TOKEN']}", "Content-Type": "application/json", "Idempotency-Key": once}
    asked = request.Request(f"{os.environ['TOLLGATE_URL'].rstrip('/')}/api/v1/keys/batch", json.dumps({"items": rows}).encode(), headers)
    for attempt in range(8):
        try:
            return json.load(request.urlopen(asked, timeout=60))["outcomes"]
        except error.HTTPError as refusal:
            if refusal.code not in (429, 503):
                sys.exit(f"{refusal.code}: {json.load(refusal)['detail']}")
            time.sleep(int(refusal.headers.get("Retry-After", 2**attempt)))
        except (OSError, http.client.HTTPException):
            time.sleep(2**attempt / 4)
    sys.exit("The portal does not answer.")


_, source, target = sys.argv if len(sys.argv) == 3 else sys.exit(__doc__)
rows, refused = list(csv.DictReader(open(source, newline="", encoding="utf-8"))), []
with open(target, "w", newline="", encoding="utf-8") as out:
    os.chmod(target, 0o600)  # the credentials are for your eyes only, also where the file was there before
    for row, outcome in zip(rows, (each for at in range(0, len(rows), 500) for each in buy(rows[at : at + 500], at)), strict=True):
        key, problem = outcome["key"] or {}, outcome["problem"] or {}
        csv.writer(out).writerow([row["name"], key.get("id"), key.get("credential"), problem.get("detail")])
        refused += [] if key else [row]
csv.writer(open(f"{target}.refused", "w", newline="", encoding="utf-8")).writerows([*rows[:1], *map(dict.values, refused)])
sys.exit(f"Refused: {len(refused)}. {target} says why. Mend {target}.refused and run that, not the whole file." if refused else 0)

"""Write all keys into a CSV file: nightly_export.py FILE. The old file stays until the new one is whole."""

import csv
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request


def get(path):
    """The answer. Waits and asks again when there are too many requests or the server is away."""
    url = path if "://" in path else f"{os.environ['TOLLGATE_URL'].rstrip('/')}/api/v1{path}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {os.environ['TOLLGATE_TOKEN']}"})
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


if len(sys.argv) != 2:
    sys.exit(__doc__)
target, page = sys.argv[1], {"next": "/keys?limit=100"}
with open(f"{target}.part", "w", newline="", encoding="utf-8") as file:
    columns = ["id", "name", "description", "tier", "status", "last_four", "endpoint", "created_at", "disabled_at", "revoked_at"]
    rows = csv.DictWriter(file, columns, extrasaction="ignore")
    rows.writeheader()
    while page["next"]:
        page = get(page["next"])
        rows.writerows(page["data"])
os.replace(f"{target}.part", target)

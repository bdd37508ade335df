"""Warn of keys near their quota: watch_usage.py PERCENT. Exit status 1 when there are any: made for cron and alerts."""

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
threshold, near = float(sys.argv[1]), 0
page = {"next": "/usage?limit=100"}
while page["next"]:
    page = get(page["next"])
    for row in page["data"]:
        used, limit = row["period"]["used"], row["period"]["limit"]
        if limit and 100 * used / limit >= threshold:
            near += 1
            print(f"{row['name']}: {used} of {limit} ({100 * used // limit} %), again full at {row['period']['resets_at']}")
sys.exit(1 if near else 0)

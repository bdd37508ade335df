"""Rotate a key: rotate_with_grace.py KEY_ID GRACE_SECONDS COMMAND... The command gets the new credential on stdin."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request


def post(path, body, once):
    """The answer. Waits and asks again when there are too many requests or the server is away: with the same key nothing is done twice."""
    headers = {"Authorization": f"Bearer {os.environ['TOLLGATE_TOKEN']}", "Content-Type": "application/json", "Idempotency-Key": once}
    url = f"{os.environ['TOLLGATE_URL'].rstrip('/')}/api/v1{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
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


if len(sys.argv) < 4 or not shutil.which(sys.argv[3]):  # before anything changes
    sys.exit(__doc__)
key_id, grace, *command = sys.argv[1:]
# Once a day: run again after a failure, the command gets the same credential.
once = f"rotate {key_id} {time.strftime('%Y-%m-%d', time.gmtime())}"
key = post(f"/keys/{key_id}/rotate", {"grace_seconds": int(grace)}, once)
failed = subprocess.run(command, input=key["credential"], text=True, check=False).returncode
print(f"{key['name']}: the old credential works until {key['old_credential_ends_at'] or 'now'}.")
sys.exit(f"{command[0]} failed with {failed}: mend it and run this again today." if failed else 0)

"""Receive webhooks: WEBHOOK_SECRET=whsec_... python receive_webhooks.py. Refuses forged and stale ones, acts on each once."""

import base64
import hashlib
import hmac
import json
import os
import sqlite3
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

database = sqlite3.connect(os.environ.get("WEBHOOK_DATABASE", "webhooks.sqlite3"))
database.executescript("CREATE TABLE IF NOT EXISTS seen (id PRIMARY KEY); CREATE TABLE IF NOT EXISTS keys (id PRIMARY KEY, status, at)")
NEWER = "INSERT INTO keys VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET status = excluded.status, at = excluded.at WHERE excluded.at > at"


def is_genuine(secret, message_id, sent_at, signatures, body):  # signed by Tollgate, and in the last 5 minutes
    fresh = sent_at.isdigit() and abs(time.time() - int(sent_at)) <= 300
    signed = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), f"{message_id}.{sent_at}.".encode() + body, hashlib.sha256)
    expected = b"v1," + base64.b64encode(signed.digest())
    return fresh and any(hmac.compare_digest(expected, each.encode()) for each in signatures.split())


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), 1_000_000))
        signature = [self.headers.get(name, "") for name in ("webhook-id", "webhook-timestamp", "webhook-signature")]
        genuine = is_genuine(os.environ["WEBHOOK_SECRET"], *signature, body)
        if genuine:
            event = json.loads(body)
            with database:  # one transaction: the id is noted if and only if the event had its effect
                if database.execute("INSERT OR IGNORE INTO seen VALUES (?)", signature[:1]).rowcount and "status" in event["data"]:
                    database.execute(NEWER, [event["data"]["id"], event["data"]["status"], event["timestamp"]])  # your work goes here
        self.send_response(204 if genuine else 401)
        self.end_headers()


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8800"))), Handler).serve_forever()

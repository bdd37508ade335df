"""The access log: the format and the objects that production leaves, and never a key value."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

from sandbox.access_log import FLUSH_BYTES, AccessLog
from tests.support.sandbox import SandboxProcess

KEY = "s3cret" * 7
FIELDS = [
    "requestId", "extendedRequestId", "apiId", "stage", "ts", "apiKeyId", "principalId", "tenantId", "method",
    "resource", "status", "error", "latencyMs", "integrationMs", "bytes", "ip",
]  # fmt: skip
NAME = re.compile(r"2026/04/15/12/amazon-apigateway-tollgate-1-2026-04-15-12-30-00-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.gz")


def _entries(directory: Path):
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return [json.loads(line) for path in files for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_log_has_one_line_a_request_in_objects_as_firehose_leaves_them(tmp_path):
    with SandboxProcess("--log-dir", str(tmp_path)) as sandbox:
        sandbox.clock(freeze="2026-04-15T12:30:00Z")
        client = sandbox.client()
        stage = {"apiId": "groceries", "stage": "v1"}
        plan_id = client.create_usage_plan(name="plan", apiStages=[stage], throttle={"rateLimit": 1.0, "burstLimit": 1})["id"]
        csv = f"Name,Key,UsagePlanIds\none,{KEY},{plan_id}".encode()
        key_id = client.import_api_keys(body=csv, format="csv")["ids"][0]
        first = sandbox.invoke(KEY)
        for key, path in ((KEY, "/api"), (None, "/api"), (KEY, '/no"where'), (None, "/health")):
            sandbox.invoke(key, path)
        assert sandbox.flush_log() == 5

    names = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    entries = _entries(tmp_path)
    assert len(names) == 1
    assert NAME.fullmatch(names[0])
    assert [list(entry) for entry in entries] == [FIELDS] * 5
    assert [(entry["status"], entry["error"], entry["apiKeyId"], entry["resource"]) for entry in entries] == [
        ("200", "-", key_id, "/api"),
        ("429", "THROTTLED", key_id, "/api"),
        ("403", "INVALID_API_KEY", "-", "/api"),
        ("403", "MISSING_AUTHENTICATION_TOKEN", "-", "-"),
        ("200", "-", "-", "/health"),
    ]
    assert entries[0]["requestId"] == first.headers["x-amzn-RequestId"]
    assert entries[0]["extendedRequestId"] == first.headers["x-amz-apigw-id"]
    assert entries[0]["ts"] == "1776256200000"
    assert entries[0]["bytes"] == str(len(first.body))
    assert KEY not in json.dumps(entries)


def test_log_is_written_when_the_sandbox_stops(tmp_path):
    sandbox = SandboxProcess("--log-dir", str(tmp_path)).start()
    for _ in range(3):
        sandbox.invoke(None)

    assert sandbox.stop() == 0

    assert len(_entries(tmp_path)) == 3


def test_log_makes_a_new_object_when_enough_has_come(tmp_path):
    log = AccessLog(tmp_path)
    line = json.dumps({"x": "y" * 1000}) + "\n"

    for _ in range(FLUSH_BYTES * 2 // len(line) + 10):
        log.write(line, 1_776_256_200.0)
    log.flush()

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3
    assert len(_entries(tmp_path)) == FLUSH_BYTES * 2 // len(line) + 10


def test_log_without_lines_leaves_no_object(tmp_path):
    assert AccessLog(tmp_path).flush() == 0
    assert list(tmp_path.iterdir()) == []

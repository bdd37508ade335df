"""The sandbox as a process: starting, stopping, and the fixture that other tests build on."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from tests.support.sandbox import ROOT, SandboxProcess


def _plan(client, **options):
    options.setdefault("throttle", {"rateLimit": 10.0, "burstLimit": 5})
    return client.create_usage_plan(name="Free", apiStages=[{"apiId": "groceries", "stage": "v1"}], **options)["id"]


def test_fixture_serves_boto3_and_a_tenant(sandbox):
    client = sandbox.client()
    plan_id = _plan(client)
    csv = f"Name,Key,Enabled,UsagePlanIds\nfirst,{'k' * 40},true,{plan_id}\n"

    imported = client.import_api_keys(body=csv.encode(), format="csv", failOnWarnings=True)

    assert imported["warnings"] == []
    assert sandbox.invoke("k" * 40).status == 200
    assert sandbox.state()["keys"][0]["plans"] == [plan_id]
    assert sandbox.state()["keys"][0]["value"] == "****kkkk"


def test_fixture_gives_each_test_an_empty_sandbox(sandbox):
    assert (sandbox.state()["keys"], sandbox.state()["plans"], sandbox.state()["calls"]) == ([], [], {})


def test_start_line_says_that_it_is_for_development():
    process = SandboxProcess()
    command = [sys.executable, "-m", "sandbox", "--port", "0"]
    process.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    line = process.process.stdout.readline()

    assert process.stop() == 0

    assert "for development only" in line
    assert "http://127.0.0.1:" in line


def test_start_reports_a_taken_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "sandbox", "--port", str(port)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)

    assert result.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in result.stderr
    assert "Traceback" not in result.stderr


def test_process_ends_with_its_standard_input():
    process = SandboxProcess().start()

    process.process.stdin.close()

    assert process.process.wait(20) == 0
    process.process.stdout.close()


def test_flags_set_apis_faults_and_settings():
    fault = '{"kind": "throttle", "operation": "GetAccount", "count": 1}'
    with SandboxProcess("--api", "books:prod", "--api", "books:test", "--key-cap", "7", "--fault", fault) as process:
        state = process.state()

    assert state["apis"] == {"books": ["prod", "test"]}
    assert state["settings"]["key_cap"] == 7
    assert state["faults"][0]["operations"] == ["GetAccount"]


@pytest.mark.parametrize(
    "flags",
    [("--fault", '{"kind": "flood"}'), ("--fault", "x"), ("--api", "no-stage"), ("--latency", "-1"), ("--key-cap", "x"),
     ("--log-dir", __file__)],
)  # fmt: skip
def test_flags_that_make_no_sense_are_refused(flags):
    command = [sys.executable, "-m", "sandbox", "--port", "0", *flags]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)

    assert result.returncode == 2
    assert "Traceback" not in result.stderr

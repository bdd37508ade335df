"""``manage.py connect_gateway`` against a sandbox with accounts, roles and the policies of deploy/iam."""

import json
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command

from keys.gateway.probes import PROBES
from keys.models import Gateway, Stage
from sandbox.identity import Role
from tests.support.sandbox import SandboxProcess, World

pytestmark = pytest.mark.django_db
ROLE = "arn:aws:iam::222222222222:role/tollgate"
WEST: dict[str, Any] = {"account": "222222222222", "region": "eu-west-1", "role": ROLE, "external_id": "right", "api": "fruit"}


@pytest.fixture
def west(accounts: SandboxProcess, monkeypatch: pytest.MonkeyPatch) -> World:
    for name in ("ACCOUNT_ID", "REGION", "REST_API_ID", "STAGE", "INVOKE_URL", "TEST_PATH"):
        monkeypatch.delenv(f"GATEWAY_{name}", raising=False)
    accounts.role(ROLE, external_id="right")
    return accounts.world("222222222222:eu-west-1", "fruit:v1", "fruit:v2")


def policies(*names: str) -> list[Any]:
    folder = django_settings.BASE_DIR / "deploy" / "iam"
    return [json.loads((folder / f"{name}.json").read_text().replace("REGION", "eu-west-1")) for name in names]


def test_gateway_is_looked_at_and_registered_with_all_its_stages(west: World, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("connect_gateway", **WEST, name="West")

    gateway = Gateway.objects.get()
    assert (gateway.name, gateway.role_arn, gateway.external_id) == ("West", ROLE, "right")
    assert (gateway.permissions_missing, gateway.permissions_checked_at is not None) == ([], True)
    assert [str(stage) for stage in Stage.objects.order_by("name")] == ["fruit:v1", "fruit:v2"]
    out = capsys.readouterr().out
    assert "AWS account 222222222222, Region eu-west-1, with the role arn" in out
    assert "All rights that Tollgate needs are there." in out
    assert "Stage fruit:v2 at https://fruit.execute-api.eu-west-1.amazonaws.com/v2" in out
    state = west.state()
    assert (state["keys"], state["plans"]) == ([], [])


def test_dry_run_registers_nothing(west: World, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("connect_gateway", **WEST, dry_run=True)

    assert not Gateway.objects.exists()
    assert "Nothing was registered" in capsys.readouterr().out


def test_policies_of_the_repository_are_enough_and_each_is_needed(west: World, accounts: SandboxProcess) -> None:
    accounts.role(ROLE, external_id="right", policies=policies("reader", "provisioner", "reaper"))
    call_command("connect_gateway", **WEST)
    assert Gateway.objects.get().permissions_missing == []

    wanted = {"reader": "GET", "provisioner": "POST PATCH", "reaper": "DELETE"}
    for left_out in ("provisioner", "reaper"):
        accounts.role(ROLE, external_id="right", policies=policies(*(wanted.keys() - {left_out})))
        call_command("connect_gateway", **WEST)
        missing = {each["operation"] for each in Gateway.objects.get().permissions_missing}
        assert missing == {probe.operation for probe in PROBES if probe.method in wanted[left_out].split()}


def test_what_was_used_cannot_be_changed_with_the_policies_of_the_repository() -> None:
    role = Role(ROLE, policies=policies("reader", "provisioner", "reaper"))

    assert role.allows("UpdateUsagePlan", "PATCH", "usageplans/plan", "eu-west-1")
    assert not role.allows("UpdateUsage", "PATCH", "usageplans/plan/keys/key/usage", "eu-west-1")


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.operation)
def test_each_right_is_asked_for_by_a_call_that_changes_nothing(
    west: World, accounts: SandboxProcess, probe: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    accounts.role(ROLE, external_id="right", deny=[probe.operation])
    needed_to_register = probe.operation.startswith(("GetApiKey", "GetUsagePlan"))
    if needed_to_register:
        with pytest.raises(CommandError, match="Without the right to read"):
            call_command("connect_gateway", **WEST)
    else:
        call_command("connect_gateway", **WEST)
        [missing] = Gateway.objects.get().permissions_missing
        assert missing["operation"] == probe.operation

    assert f"Missing: apigateway:{probe.method} on {probe.path}: " in capsys.readouterr().out
    assert (west.state()["keys"], west.state()["plans"]) == ([], [])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"external_id": "wrong"}, "does not let the workers take on the role"),
        ({"role": "", "external_id": ""}, "credentials are of the AWS account 000000000000"),
        ({"api": "absent"}, "no REST API absent with a deployed stage"),
        ({"stage": ["v3"]}, "no stage v3; it has v1, v2"),
        ({"invoke_url": "https://api.example.com"}, "--invoke-url is of one stage"),
        ({"account": "333333333333"}, "credentials are of the AWS account 222222222222"),
        ({"account": "22"}, "--account: An AWS account id has 12 digits"),
        ({"role": "tollgate"}, "--role: Write a role as arn:aws:iam::"),
    ],
    ids=["external-id", "no-role", "no-api", "no-stage", "one-url", "other-account", "no-account-id", "no-arn"],
)
def test_what_cannot_be_is_said_and_not_registered(west: World, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        call_command("connect_gateway", **{**WEST, **changes})

    assert not Gateway.objects.exists()


@pytest.mark.parametrize("same", [True, False], ids=["that-api", "another-api"])
def test_stage_and_url_of_the_environment_are_of_the_api_that_it_names(west: World, monkeypatch: pytest.MonkeyPatch, same: bool) -> None:
    """Whoever connects a second account beside variables of the first must not send its tenants to the first one's stage."""
    named = {"ACCOUNT_ID": WEST["account"], "REGION": WEST["region"], "REST_API_ID": WEST["api"] if same else "another"}
    for name, value in {**named, "STAGE": "v1", "INVOKE_URL": "https://api.example.com"}.items():
        monkeypatch.setenv(f"GATEWAY_{name}", value)

    call_command("connect_gateway", **WEST)

    urls = dict(Stage.objects.values_list("name", "invoke_url"))
    assert (set(urls), "https://api.example.com" in urls.values()) == (({"v1"}, True) if same else ({"v1", "v2"}, False))


def test_method_without_a_key_is_warned_of(west: World, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("connect_gateway", **WEST, test_path="/health")
    assert "GET /health needs no API key" in capsys.readouterr().out

    call_command("connect_gateway", **WEST, test_path="/absent")
    assert "Whether GET /absent needs an API key could not be seen." in capsys.readouterr().out


def test_stages_that_nobody_may_list_are_registered_as_they_are_named(
    west: World, accounts: SandboxProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    accounts.role(ROLE, external_id="right", deny=["GetStages", "GetResources"])

    with pytest.raises(CommandError, match="--stage is missing"):
        call_command("connect_gateway", **WEST)
    call_command("connect_gateway", **WEST, stage=["v1"])

    assert Stage.objects.get().name == "v1"
    out = capsys.readouterr().out
    assert "Missing: apigateway:GET on /restapis/*/stages: which stages there are could not be seen." in out
    assert "All rights" not in out


def test_running_again_changes_the_role_and_the_url(west: World) -> None:
    call_command("connect_gateway", **WEST, stage=["v1"])
    accounts = west.process
    accounts.role(ROLE + "-new", external_id="other")

    changed = {"role": ROLE + "-new", "external_id": "other", "invoke_url": "https://api.example.com"}
    call_command("connect_gateway", **{**WEST, **changed}, stage=["v1"])

    gateway = Gateway.objects.get()
    assert (gateway.role_arn, gateway.external_id) == (ROLE + "-new", "other")
    assert Stage.objects.get().invoke_url == "https://api.example.com"


@pytest.mark.parametrize("command", ["connect_gateway", "register_gateway"])
def test_running_again_keeps_what_tenants_call(west: World, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever only changes the role, or adds a stage, must not send tenants elsewhere."""
    ours = {"invoke_url": "https://api.example.com/one", "test_path": "/health"}
    call_command("connect_gateway", **WEST, stage=["v1"], **ours)
    capsys.readouterr()

    call_command(command, **WEST, stage=["v1", "v2"])

    assert dict(Stage.objects.values_list("name", "invoke_url")) == {
        "v1": "https://api.example.com/one",
        "v2": "https://fruit.execute-api.eu-west-1.amazonaws.com/v2",
    }
    assert dict(Stage.objects.values_list("name", "test_path")) == {"v1": "/health", "v2": "/api"}
    out = capsys.readouterr().out
    assert "Stage fruit:v1 at https://api.example.com/one" in out
    assert ("GET /health needs no API key" in out) is (command == "connect_gateway")


@pytest.mark.parametrize("same", [True, False], ids=["that-api", "another-api"])
def test_test_path_of_the_environment_changes_a_stage_of_the_api_that_it_names(
    west: World, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    call_command("connect_gateway", **WEST, stage=["v1"], test_path="/health")
    named = {"ACCOUNT_ID": WEST["account"], "REGION": WEST["region"], "REST_API_ID": WEST["api"] if same else "another"}
    for name, value in {**named, "TEST_PATH": "/fruit"}.items():
        monkeypatch.setenv(f"GATEWAY_{name}", value)

    call_command("connect_gateway", **WEST)

    assert dict(Stage.objects.values_list("name", "test_path")) == {"v1": "/fruit" if same else "/health", "v2": "/fruit"}

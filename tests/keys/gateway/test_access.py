"""Taking on roles in several accounts, against a real sandbox with STS."""

from pathlib import Path
from typing import Any

import boto3
import pytest
from structlog.testing import capture_logs

from keys.gateway.access import Access
from keys.gateway.client import GatewayClient
from keys.gateway.errors import GatewayError, Kind, TryLater
from tests.support.sandbox import SandboxProcess, World

ROLE = "arn:aws:iam::222222222222:role/tollgate"
WEST = Access(account_id="222222222222", region="eu-west-1", role_arn=ROLE, external_id="right")
HERE = Access(account_id="000000000000", region="us-east-1")


class Notebook:
    """A guard that lets everything pass and writes it down."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def before(self, operation: str) -> None:
        self.seen.append(f"before {operation}")

    def still(self) -> None:
        self.seen.append("still")

    def after(self, operation: str, error: GatewayError | None) -> None:
        self.seen.append(f"after {error.kind if error else 'ok'}")


@pytest.fixture(autouse=True)
def _short_time_out(settings: Any, new_clients: None) -> None:
    settings.GATEWAY_TIMEOUT_SECONDS = 1


@pytest.fixture
def guard() -> Notebook:
    return Notebook()


@pytest.fixture
def west(accounts: SandboxProcess) -> World:
    accounts.role(ROLE, external_id="right")
    return accounts.world("222222222222:eu-west-1")


def test_role_speaks_to_its_own_account_and_region(accounts: SandboxProcess, west: World, guard: Notebook) -> None:
    GatewayClient(WEST, guard).create_key("there", "v" * 40, enabled=True)
    GatewayClient(HERE, guard).create_key("here", "w" * 40, enabled=True)

    assert [key["name"] for key in west.state()["keys"]] == ["there"]
    assert [key["name"] for key in accounts.state()["keys"]] == ["here"]
    assert guard.seen == ["before CreateApiKey", "still", "after ok"] * 2


@pytest.mark.parametrize(
    ("access", "words"),
    [
        (Access(account_id="222222222222", region="eu-west-1", role_arn=ROLE, external_id="wrong"), f"take on the role {ROLE}"),
        (Access(account_id="333333333333", region="us-east-1"), "of the AWS account 000000000000, and this gateway is in 333333333333"),
        (Access(account_id="333333333333", region="eu-west-1", role_arn=ROLE, external_id="right"), "of the AWS account 222222222222"),
    ],
    ids=["external-id", "own-account", "role-account"],
)
def test_wrong_credentials_are_refused_before_anything_is_sent(
    accounts: SandboxProcess, west: World, guard: Notebook, access: Access, words: str
) -> None:
    with pytest.raises(TryLater, match=words) as raised:
        GatewayClient(access, guard).create_key("lost", "v" * 40, enabled=True)

    assert raised.value.kind is Kind.REFUSED
    assert raised.value.__cause__ is None
    assert guard.seen == ["before CreateApiKey", "after refused"]
    assert (accounts.state()["calls"], west.state()["calls"]) == ({}, {})


def test_credentials_that_expired_are_fetched_anew(accounts: SandboxProcess, west: World, guard: Notebook) -> None:
    client = GatewayClient(WEST, guard)
    client.list_plans()
    accounts.clock(advance=3 * 3600)

    with pytest.raises(TryLater) as raised:
        client.list_plans()
    assert raised.value.kind is Kind.REFUSED

    assert client.list_plans() == []


def test_credentials_are_renewed_before_they_end(accounts: SandboxProcess, west: World, guard: Notebook) -> None:
    accounts.clock(offset=-3300)  # so they end in 5 minutes by our clock
    client = GatewayClient(WEST, guard)
    client.list_plans()
    accounts.clock(offset=0)

    for _call in range(3):
        client.list_plans()

    assert "after refused" not in guard.seen
    assert west.state()["calls"] == {"GetUsagePlans": 4}


def test_one_gateway_without_its_role_takes_nothing_from_the_others(accounts: SandboxProcess, west: World, guard: Notebook) -> None:
    GatewayClient(WEST, guard).list_plans()
    lost = GatewayClient(Access(account_id="222222222222", region="eu-west-1", role_arn=ROLE), guard)
    accounts.fault(kind="reset", operation="GetCallerIdentity")

    with pytest.raises(TryLater):
        lost.list_plans()
    GatewayClient(WEST, guard).list_plans()

    assert west.state()["calls"] == {"GetUsagePlans": 2}


def test_credentials_that_the_workers_are_given_meanwhile_are_used_without_a_restart(
    accounts: SandboxProcess, west: World, guard: Notebook, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    accounts.clock(offset=-3300)  # a role's credentials end in 5 minutes by our clock: they are renewed by each call
    write_credentials(tmp_path / "credentials", accounts)
    client = GatewayClient(WEST, guard)
    client.list_plans()
    accounts.clock(offset=-3300 + 1000)
    with pytest.raises(TryLater, match=r"refuses the workers' credentials \(ExpiredToken") as raised:
        client.list_plans()
    assert raised.value.kind is Kind.REFUSED

    write_credentials(tmp_path / "credentials", accounts)

    assert client.list_plans() == []


def write_credentials(file: Path, accounts: SandboxProcess) -> None:
    """Credentials for a quarter of an hour, in a file as the AWS CLI keeps them."""
    sts = boto3.client(
        "sts", endpoint_url=accounts.url, region_name="us-east-1", aws_access_key_id="sandbox", aws_secret_access_key="sandbox"
    )
    role = "arn:aws:iam::000000000000:role/workers"
    made = sts.assume_role(RoleArn=role, RoleSessionName="workers", DurationSeconds=900)["Credentials"]
    names = {"aws_access_key_id": "AccessKeyId", "aws_secret_access_key": "SecretAccessKey", "aws_session_token": "SessionToken"}
    file.write_text("\n".join(["[default]", *(f"{name} = {made[part]}" for name, part in names.items())]))


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (403, "AccessDenied", Kind.REFUSED, "trust policy must name them"),
        (400, "Throttling", Kind.THROTTLED, "slower pace"),
        (403, "InvalidClientTokenId", Kind.REFUSED, r"refuses the workers' credentials \(InvalidClientTokenId\)"),
        (400, "ExpiredToken", Kind.REFUSED, "no credentials for this gateway: ExpiredToken: As STS says"),
        (404, "NotFound", Kind.REFUSED, "no credentials for this gateway: NotFound: As STS says"),
        (503, "ServiceUnavailable", Kind.UNAVAILABLE, "503"),
    ],
)
def test_what_sts_answers_is_told_as_what_it_is_and_never_of_a_row(
    accounts: SandboxProcess, west: World, guard: Notebook, status: int, code: str, kind: Kind, words: str
) -> None:
    accounts.fault(kind="error", status=status, code=code, message="As STS says", operation="AssumeRole")

    with pytest.raises(TryLater, match=words) as raised:
        GatewayClient(WEST, guard).delete_key("absent")

    assert raised.value.kind is kind


@pytest.mark.parametrize("kind", ["timeout", "reset"])
def test_sts_that_does_not_answer_is_tried_later(accounts: SandboxProcess, west: World, guard: Notebook, kind: str) -> None:
    accounts.fault(kind=kind, operation="AssumeRole", count=1)

    with pytest.raises(TryLater):
        GatewayClient(WEST, guard).list_plans()

    assert GatewayClient(WEST, guard).list_plans() == []


def test_what_a_role_may_not_do_is_said_in_plain_words(accounts: SandboxProcess, west: World, guard: Notebook) -> None:
    accounts.role(ROLE, external_id="right", deny=["DeleteApiKey"])

    with pytest.raises(TryLater, match=r"does not allow the workers apigateway:DELETE on /apikeys/absent\. Add it") as raised:
        GatewayClient(WEST, guard).delete_key("absent")

    assert raised.value.kind is Kind.FORBIDDEN
    assert raised.value.__cause__ is None


def test_no_credential_is_logged(accounts: SandboxProcess, west: World, guard: Notebook) -> None:
    with capture_logs() as logs:
        GatewayClient(WEST, guard).list_plans()
        accounts.clock(advance=3 * 3600)
        with pytest.raises(TryLater) as raised:
            GatewayClient(WEST, guard).list_plans()

    assert logs
    for secret in ("ASIA", "right", "Signature"):
        assert secret not in repr(logs)
        assert secret not in repr(raised.value)

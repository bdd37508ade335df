"""What operators type."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from keys import values
from keys.models import ApiKey, Gateway, GatewayKey, Stage, Tier
from keys.services import api_keys
from portal import demo
from tenants.audit import SYSTEM
from tenants.models import Membership, Role, User
from tests.support.factories import buy, make_tenant, make_tier

pytestmark = pytest.mark.django_db

GATEWAY = {"account": "123456789012", "region": "eu-west-1", "api": "abc123", "stage": "prod"}


def test_register_gateway_makes_account_and_stage_known(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("register_gateway", **GATEWAY)

    stage = Stage.objects.select_related("gateway").get()
    assert (stage.gateway.account_id, stage.gateway.region, stage.gateway.propagation_seconds) == ("123456789012", "eu-west-1", 60)
    assert stage.invoke_url == "https://abc123.execute-api.eu-west-1.amazonaws.com/prod"
    assert stage.invoke_url in capsys.readouterr().out


def test_register_gateway_again_changes_the_invoke_url() -> None:
    call_command("register_gateway", **GATEWAY)

    call_command("register_gateway", **GATEWAY, invoke_url="https://api.example.com/")

    assert Stage.objects.get().invoke_url == "https://api.example.com"
    assert Gateway.objects.count() == 1


@pytest.mark.parametrize(("option", "variable"), [("account", "GATEWAY_ACCOUNT_ID"), ("api", "GATEWAY_REST_API_ID")])
def test_register_gateway_names_what_is_missing(option: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variable, raising=False)

    with pytest.raises(CommandError, match=f"--{option} is missing; give it or set {variable}"):
        call_command("register_gateway", **{**GATEWAY, option: None})


def test_register_gateway_refuses_a_bad_account_naming_the_field() -> None:
    with pytest.raises(CommandError, match=r"--account.*12 digits"):
        call_command("register_gateway", **{**GATEWAY, "account": "12"})


def test_seed_tiers_wants_a_stage_first() -> None:
    with pytest.raises(CommandError, match="connect_gateway"):
        call_command("seed_tiers")


def test_seed_tiers_makes_the_four_tiers_once() -> None:
    call_command("register_gateway", **GATEWAY, verbosity=0)

    call_command("seed_tiers")
    call_command("seed_tiers")

    rows = Tier.objects.order_by("position").values_list(
        "slug", "isolation", "throttle_rate", "throttle_burst", "quota_limit", "price_minor"
    )
    assert [(*row[:2], float(row[2]), *row[3:]) for row in rows] == [
        ("test", "siloed", 10, 5, 20, 0),
        ("free", "pooled", 10, 5, 2000, 0),
        ("basic", "pooled", 100, 50, 5000, 1999),
        ("premium", "siloed", 100, 50, 50000, 6999),
    ]


def test_seed_demo_makes_people_who_can_sign_in(monkeypatch: pytest.MonkeyPatch, client: Any) -> None:
    for name, value in {"ACCOUNT_ID": "000000000000", "REGION": "us-east-1", "REST_API_ID": "groceries", "STAGE": "v1"}.items():
        monkeypatch.setenv(f"GATEWAY_{name}", value)

    call_command("seed_demo")
    call_command("seed_demo")

    assert Membership.objects.get(user__email=demo.VIEWER_EMAIL).role == Role.VIEWER
    assert User.objects.filter(email__in=demo.EMAILS).count() == 3
    assert client.post("/accounts/login/", {"login": demo.OWNER_EMAIL, "password": demo.PASSWORD})["Location"] == "/keys/"


def test_seed_demo_refuses_outside_the_demo(settings: Any) -> None:
    settings.DEMO = False

    with pytest.raises(CommandError, match="DEMO=1"):
        call_command("seed_demo")


def test_rotate_encryption_puts_every_value_under_the_newest_key(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [old]
    api_key = buy(make_tenant(), make_tier(pool_size=3))
    value = api_keys.reveal(api_key=api_key, actor=SYSTEM)

    settings.ENCRYPTION_KEYS = [new, old]
    call_command("rotate_encryption")
    settings.ENCRYPTION_KEYS = [new]

    assert "3 values" in capsys.readouterr().out
    assert api_keys.reveal(api_key=ApiKey.objects.get(pk=api_key.pk), actor=SYSTEM) == value
    assert all(values.has_valid_checksum(values.decrypt(key.value_encrypted)) for key in GatewayKey.objects.all())


def test_rotate_encryption_says_which_key_is_missing(settings: Any) -> None:
    make_tier(pool_size=1)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

    with pytest.raises(CommandError, match="put the older key back"):
        call_command("rotate_encryption")

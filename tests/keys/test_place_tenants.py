"""place_tenants, as operators type it."""

import io
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from keys.models import ApiKey, GatewayKey, Tier
from tests.support.factories import make_tenant, make_tier

pytestmark = pytest.mark.django_db


@pytest.fixture
def tier() -> Tier:
    return make_tier(slug="free", name="Free", pool_size=2)


def say(*words: object, **options: Any) -> str:
    out = io.StringIO()
    call_command("place_tenants", *map(str, words), stdout=out, **options)
    return out.getvalue()


def test_all_tenants(tier: Tier) -> None:
    for _ in range(5):
        make_tenant()
    assert say("--tier", "free", "--all", "--dry-run") == "5 tenants would get a key.\n"
    assert not ApiKey.objects.exists()
    assert say("--tier", "free", "--all", "--chunk", 2) == "2 tenants placed\n4 tenants placed\n5 tenants placed\n"
    assert {each.name for each in ApiKey.objects.all()} == {"Free"}
    assert say("--tier", "free", "--all") == "0 tenants placed\n"


def test_named_tenants_and_those_of_a_file(tier: Tier, tmp_path: Path) -> None:
    named, *filed, _other = (make_tenant() for _ in range(5))
    file = tmp_path / "ids.txt"
    file.write_text("\n".join([str(filed[0].pk), "", f" {filed[1].pk} ", str(filed[2].pk), str(filed[0].pk)]))

    say(named.pk, "--tier", "free", "--name", "Gift")
    say("--tier", "free", "--file", file, "--chunk", 2)

    assert {each.tenant_id for each in ApiKey.objects.all()} == {named.pk, *(each.pk for each in filed)}
    assert ApiKey.objects.get(tenant=named).name == "Gift"


def test_pool_that_lacks_keys_is_said_with_the_remedy(tier: Tier) -> None:
    for _ in range(4):
        make_tenant()
    GatewayKey.objects.filter(position=0).update(ends_at=timezone.now())
    with pytest.raises(CommandError, match="2 tenants found no place: the pool lacks gateway keys"):
        say("--tier", "free", "--all")
    assert ApiKey.objects.count() == 2


def test_wrong_words_are_told_what_is_wrong(tier: Tier, tmp_path: Path) -> None:
    siloed, tenant = make_tier(slug="own"), make_tenant()
    file = tmp_path / "ids.txt"
    file.write_text(f"{tenant.pk}\nacme\n")
    unknown = uuid.uuid4()
    for words, message in {
        ("--tier", "gold", "--all"): "no tier “gold”. Pooled tiers on sale: free",
        ("--tier", siloed.slug, "--all"): "siloed",
        ("--tier", "free"): "Say which tenants",
        ("--tier", "free", "--all", tenant.pk): "Say which tenants",
        ("--tier", "free", unknown, tenant.pk): f"No tenant has the id {unknown}. Nothing was done",
        ("--tier", "free", "--file", file): "line 2: “acme” is no tenant's id",
        ("--tier", "free", "--file", tmp_path / "none"): "cannot be read",
        ("--tier", "free", "--all", "--chunk", 0): "--chunk",
        ("--tier", "free", "--all", "--name", " "): "Give the key a name",
    }.items():
        with pytest.raises(CommandError, match=message):
            say(*words)
    assert not ApiKey.objects.exists()

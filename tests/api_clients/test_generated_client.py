"""The life of a key through a client that openapi-python-client makes from docs/openapi.yaml: nothing in it was written by us."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from http import HTTPStatus
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from openapi_python_client import Config, generate
from openapi_python_client.config import ConfigFile, MetaType
from pytest_django.live_server_helper import LiveServer

from keys.models import ApiKey, Credential, Tier
from tenants.models import Tenant, User
from tests.support import description
from tests.support.api import token_for
from tests.support.factories import bring_into_service, make_tier

NAME = "tollgate_client"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of the generated package, ready to be imported."""
    place = tmp_path_factory.mktemp("generated")
    settings = ConfigFile(post_hooks=[])  # no formatter is asked for
    config = Config.from_sources(
        settings, MetaType.NONE, document_source=description.PATH, file_encoding="utf-8", overwrite=False, output_path=place / NAME
    )
    complaints = generate(config=config)
    assert [str(each) for each in complaints] == []
    sys.path.insert(0, str(place))
    yield NAME
    sys.path.remove(str(place))
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        del sys.modules[name]


class Generated:
    """``api.keys.buy_key(...)``: calls a function of the client and gives its detailed answer."""

    def __init__(self, package: str, url: str, token: str) -> None:
        self.package = package
        self.client = self.module("client").AuthenticatedClient(base_url=f"{url}/api/v1", token=token, raise_on_unexpected_status=True)
        self.models = self.module("models")

    def module(self, path: str) -> ModuleType:
        return importlib.import_module(f"{self.package}.{path}")

    def call(self, path: str, *arguments: Any, **options: Any) -> Any:
        return self.module(f"api.{path}").sync_detailed(*arguments, client=self.client, **options)


@pytest.fixture
def tier(transactional_db: None) -> Tier:
    return make_tier(slug="gold", name="Gold", max_api_keys=5)


@pytest.fixture
def owner(package: str, live_server: LiveServer, tier: Tier, alice: User) -> Generated:
    return Generated(package, live_server.url, token_for(alice))


@pytest.mark.slow
def test_whole_life_of_a_key(owner: Generated, acme: Tenant) -> None:
    models = owner.models
    [offered] = owner.call("tiers.list_tiers").parsed.data
    assert (offered.slug, offered.name, offered.quota_period) == ("gold", "Gold", models.QuotaPeriod.DAY)
    assert offered.retired_at is None

    bought = owner.call("keys.buy_key", body=models.KeyInput(tier="gold", name="Shop"), idempotency_key="order-1")
    assert bought.status_code == HTTPStatus.CREATED
    key = bought.parsed
    assert isinstance(key.id, UUID)
    assert (key.status, key.description, key.credential[-4:]) == (models.KeyStatus.PREPARING, "", key.last_four)
    again = owner.call("keys.buy_key", body=models.KeyInput(tier="gold", name="Shop"), idempotency_key="order-1")
    assert (again.content, again.headers["Idempotent-Replayed"]) == (bought.content, "true")
    assert ApiKey.objects.filter(tenant=acme).count() == 1

    bring_into_service()
    read = owner.call("keys.get_key", key.id)
    assert read.parsed.status == models.KeyStatus.READY
    assert owner.call("keys.get_key", key.id, if_none_match=read.headers["ETag"]).status_code == HTTPStatus.NOT_MODIFIED

    change = models.KeyChange(name="Web shop")
    renamed = owner.call("keys.change_key", key.id, body=change, if_match=read.headers["ETag"])
    assert renamed.parsed.name == "Web shop"
    stale = owner.call("keys.change_key", key.id, body=change, if_match=read.headers["ETag"])
    assert stale.status_code == HTTPStatus.PRECONDITION_FAILED
    assert (stale.parsed.status, stale.parsed.type_.rpartition("/docs/errors/")[2]) == (412, "precondition-failed/")

    usage = owner.call("usage.get_key_usage", key.id).parsed
    assert (usage.key, usage.used) == (key.id, 0)
    assert usage.period.limit == offered.quota_limit
    assert [each.key for each in owner.call("usage.list_usage").parsed.data] == [key.id]

    assert owner.call("keys.disable_key", key.id, body=models.Nothing()).parsed.status == models.KeyStatus.DISABLED
    assert owner.call("keys.enable_key", key.id, body=models.Nothing()).parsed.disabled_at is None
    assert owner.call("keys.reveal_key", key.id, body=models.Nothing()).parsed.credential == key.credential

    bring_into_service()
    rotated = owner.call("keys.rotate_key", key.id, body=models.RotateInput(grace_seconds=3600)).parsed
    assert rotated.credential not in {key.credential, ""}
    assert rotated.old_credential_ends_at is not None
    assert Credential.objects.filter(api_key_id=key.id).count() == 2

    revoked = owner.call("keys.revoke_key", key.id)
    assert (revoked.parsed.status, revoked.parsed.notice) == (models.KeyStatus.REVOKED, None)
    assert owner.call("keys.get_key", key.id).parsed.revoked_at is not None
    refused = owner.call("keys.enable_key", key.id, body=models.Nothing())
    assert refused.status_code == HTTPStatus.CONFLICT
    assert "revoked" in refused.parsed.detail


@pytest.mark.slow
def test_list_is_walked_page_by_page(owner: Generated) -> None:
    items = [owner.models.KeyInput(tier="gold", name=f"Branch {number}") for number in range(5)]
    batch = owner.call("keys.buy_keys", body=owner.models.BatchInput(items=items)).parsed
    assert (batch.bought, batch.refused, [each.status for each in batch.outcomes]) == (5, 0, [201] * 5)
    names, cursor = [], None
    while True:
        page = owner.call("keys.list_keys", limit=2, **({"cursor": cursor} if cursor else {})).parsed
        names += [key.name for key in page.data]
        if page.next_ is None:
            break
        cursor = page.next_.rpartition("cursor=")[2]
    assert sorted(names) == [f"Branch {number}" for number in range(5)]  # bought in one moment, so in no order of theirs
    too_many = owner.call("keys.buy_keys", body=owner.models.BatchInput(items=items[:1])).parsed
    assert (too_many.bought, too_many.outcomes[0].key, too_many.outcomes[0].problem.status) == (0, None, 409)


@pytest.mark.slow
def test_errors_are_read_as_problems(owner: Generated, package: str, live_server: LiveServer, tier: Tier) -> None:
    models = owner.models
    wrong = owner.call("keys.buy_key", body=models.KeyInput(tier="none", name=" "))
    assert wrong.status_code == HTTPStatus.BAD_REQUEST
    assert isinstance(wrong.parsed, models.Problem)
    assert [error.field for error in wrong.parsed.errors] == ["name"]
    unknown = owner.call("keys.get_key", UUID(int=0))
    assert (unknown.parsed.title, unknown.parsed.request_id) == ("There is nothing here", unknown.headers["X-Request-Id"])
    stranger = Generated(package, live_server.url, "tgp_nothing")
    assert stranger.call("keys.list_keys").parsed.status == 401


@pytest.mark.slow
def test_staff_look_at_all_of_it(owner: Generated, package: str, live_server: LiveServer, sam: User, tier: Tier) -> None:
    owner.call("keys.buy_key", body=owner.models.KeyInput(tier="gold", name="Shop"))
    staff = Generated(package, live_server.url, token_for(sam))
    [key] = staff.call("staff_keys.staff_list_keys").parsed.data
    assert (key.name, key.tenant.name, key.tier.slug) == ("Shop", "Acme", "gold")
    [shown] = staff.call("staff_tiers.staff_list_tiers").parsed.data
    assert (shown.id, shown.isolation, shown.api_keys) == (tier.pk, staff.models.Isolation.SILOED, 1)
    assert staff.call("keys.list_keys").status_code == HTTPStatus.FORBIDDEN
    assert owner.call("staff_keys.staff_list_keys").status_code == HTTPStatus.FORBIDDEN


def test_description_is_the_one_that_is_served(client: Client, sam: User) -> None:
    tenants = client.get("/api/openapi.yaml")
    assert (tenants.status_code, tenants["Content-Type"]) == (200, "application/yaml")
    assert not [word for word in (b"/staff/", b"pooled", b"siloed") if word in tenants.content]
    client.force_login(sam)
    answer = client.get("/api/openapi.yaml")
    assert (answer.status_code, answer.content) == (200, description.PATH.read_bytes())
    assert client.get("/api/openapi.yaml", headers={"If-None-Match": answer["ETag"]}).status_code == 304

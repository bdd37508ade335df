import json
import re
from typing import Any
from urllib.parse import urlsplit

from django.test import Client
from django.urls import reverse

from keys.models import ApiKey, Gateway, Tier
from keys.services import api_keys
from tenants.audit import SYSTEM
from tenants.models import Tenant
from tests.support.factories import buy, make_gateway, make_stage, make_tier


def data_of(page: str) -> dict[str, Any]:
    match = re.search(r'<script id="console-data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert match
    data: dict[str, Any] = json.loads(match[1])
    return data


def connect_source(answer: Any) -> str:
    directives = dict(part.strip().partition(" ")[::2] for part in answer["Content-Security-Policy"].split(";"))
    return directives.get("connect-src", "(none)")


def test_console_may_connect_to_the_registered_stages_and_nothing_else(client_of_alice: Client, shop: ApiKey) -> None:
    make_stage(make_gateway(), rest_api_id="other", invoke_url="https://abc.execute-api.eu-central-1.amazonaws.com/prod")
    assert Gateway.objects.count() == 2
    answer = client_of_alice.get(reverse("keys:console"))
    assert connect_source(answer) == "'self' http://127.0.0.1:4510 https://abc.execute-api.eu-central-1.amazonaws.com"
    assert connect_source(client_of_alice.get(reverse("keys:list"))) == "(none)"


def test_console_knows_what_to_call_and_the_limits_to_explain(client_of_alice: Client, shop: ApiKey) -> None:
    key = data_of(client_of_alice.get(reverse("keys:console")).content.decode())["keys"][str(shop.pk)]
    assert key["url"] == "http://127.0.0.1:4510/_aws/execute-api/groceries/v1/api"
    assert (key["rate"], key["burst"], key["quota"], key["period"]) == (100.0, 50, 50_000, "month")
    assert key["lastFour"] == shop.gateway_key.last_four
    assert key["status"] == "ready"
    assert key["revealUrl"] == reverse("keys:reveal", args=[shop.pk])


def test_console_chooses_the_key_of_its_address_else_the_newest(client_of_alice: Client, shop: ApiKey, stall: ApiKey) -> None:
    def chosen(**query: str) -> str:
        match = re.search(r'<option value="([0-9a-f-]+)"\s+selected', client_of_alice.get(reverse("keys:console"), query).content.decode())
        assert match
        return match[1]

    assert chosen(key=str(shop.pk)) == str(shop.pk)
    assert chosen() == str(stall.pk)


def test_console_leaves_out_revoked_keys(client_of_alice: Client, shop: ApiKey, stall: ApiKey) -> None:
    api_keys.revoke(api_key=shop, actor=SYSTEM)
    assert set(data_of(client_of_alice.get(reverse("keys:console")).content.decode())["keys"]) == {str(stall.pk)}


def test_console_asked_for_a_revoked_key_says_so(client_of_alice: Client, shop: ApiKey) -> None:
    api_keys.revoke(api_key=shop, actor=SYSTEM)
    data = data_of(client_of_alice.get(reverse("keys:console"), {"key": shop.pk}).content.decode())
    assert data["keys"][str(shop.pk)]["status"] == "revoked"


def test_console_without_keys_carries_the_next_step(client_of_alice: Client) -> None:
    page = client_of_alice.get(reverse("keys:console")).content.decode()
    assert "No key to call with" in page
    assert "console.js" not in page


def test_console_says_that_it_needs_javascript(client_of_alice: Client, shop: ApiKey) -> None:
    assert "which needs JavaScript" in client_of_alice.get(reverse("keys:console")).content.decode()


def test_console_lets_a_viewer_paste_a_credential(client_of_bob: Client, shop: ApiKey) -> None:
    page = client_of_bob.get(reverse("keys:console")).content.decode()
    assert 'data-may-reveal="no"' in page
    assert "paste one that you were given" in page


def test_console_has_no_inline_script_or_style(client_of_alice: Client, acme: Tenant, premium: Tier) -> None:
    buy(acme, make_tier(slug="odd", name="<b>Odd</b>"), name="</script><script>alert(1)</script>")
    page = client_of_alice.get(reverse("keys:console")).content.decode()
    assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>", page) == ['<script id="console-data" type="application/json">']
    assert not re.search(r"<style|\sstyle=|\son\w+=", page)


def test_console_may_call_every_address_that_it_shows(client_of_alice: Client, shop: ApiKey, stall: ApiKey) -> None:
    answer = client_of_alice.get(reverse("keys:console"))
    addresses = {urlsplit(key["url"]) for key in data_of(answer.content.decode())["keys"].values()}
    assert {f"{address.scheme}://{address.netloc}" for address in addresses} <= set(connect_source(answer).split())

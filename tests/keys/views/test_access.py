"""Another tenant's key cannot be told from a missing one; a viewer changes nothing; strangers are sent to sign in."""

import uuid
from urllib.parse import unquote

import pytest
from django.test import Client
from django.urls import reverse

from keys.models import ApiKey

READS = ["detail", "row", "state"]
CHANGES = ["rename", "enable", "disable", "rotate", "revoke"]


@pytest.mark.parametrize("name", [*READS, *CHANGES])
def test_key_pages_answer_charlie_as_if_the_key_did_not_exist(client_of_charlie: Client, shop: ApiKey, name: str) -> None:
    theirs = client_of_charlie.get(reverse(f"keys:{name}", args=[shop.pk]))
    missing = client_of_charlie.get(reverse(f"keys:{name}", args=[uuid.uuid4()]))
    assert theirs.status_code == missing.status_code == 404


@pytest.mark.parametrize("name", [*CHANGES, "reveal"])
def test_key_changes_answer_charlie_404_and_change_nothing(client_of_charlie: Client, shop: ApiKey, name: str) -> None:
    before = ApiKey.objects.filter(pk=shop.pk).values().get()
    answer = client_of_charlie.post(reverse(f"keys:{name}", args=[shop.pk]), {"name": "Mine", "grace": "0"})
    assert answer.status_code == 404
    assert ApiKey.objects.filter(pk=shop.pk).values().get() == before


def test_key_list_shows_charlie_nothing_of_acme(client_of_charlie: Client, shop: ApiKey) -> None:
    answer = client_of_charlie.get(reverse("keys:list"))
    assert answer.status_code == 200
    assert shop.name not in answer.content.decode()
    assert "No keys yet" in answer.content.decode()


@pytest.mark.parametrize("key", ["theirs", "missing", "nonsense"])
def test_console_answers_charlie_404_for_a_key_that_is_not_his(client_of_charlie: Client, shop: ApiKey, key: str) -> None:
    value = {"theirs": str(shop.pk), "missing": str(uuid.uuid4()), "nonsense": "x"}[key]
    assert client_of_charlie.get(reverse("keys:console"), {"key": value}).status_code == 404


@pytest.mark.parametrize("name", READS)
def test_key_pages_can_be_read_by_a_viewer(client_of_bob: Client, shop: ApiKey, name: str) -> None:
    assert client_of_bob.get(reverse(f"keys:{name}", args=[shop.pk])).status_code == 200


@pytest.mark.parametrize("name", CHANGES)
def test_key_changes_are_refused_to_a_viewer(client_of_bob: Client, shop: ApiKey, name: str) -> None:
    url = reverse(f"keys:{name}", args=[shop.pk])
    assert client_of_bob.get(url).status_code == 403
    assert client_of_bob.post(url, {"name": "Mine", "grace": "0"}).status_code == 403


def test_reveal_is_refused_to_a_viewer(client_of_bob: Client, shop: ApiKey) -> None:
    assert client_of_bob.post(reverse("keys:reveal", args=[shop.pk])).status_code == 403


def test_buying_is_refused_to_a_viewer(client_of_bob: Client, shop: ApiKey) -> None:
    url = reverse("keys:buy", args=["premium"])
    assert client_of_bob.get(url).status_code == 403
    assert client_of_bob.post(url, {"name": "Mine", "purchase_token": uuid.uuid4()}).status_code == 403
    assert ApiKey.objects.count() == 1


def test_a_viewer_is_offered_nothing_that_they_may_not_do(client_of_bob: Client, shop: ApiKey) -> None:
    page = client_of_bob.get(reverse("keys:detail", args=[shop.pk])).content.decode()
    assert not any(reverse(f"keys:{name}", args=[shop.pk]) in page for name in [*CHANGES, "reveal"])


@pytest.mark.parametrize("path", ["/keys/", "/keys/buy/premium/", "/console/"])
def test_pages_send_a_stranger_to_sign_in_and_back(client: Client, shop: ApiKey, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 302
    assert unquote(answer["Location"]) == f"/accounts/login/?next={path}"


@pytest.mark.parametrize("name", CHANGES)
def test_opening_a_page_of_a_change_changes_nothing(client_of_alice: Client, shop: ApiKey, name: str) -> None:
    before = ApiKey.objects.filter(pk=shop.pk).values().get()
    assert client_of_alice.get(reverse(f"keys:{name}", args=[shop.pk])).status_code == 200
    assert ApiKey.objects.filter(pk=shop.pk).values().get() == before

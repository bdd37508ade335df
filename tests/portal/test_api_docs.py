"""The docs of the REST API: a page for each kind of error, the description, and the examples in it."""

import html
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from django.conf import settings
from django.test import Client

from tenants.api.problems import KINDS, document
from tenants.models import User
from tests.portal.html import Page
from tests.portal.test_pages import check
from tests.support.description import description, read_yaml

DESCRIBED: dict[str, Any] = description()
OPERATIONS = [(method, path, operation) for path, item in DESCRIBED["paths"].items() for method, operation in item.items()]


@pytest.mark.django_db
@pytest.mark.parametrize("slug", KINDS)
def test_type_of_a_problem_is_a_page(client: Client, slug: str) -> None:
    url = document(slug)["type"]
    assert url.startswith(settings.PORTAL_URL)
    answer = client.get(url.removeprefix(settings.PORTAL_URL))
    assert answer.status_code == 200
    page = check(answer.text)
    assert page.all("h1")
    text = html.unescape(re.sub(r"<[^>]+>", "", answer.text))
    for said in (KINDS[slug].title, KINDS[slug].meaning, KINDS[slug].remedy):
        assert str(said).replace("`", "") in text
    example = json.loads("{" + text.partition("problem+json\n\n{")[2].partition("\n}")[0] + "}")
    assert (example["type"], example["status"]) == (url, KINDS[slug].status)


@pytest.mark.django_db
def test_errors_are_listed_and_found_from_the_docs(client: Client) -> None:
    page = check(client.get("/docs/errors/").text)
    links = {link.get("href") for link in page.all("a")}
    assert {f"/docs/errors/{slug}/" for slug in KINDS} <= links
    assert {"/docs/errors/", "/api/docs"} <= {link.get("href") for link in Page(client.get("/docs/").text).all("a")}
    assert client.get("/docs/errors/no-such/").status_code == 404


@pytest.mark.django_db
def test_interactive_page_is_whole(client: Client) -> None:
    answer = client.get("/api/docs")
    check(answer.text)
    assert "csrf" not in answer.cookies
    assert "unsafe" not in answer["Content-Security-Policy"]


@pytest.mark.django_db
@pytest.mark.parametrize("guess", ["/api", "/api/", "/api/docs/"])
def test_interactive_page_is_found_by_guessing(client: Client, guess: str) -> None:
    assert client.get(guess, follow=True).request["PATH_INFO"] == "/api/docs"


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api/v1", "/api/v1/", "/api/v1/keyz", "/api/v1/keys/", "/api/v1/keys/17"])
def test_wrong_path_is_told_from_what_does_not_exist(client: Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
    assert "no path ends with a slash" in answer.json()["detail"]
    assert "/api/docs" in answer.json()["detail"]


def test_operations_are_named_once_and_have_a_tag_that_is_explained() -> None:
    names = [operation["operationId"] for _method, _path, operation in OPERATIONS]
    assert sorted(set(names)) == sorted(names)
    explained = {tag["name"] for tag in DESCRIBED["tags"]}
    assert {tag for _method, _path, operation in OPERATIONS for tag in operation["tags"]} <= explained
    assert all(operation["summary"] and operation["description"] for _method, _path, operation in OPERATIONS)


def test_every_post_takes_an_idempotency_key() -> None:
    for method, path, operation in OPERATIONS:
        takes = "Idempotency-Key" in {parameter["name"] for parameter in operation.get("parameters", [])}
        assert takes == (method == "post"), path


def test_every_error_that_can_come_is_described() -> None:
    for _method, path, operation in OPERATIONS:
        assert {"400", "401", "403", "429", "500", "503"} <= operation["responses"].keys(), path
        assert ("404" in operation["responses"]) or "{" not in path


def test_bodies_are_strict() -> None:
    for _method, path, operation in OPERATIONS:
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            name = schema["$ref"].rpartition("/")[2]
            assert DESCRIBED["components"]["schemas"][name]["additionalProperties"] is False, path


def _contents(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        for key, inner in node.items():
            if key == "content":
                for content in inner.values():
                    yield path, content
            yield from _contents(inner, f"{path}/{key}")


def test_bodies_have_examples_that_fit_their_schemas() -> None:
    without, wrong = [], []
    for path, content in _contents({"paths": DESCRIBED["paths"], "responses": DESCRIBED["components"]["responses"]}):
        examples = content.get("examples", {})
        if not examples and content["schema"] != {"$ref": "#/components/schemas/Nothing"}:
            without.append(path)
        validator = jsonschema_rs.Draft202012Validator({**content["schema"], "components": DESCRIBED["components"]}, validate_formats=True)
        wrong += [f"{path} {name}: {error.message}" for name, each in examples.items() for error in validator.iter_errors(each["value"])]
    assert wrong == []
    assert without == []


@pytest.mark.django_db
def test_tenants_read_nothing_of_what_is_for_staff(client: Client, alice: User, sam: User) -> None:
    for person in (None, alice):
        if person is not None:
            client.force_login(person)
        answer = client.get("/api/openapi.yaml")
        told = read_yaml(answer.content)
        assert told["paths"] == {path: item for path, item in DESCRIBED["paths"].items() if not path.startswith("/staff/")}
        assert {tag for item in told["paths"].values() for operation in item.values() for tag in operation["tags"]} == {
            tag["name"] for tag in told["tags"]
        }
        for kind, name in re.findall(r"#/components/(\w+)/(\w[\w-]*)", answer.text):
            assert told["components"][kind][name] == DESCRIBED["components"][kind][name]
        assert told["components"]["securitySchemes"] == DESCRIBED["components"]["securitySchemes"]
        assert not [word for word in ("pool", "silo", "isolation", "gateway key", "spare", "/staff/") if word in answer.text.lower()]
        assert "Cookie" in answer["Vary"]
        assert "private" in answer["Cache-Control"]
        assert client.get("/api/openapi.yaml", headers={"If-None-Match": answer["ETag"]}).status_code == 304
    client.force_login(sam)
    whole = client.get("/api/openapi.yaml", headers={"If-None-Match": answer["ETag"]})
    assert (whole.status_code, read_yaml(whole.content)) == (200, DESCRIBED)

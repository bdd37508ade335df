"""Reading the environment: typed, loud on nonsense, every name documented."""

import ast
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from portal import environment as env

ROOT = Path(settings.BASE_DIR)


def names_read_by(path: Path) -> set[str]:
    """Names that a module reads: the first argument of every ``env.reader(...)`` and ``os.environ.get(...)``."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call) and node.args]
    readers = [call for call in calls if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in {"env", "os.environ"}]
    return {call.args[0].value for call in readers if isinstance(call.args[0], ast.Constant)}


def names_documented() -> set[str]:
    return set(re.findall(r"^\| `([A-Z_]+)`", (ROOT / "docs/settings.md").read_text(), re.MULTILINE))


def test_settings_are_all_documented() -> None:
    read = names_read_by(ROOT / "portal/settings.py")

    assert len(read) > 25
    assert read - names_documented() == set()


def test_settings_documented_are_all_read() -> None:
    readers = ["portal/settings.py", "portal/laptop/configuration.py", "keys/management/commands/connect_gateway.py"]
    read = set().union(*(names_read_by(ROOT / path) for path in readers))

    assert names_documented() - read == set()


@pytest.mark.parametrize(
    ("text", "expected"), [("1", True), ("Yes", True), ("on", True), ("0", False), ("off", False), ("", True), (" ", True)]
)
def test_boolean_is_read(monkeypatch: pytest.MonkeyPatch, text: str, expected: bool) -> None:
    monkeypatch.setenv("THING", text)

    assert env.boolean("THING", default=True) is expected


def test_boolean_refuses_other_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THING", "maybe")

    with pytest.raises(ImproperlyConfigured, match="THING must be 1 or 0"):
        env.boolean("THING", default=False)


@pytest.mark.parametrize("text", ["ten", "1.5", "0", "11", "1e3"])
def test_integer_refuses_what_is_no_number_in_range(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("THING", text)

    with pytest.raises(ImproperlyConfigured, match="THING must be a whole number from 1 to 10"):
        env.integer("THING", 5, low=1, high=10)


def test_integer_reads_number_or_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THING", " 7 ")

    assert env.integer("THING", 5, low=1, high=10) == 7
    assert env.integer("OTHER_THING", 5, low=1, high=10) == 5


def test_url_refuses_other_schemes_without_repeating_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THING", "mysql://user:hunter2@db/name")

    with pytest.raises(ImproperlyConfigured, match="THING must be a URL") as caught:
        env.url("THING", "", schemes={"postgres"})

    assert "hunter2" not in str(caught.value)


def test_secret_is_read_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("first,second\n")
    monkeypatch.setenv("THING_FILE", str(path))

    assert env.secret("THING") == "first,second"
    assert env.secret_words("THING") == ["first", "second"]


def test_secret_file_that_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THING_FILE", str(tmp_path / "missing"))

    with pytest.raises(ImproperlyConfigured, match="THING_FILE names a file that cannot be read"):
        env.secret("THING")


def test_choice_refuses_other_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THING", "xml")

    with pytest.raises(ImproperlyConfigured, match="THING must be one of console, json"):
        env.choice("THING", "json", of={"json", "console"})

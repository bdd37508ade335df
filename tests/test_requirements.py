"""The lock files hold what the short input files ask for: pinned, with hashes, the same in both."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]


def asked_for(name: str) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-r")]


def blocks(name: str) -> list[str]:
    """One block a package: its line, then its hashes."""
    text = "".join(line for line in (ROOT / name).read_text().splitlines(keepends=True) if not line.lstrip().startswith("#"))
    return [block for block in re.split(r"\n(?=\S)", text) if block.strip()]


def pinned(name: str) -> dict[str, str]:
    requirements = [Requirement(block.partition("\\")[0]) for block in blocks(name)]
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in requirements}


@pytest.mark.parametrize(("source", "lock"), [("requirements.in", "requirements.txt"), ("requirements-dev.in", "requirements-dev.txt")])
def test_lock_holds_a_version_that_was_asked_for(source, lock):
    versions = pinned(lock)

    wrong = [str(each) for each in asked_for(source) if not each.specifier.contains(versions.get(canonicalize_name(each.name), "0"))]

    assert wrong == []


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_every_package_is_pinned_with_hashes(lock):
    loose = [block.splitlines()[0] for block in blocks(lock) if "==" not in block.splitlines()[0] or "--hash=sha256:" not in block]

    assert loose == []


def test_development_runs_on_what_production_runs_on():
    development = pinned("requirements-dev.txt")

    assert {name: version for name, version in pinned("requirements.txt").items() if development.get(name) != version} == {}

"""System checks: what production refuses, and that a sensible production is clean."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as real_settings
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command

from portal import demo
from portal.checks import refuse_unsafe_settings
from tenants.models import User

ROOT = Path(real_settings.BASE_DIR)
REDIS = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://cache.example.com/0"}}
SAFE: dict[str, Any] = {
    "DEBUG": False,
    "DEMO": False,
    "PRODUCTION": True,
    "SECRET_KEY": "x" * 60,
    "ENCRYPTION_KEYS": ["cmVwbGFjZS1tZS1yZXBsYWNlLW1lLXJlcGxhY2UtbWU="],
    "ALLOWED_HOSTS": ["keys.example.com"],
    "PORTAL_URL": "https://keys.example.com",
    "GATEWAY_ENDPOINT_URL": "",
    "CACHES": REDIS,
    "CELERY_BROKER_URL": "redis://cache.example.com/1",
    "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
    "WEBHOOK_PRIVATE_ADDRESSES": "off",
}


@pytest.fixture
def production(settings):  # type: ignore[no-untyped-def]  # pytest-django's wrapper
    """The settings of a sensible production."""
    for name, value in SAFE.items():
        setattr(settings, name, value)
    return settings


def found() -> set[str]:
    """Ids of our checks that complain; every message must say the remedy."""
    messages = [message for message in run_checks(tags=["tollgate"]) if str(message.id).startswith("tollgate")]
    assert all(message.hint for message in messages)
    return {str(message.id) for message in messages} - {"tollgate.I001"}


def test_sensible_production_is_clean(production: Any) -> None:
    assert found() == set()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SECRET_KEY", real_settings.INSECURE_SECRET_KEY, "tollgate.E001"),
        ("ENCRYPTION_KEYS", [real_settings.INSECURE_ENCRYPTION_KEY], "tollgate.E002"),
        ("ENCRYPTION_KEYS", [SAFE["ENCRYPTION_KEYS"][0], real_settings.INSECURE_ENCRYPTION_KEY], "tollgate.E002"),
        ("ENCRYPTION_KEYS", ["too-short"], "tollgate.E003"),
        ("GATEWAY_ENDPOINT_URL", "http://127.0.0.1:4510", "tollgate.E004"),
        ("GATEWAY_ENDPOINT_URL", "http://[::1]:4510", "tollgate.E004"),
        ("GATEWAY_ENDPOINT_URL", "http://sandbox:4510", "tollgate.E004"),
        ("GATEWAY_ENDPOINT_URL", "https://amazonaws.com.example.org", "tollgate.E004"),
        ("ALLOWED_HOSTS", [], "tollgate.E006"),
        ("ALLOWED_HOSTS", ["*"], "tollgate.E006"),
        ("PORTAL_URL", "http://keys.example.com", "tollgate.E007"),
        ("CELERY_BROKER_URL", "safefs://localhost//", "tollgate.W001"),
        ("EMAIL_BACKEND", "django.core.mail.backends.filebased.EmailBackend", "tollgate.W002"),
        ("WEBHOOK_PRIVATE_ADDRESSES", "loopback", "tollgate.W006"),
        ("WEBHOOK_PRIVATE_ADDRESSES", "private", "tollgate.W006"),
    ],
)
def test_production_refuses(production: Any, name: str, value: object, expected: str) -> None:
    setattr(production, name, value)

    assert found() == {expected}


@pytest.mark.parametrize("backend", ["locmem.LocMemCache", "db.DatabaseCache", "filebased.FileBasedCache", "dummy.DummyCache"])
def test_production_refuses_caches_that_cannot_count(production: Any, backend: str, tmp_path: Path) -> None:
    production.CACHES = {"default": {"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": str(tmp_path)}}

    assert found() == {"tollgate.E005"}


def test_production_accepts_an_endpoint_of_aws(production: Any) -> None:
    production.GATEWAY_ENDPOINT_URL = "https://apigateway-fips.us-east-1.amazonaws.com"

    assert found() == set()


@pytest.mark.parametrize("mode", ["DEMO", "DEBUG"])
def test_laptop_is_not_bothered_by_defaults(settings: Any, mode: str) -> None:
    settings.DEMO, settings.DEBUG, settings.PRODUCTION = mode == "DEMO", mode == "DEBUG", False

    assert found() == set()


@pytest.mark.parametrize("mode", ["DEMO", "DEBUG"])
def test_deployment_of_a_laptop_mode_is_warned_of(settings: Any, mode: str) -> None:
    settings.DEMO, settings.DEBUG, settings.PRODUCTION = mode == "DEMO", mode == "DEBUG", False

    ids = {message.id for message in run_checks(tags=["tollgate"], include_deployment_checks=True)}

    assert "tollgate.W005" in ids


def test_servers_refuse_unsafe_settings_with_all_remedies(production: Any) -> None:
    refuse_unsafe_settings()

    production.ALLOWED_HOSTS = []
    production.SECRET_KEY = real_settings.INSECURE_SECRET_KEY
    with pytest.raises(ImproperlyConfigured, match=r"(?s)tollgate.E001.*Set SECRET_KEY.*tollgate.E006.*Set ALLOWED_HOSTS"):
        refuse_unsafe_settings()


def test_servers_start_with_warnings(production: Any) -> None:
    production.CELERY_BROKER_URL = "safefs://localhost//"

    refuse_unsafe_settings()


def demo_accounts_found() -> bool:
    return "tollgate.E008" in {message.id for message in run_checks(tags=["tollgate"], databases=["default"])}


def test_demo_accounts_are_refused_in_production(production: Any, db: None) -> None:
    person = User.objects.create_user(demo.OWNER_EMAIL, demo.PASSWORD)

    assert demo_accounts_found()

    person.is_active = False
    person.save()
    assert not demo_accounts_found()


def test_demo_accounts_are_fine_in_demo_mode(settings: Any, db: None) -> None:
    settings.DEMO, settings.PRODUCTION = True, False
    User.objects.create_user(demo.OWNER_EMAIL, demo.PASSWORD)

    assert not demo_accounts_found()


def test_database_is_not_asked_unless_named(production: Any) -> None:
    # No ``db`` fixture: a query would fail the test.
    assert run_checks(tags=["database"], databases=[]) == []


def production_environment() -> dict[str, str]:
    """Only what deploy/production.env.example sets, and what a process needs."""
    lines = (ROOT / "deploy/production.env.example").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {"PATH": os.environ["PATH"], **{name: value.strip('"') for name, value in values.items()}}


def manage(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.slow
def test_example_of_production_passes_the_deployment_checks() -> None:
    done = manage("check", "--deploy", "--fail-level", "WARNING", env=production_environment())

    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


@pytest.mark.slow
def test_bare_environment_is_refused_with_remedies() -> None:
    done = manage("check", env={"PATH": os.environ["PATH"]})

    assert done.returncode == 1
    assert all(f"tollgate.E00{number}" in done.stderr for number in (1, 2, 5, 6, 7))
    assert "HINT" in done.stderr


def test_check_command_is_clean_here(db: None) -> None:
    call_command("check", "--database", "default", fail_level="WARNING")

"""System checks: what must not be so in production (neither DEBUG nor DEMO). Each has an id and says the remedy.

``manage.py check``, ``migrate`` and ``runserver`` run them; ``check --deploy`` adds W005, ``check --database default`` E008.
"""

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from django.apps import AppConfig
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import checks
from django.core.cache import caches
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.checks import CheckMessage, Error, Info, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from portal import demo

TAG = "tollgate"
Check = Callable[..., list[CheckMessage]]
# AWS's own endpoints, dual-stack and FIPS included.
AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
# They do not add up between processes, or not atomically (measured: 3.5 to 4 times the limit was let through).
CACHES_THAT_CANNOT_COUNT = (LocMemCache, DatabaseCache, FileBasedCache, DummyCache)
NEW_FERNET_KEY = 'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'


def refuse_unsafe_settings() -> None:
    """For web servers and workers, which run no checks by themselves. Raises ImproperlyConfigured with all that is wrong."""
    errors = [f"{message.id}: {message.msg} {message.hint}" for message in checks.run_checks(tags=[TAG]) if message.is_serious()]
    if errors:
        raise ImproperlyConfigured("\n".join(sorted(errors)))


def in_production(check: Callable[[], list[CheckMessage]]) -> Check:
    """Register a check of settings that matters in production alone."""

    def run(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
        return check() if settings.PRODUCTION else []

    run.__name__ = check.__name__
    register(run, TAG, Tags.security)
    return run


@in_production
def check_secret_key() -> list[CheckMessage]:
    if settings.SECRET_KEY != settings.INSECURE_SECRET_KEY:
        return []
    hint = "Set SECRET_KEY (or SECRET_KEY_FILE) to 50 random characters or more, and keep it secret."
    return [Error("SECRET_KEY is the published default: anybody could forge sessions.", hint=hint, id="tollgate.E001")]


@in_production
def check_encryption_keys() -> list[CheckMessage]:
    if settings.INSECURE_ENCRYPTION_KEY not in settings.ENCRYPTION_KEYS:
        return []
    hint = f"Make one with: {NEW_FERNET_KEY}. Set it as ENCRYPTION_KEYS (or ENCRYPTION_KEYS_FILE) and back it up."
    return [Error("ENCRYPTION_KEYS is not set, or holds the published default.", hint=hint, id="tollgate.E002")]


@register(TAG, Tags.security)
def check_encryption_keys_are_valid(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """In every mode: without valid keys no credential can be written or read."""
    invalid = [number for number, key in enumerate(settings.ENCRYPTION_KEYS, start=1) if not _is_fernet_key(key)]
    if not invalid:
        return []
    text = f"ENCRYPTION_KEYS: not a Fernet key (32 bytes in URL-safe base64): number {', '.join(map(str, invalid))}."
    return [Error(text, hint=f"Make one with: {NEW_FERNET_KEY}", id="tollgate.E003")]


def _is_fernet_key(key: str) -> bool:
    try:
        Fernet(key)
    except ValueError:
        return False
    return True


@in_production
def check_endpoint() -> list[CheckMessage]:
    host = urlsplit(settings.GATEWAY_ENDPOINT_URL).hostname or ""
    if not host or host.endswith(AWS_DOMAINS):
        return []
    what = "the sandbox of this machine" if _is_loopback(host) else "a host that is not AWS"
    hint = "Unset AWS_ENDPOINT_URL_API_GATEWAY and AWS_ENDPOINT_URL, or set DEMO=1 to use the sandbox."
    return [Error(f"API Gateway's endpoint is {what}: keys would be sold that do not exist.", hint=hint, id="tollgate.E004")]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@in_production
def check_cache() -> list[CheckMessage]:
    if not isinstance(caches["default"], CACHES_THAT_CANNOT_COUNT):
        return []
    hint = "Set CACHE_URL to a Redis server that all web processes share, as redis://host:6379/0."
    return [Error("The rate limits cannot count in this cache.", hint=hint, id="tollgate.E005")]


@in_production
def check_hosts() -> list[CheckMessage]:
    if settings.ALLOWED_HOSTS and "*" not in settings.ALLOWED_HOSTS:
        return []
    hint = "Set ALLOWED_HOSTS to the portal's host names, separated by commas."
    return [Error("ALLOWED_HOSTS is empty or lets every host through.", hint=hint, id="tollgate.E006")]


@in_production
def check_portal_url() -> list[CheckMessage]:
    if settings.PORTAL_URL.startswith("https://"):
        return []
    hint = "Set PORTAL_URL to the portal's public https:// URL."
    return [Error("PORTAL_URL is not https: cookies are sent over TLS alone, nobody could sign in.", hint=hint, id="tollgate.E007")]


@register(TAG, Tags.database)
def check_demo_accounts(
    app_configs: Sequence[AppConfig] | None = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Looks into the database, so it runs where one is named: ``migrate``, ``check --database default``."""
    if not settings.PRODUCTION or "default" not in (databases or ()):
        return []
    people = get_user_model()
    if people._meta.db_table not in connections["default"].introspection.table_names():
        return []  # before the first migrate
    found = people._default_manager.filter(email__in=demo.EMAILS, is_active=True).count()
    if not found:
        return []
    hint = "Lock them out (staff pages: untick Active), or start with a database that demo mode never used."
    return [Error(f"{found} demo account(s) with a published password can sign in.", hint=hint, id="tollgate.E008")]


@in_production
def check_broker() -> list[CheckMessage]:
    if not settings.CELERY_BROKER_URL.startswith("safefs"):
        return []
    hint = "Set CELERY_BROKER_URL to Redis or RabbitMQ."
    return [checks.Warning("The broker is a folder: it serves the processes of one machine.", hint=hint, id="tollgate.W001")]


@in_production
def check_mail() -> list[CheckMessage]:
    if settings.EMAIL_BACKEND == "django.core.mail.backends.smtp.EmailBackend":
        return []
    hint = "Set EMAIL_URL, as smtp+tls://user:password@host:587."
    return [checks.Warning("Mail is not sent: nobody can confirm an address or reset a password.", hint=hint, id="tollgate.W002")]


@in_production
def check_webhooks() -> list[CheckMessage]:
    if settings.WEBHOOK_PRIVATE_ADDRESSES == "off":
        return []
    hint = "Unset WEBHOOK_PRIVATE_ADDRESSES, unless every tenant may send requests into this network."
    text = "Webhooks are sent to addresses that are not public: whoever owns a tenant can make the portal call services of its own network."
    return [checks.Warning(text, hint=hint, id="tollgate.W006")]


@in_production
def check_database() -> list[CheckMessage]:
    if connections["default"].vendor != "sqlite":
        return []
    hint = "Set DATABASE_URL to PostgreSQL when several machines, or more than some dozen writes a second, are expected."
    return [Info("The database is SQLite: one machine, one writer at a time.", hint=hint, id="tollgate.I001")]


@register(TAG, Tags.security, deploy=True)
def check_mode(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    if settings.PRODUCTION:
        return []
    mode = "DEBUG" if settings.DEBUG else "DEMO"
    text = f"{mode} is on: published secrets are accepted, cookies travel without TLS."
    return [checks.Warning(text, hint=f"Unset {mode} for a portal that others can reach.", id="tollgate.W005")]

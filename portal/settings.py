"""Settings of Tollgate. One file for every environment: only the variables differ (docs/settings.md lists them all).

Without DEMO and DEBUG the settings are those of production, and the system checks in ``portal.checks`` refuse to run with what
is unsafe there. ``make run`` sets DEMO=1: embedded parts, demo accounts, mail kept in files.
"""

from pathlib import Path

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from portal import api_description as description
from portal import broker
from portal import environment as env
from portal.logging import logging_settings

BASE_DIR = Path(__file__).resolve().parent.parent

# --- What this process is -------------------------------------------------------------------------------------------------

DEBUG = env.boolean("DEBUG", default=False)
DEMO = env.boolean("DEMO", default=False)
PRODUCTION = not (DEBUG or DEMO)
DATA_DIR = Path(env.text("DATA_DIR", str(BASE_DIR / "var"))).resolve()
PORT = env.integer("PORT", 8000, low=1, high=65535)
PORTAL_URL = env.url("PORTAL_URL", f"http://localhost:{PORT}", schemes={"http", "https"}).rstrip("/")

INSECURE_SECRET_KEY = "insecure-for-development-only-set-SECRET_KEY-in-production"  # noqa: S105 - refused in production
INSECURE_ENCRYPTION_KEY = "aW5zZWN1cmUtZm9yLWRldmVsb3BtZW50LW9ubHktISE="
SECRET_KEY = env.secret("SECRET_KEY", INSECURE_SECRET_KEY)
SECRET_KEY_FALLBACKS = env.secret_words("SECRET_KEY_FALLBACKS")
# Fernet keys for credentials at rest, the newest first (it encrypts; all decrypt).
ENCRYPTION_KEYS = env.secret_words("ENCRYPTION_KEYS") or [INSECURE_ENCRYPTION_KEY]

ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "" if PRODUCTION else "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
# How many proxies in front of us append to X-Forwarded-For. 0: the peer's address is the client's.
TRUSTED_PROXY_COUNT = env.integer("TRUSTED_PROXY_COUNT", 0, low=0, high=10)

# --- Django -----------------------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "portal",
    "tenants",
    "keys",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.forms",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "csp",
    "django_htmx",
    "django_structlog",
    "template_partials",
]

MIDDLEWARE = [
    "portal.middleware.RequestLogMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "portal.middleware.SecurityHeadersMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "portal.middleware.UnavailableMiddleware",
]

ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.context.site",
            ],
        },
    },
]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True

# --- Database ---------------------------------------------------------------------------------------------------------------


def database(url: str) -> dict[str, object]:
    """Django's DATABASES entry for a URL: SQLite made safe for several processes, or PostgreSQL."""
    try:
        entry: dict[str, object] = dict(environ.Env.db_url_config(url))
    except Exception as error:
        raise ImproperlyConfigured("DATABASE_URL cannot be read; write postgres://user:password@host:5432/name.") from error
    if entry["ENGINE"] == "django.db.backends.sqlite3":
        # IMMEDIATE: a transaction takes the write lock when it starts, so two writers wait for each other and do not fail on
        # the upgrade from reader to writer. WAL: readers do not wait for the writer.
        entry["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
        }
        return entry
    options = dict(entry.get("OPTIONS") or {})  # type: ignore[call-overload]
    options.setdefault("connect_timeout", 5)
    return {**entry, "OPTIONS": options, "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}


DATABASE_URL = env.url(
    "DATABASE_URL",
    f"sqlite:///{DATA_DIR / 'tollgate.sqlite3'}",
    schemes={"sqlite", "postgres", "postgresql", "psql"},
)
DATABASES = {"default": database(DATABASE_URL)}

# --- Cache: the rate limits count in it ---------------------------------------------------------------------------------------

CACHE_URL = env.url("CACHE_URL", "", schemes={"redis", "rediss", "unix"})
CACHES: dict[str, dict[str, object]] = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": CACHE_URL,
        "KEY_PREFIX": "tollgate",
        # A cache that hangs must not hold a web worker.
        "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 2},
    }
    if CACHE_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "tollgate"}
}
RATELIMIT_IP_META_KEY = "tenants.ratelimits.client_address"
# E003 (a cache that cannot count between processes) is replaced by our own check with a remedy, tollgate.E005. W001 only says
# that the cache is not on the library's list, where Django's own Redis cache does not stand.
SILENCED_SYSTEM_CHECKS = ["django_ratelimit.E003", "django_ratelimit.W001"]

# --- Celery -------------------------------------------------------------------------------------------------------------------

CELERY_BROKER_URL = env.url("CELERY_BROKER_URL", "safefs://localhost//", schemes={"safefs", "redis", "rediss", "amqp", "amqps"})
CELERY_BROKER_TRANSPORT_OPTIONS = broker.transport_options(CELERY_BROKER_URL, DATA_DIR / "broker")
CELERY_BROKER_CONNECTION_TIMEOUT = broker.CONNECT_TIMEOUT
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A lost message costs one sweep; a web worker that waits for a dead broker costs its users.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_DEFAULT_QUEUE = "sync"
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True  # state lives in our rows
# A message is acknowledged when its task ended, and comes back when the worker died: every task is safe to repeat.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_TASK_SOFT_TIME_LIMIT = broker.TASK_SOFT_TIME_LIMIT
CELERY_TASK_TIME_LIMIT = broker.TASK_TIME_LIMIT
# Logs are Django's (LOGGING below), in workers too.
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_REDIRECT_STDOUTS = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "portal.beat:Scheduler"
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "beat-schedule")
SWEEP_SECONDS = env.integer("SWEEP_SECONDS", 5, low=1, high=300)  # how often pending rows are looked for
# What waited so long that many others followed it is dropped: no backlog after an outage. A message bears its end by the clock of who sent
# it, and a worker drops it by its own: they may differ by as much as AWS lets them (signatures are refused from five minutes on).
MESSAGE_SECONDS = 300
_ends = {"expires": MESSAGE_SECONDS}
CELERY_BEAT_SCHEDULE = {
    "sweep": {"task": "keys.sweep", "schedule": SWEEP_SECONDS, "options": _ends},
    "webhooks": {"task": "tenants.deliver_webhooks", "schedule": SWEEP_SECONDS, "options": _ends},
}
# How often, in seconds, each usage plan's canary is called on the data plane; 0: there are no canaries.
CANARY_SECONDS = env.integer("CANARY_SECONDS", 60 if DEMO else 300, low=0, high=86400)
if CANARY_SECONDS:
    tick = min(CANARY_SECONDS, 15)
    CELERY_BEAT_SCHEDULE["canaries"] = {"task": "keys.canaries", "schedule": tick, "options": _ends}
# Receivers of webhooks are others' machines and may be slow, and so may be a backend behind API Gateway: what calls them has a queue of
# its own.
CELERY_TASK_ROUTES = {"tenants.deliver_webhooks": {"queue": "webhooks"}, "keys.canaries": {"queue": "webhooks"}}

# --- People -------------------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "tenants.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "keys:list"
LOGOUT_REDIRECT_URL = "home"
ACCOUNT_ADAPTER = "tenants.adapter.AccountAdapter"
ACCOUNT_FORMS = {"signup": "tenants.forms.SignupForm"}
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_CONFIRM_EMAIL_ON_GET = False
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
ACCOUNT_LOGIN_ON_PASSWORD_RESET = False
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if PORTAL_URL.startswith("https://") else "http"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Tollgate"
MFA_TOTP_TOLERANCE = 1  # a code is taken half a minute early or late as well (RFC 6238, 5.2: at most one step)

# --- Mail -----------------------------------------------------------------------------------------------------------------------

DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "Tollgate <no-reply@localhost>")
SERVER_EMAIL = DEFAULT_FROM_EMAIL
MAIL_DIR = DATA_DIR / "mail"
EMAIL_TIMEOUT = 10
EMAIL_URL = env.url("EMAIL_URL", "", schemes={"smtp", "smtp+tls", "smtp+ssl", "smtps", "consolemail"})
if EMAIL_URL:
    globals().update(environ.Env.email_url_config(EMAIL_URL))
else:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = str(MAIL_DIR)

# --- Static files -----------------------------------------------------------------------------------------------------------------

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = not PRODUCTION

# --- Security -------------------------------------------------------------------------------------------------------------------

SECURE_TRANSPORT = PRODUCTION
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_TRANSPORT
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_NAME = "__Host-session" if SECURE_TRANSPORT else "session"
CSRF_COOKIE_NAME = "__Host-csrf" if SECURE_TRANSPORT else "csrf"
SECURE_SSL_REDIRECT = SECURE_TRANSPORT
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]  # a load balancer asks these over plain HTTP
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXY_COUNT else None
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if SECURE_TRANSPORT else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE_TRANSPORT
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
        "img-src": [SELF, "data:"],
    }
}
CSRF_FAILURE_VIEW = "portal.views.errors.csrf_failure"
DEFAULT_EXCEPTION_REPORTER_FILTER = "portal.reports.NoSecretsFilter"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 500  # the staff's page that plans tiers has 8 in each of up to 50 rows

# --- REST API ----------------------------------------------------------------------------------------------------------------------

# Requests a minute of one token (or person): all of them; those that hand out credentials; and those that rotate, enable or disable,
# each of which is a call at the gateway before all that others wait for.
API_REQUESTS_PER_MINUTE = env.integer("API_REQUESTS_PER_MINUTE", 1200, low=1, high=1_000_000)
API_SECRETS_PER_MINUTE = env.integer("API_SECRETS_PER_MINUTE", 120, low=1, high=1_000_000)
API_SENDS_PER_MINUTE = env.integer("API_SENDS_PER_MINUTE", 30, low=1, high=1_000_000)
API_SWITCHES_PER_MINUTE = env.integer("API_SWITCHES_PER_MINUTE", 60, low=1, high=1_000_000)
# How long a process may go on believing in a token it has seen. 0: each request asks the database; 2: the longest that a revoked
# token may be answered.
API_TOKEN_CACHE_SECONDS = env.integer("API_TOKEN_CACHE_SECONDS", 0, low=0, high=2)
REST_FRAMEWORK = {
    "EXCEPTION_HANDLER": "tenants.api.problems.handle",
    "DEFAULT_SCHEMA_CLASS": "tenants.api.schema.Schema",
    "UNAUTHENTICATED_USER": None,
}
# The description in docs/openapi.yaml says the same on every machine: no setting of this process may show in it.
SPECTACULAR_SETTINGS = description.SETTINGS

# --- Logs -----------------------------------------------------------------------------------------------------------------------

LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", of={"DEBUG", "INFO", "WARNING", "ERROR"})
LOG_FORMAT = env.choice("LOG_FORMAT", "json" if PRODUCTION else "console", of={"json", "console"})
LOGGING_CONFIG = "logging.config.dictConfig"
LOGGING = logging_settings(level=LOG_LEVEL, renderer=LOG_FORMAT)
DJANGO_STRUCTLOG_CELERY_ENABLED = True
# /readyz says "degraded" while a row waits longer than this for a worker.
PENDING_DEGRADED_SECONDS = env.integer("PENDING_DEGRADED_SECONDS", 300, low=1, high=86400)

# What monitoring has to send to read /metrics; without it there is no such page.
METRICS_TOKEN = env.secret("METRICS_TOKEN")
if METRICS_TOKEN and len(METRICS_TOKEN) < 20:
    raise ImproperlyConfigured("METRICS_TOKEN is too short to be a secret. Make one with: openssl rand -hex 24")

# --- Webhooks -------------------------------------------------------------------------------------------------------------------

# What tenants' webhooks may be sent to beside public addresses: nothing ("off"), this machine, or private networks too.
WEBHOOK_PRIVATE_ADDRESSES = env.choice("WEBHOOK_PRIVATE_ADDRESSES", "loopback" if DEMO else "off", of={"off", "loopback", "private"})

# --- API Gateway ------------------------------------------------------------------------------------------------------------------

# boto3 itself reads the credentials and the endpoint's two variables; they are looked at here only to refuse them in production.
GATEWAY_ENDPOINT_URL = env.url("AWS_ENDPOINT_URL_API_GATEWAY", env.text("AWS_ENDPOINT_URL"), schemes={"http", "https"})
# Whether the lease holder keeps itself under the rates AWS publishes. "off" suits a sandbox that enforces none.
GATEWAY_PACING = env.choice("GATEWAY_PACING", "aws", of={"aws", "off"})
GATEWAY_TIMEOUT_SECONDS = env.integer("GATEWAY_TIMEOUT_SECONDS", 15, low=1, high=60)
GATEWAY_LEASE_SECONDS = env.integer("GATEWAY_LEASE_SECONDS", 24, low=5, high=600)
# How often, in seconds: a gateway is asked for a sign of life; everything is compared; usage is read.
HEARTBEAT_SECONDS = env.integer("HEARTBEAT_SECONDS", 3 if DEMO else 60, low=1, high=3600)
RECONCILE_SECONDS = env.integer("RECONCILE_SECONDS", 3600, low=10, high=7 * 86400)
USAGE_SECONDS = env.integer("USAGE_SECONDS", 10 if DEMO else 900, low=1, high=86400)
# An extra gateway key that bears our mark is disabled first and deleted after this long.
QUARANTINE_SECONDS = env.integer("QUARANTINE_SECONDS", 86400, low=0, high=90 * 86400)

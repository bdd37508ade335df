"""The real settings on a throw-away PostgreSQL database, with log lines off: they are not what is measured."""

import os

os.environ.setdefault("DEMO", "1")
os.environ.setdefault("LOG_LEVEL", "ERROR")

from portal.settings import *  # noqa: F403 - the settings under measurement
from portal.settings import INSTALLED_APPS, database

SERVER = os.environ.get("BENCH_DATABASE_URL", "postgres://postgres@127.0.0.1:5432/postgres")
NAME = f"tollgate_bench_{os.environ.get('BENCH_RUN') or os.getpid()}"
os.environ["BENCH_RUN"] = NAME.rpartition("_")[2]
DATABASES = {"default": database(f"{SERVER.rpartition('/')[0]}/{NAME}")}
INSTALLED_APPS = [*INSTALLED_APPS, "rest_framework_api_key"]  # what the token check is measured beside
ROOT_URLCONF = "bench.urls"
RATELIMIT_ENABLE = False  # thousands of purchases a minute are the measurement

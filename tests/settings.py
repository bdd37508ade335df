"""The real settings, plus what a test run needs: a place of its own, quick passwords, mail and messages in memory.

The database is a SQLite file that lives as long as the run (a file, not memory: workers and forked processes share it), or the
PostgreSQL server that TEST_DATABASE_URL names.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Each test process has its own folder, however many runs there are at once.
TEST_DIR = Path(tempfile.mkdtemp(prefix="tollgate-tests-"))
atexit.register(shutil.rmtree, TEST_DIR, ignore_errors=True)
os.environ["DATA_DIR"] = str(TEST_DIR)
os.environ.setdefault("DEMO", "1")
os.environ.setdefault("LOG_LEVEL", "INFO")
# Tests of canaries switch them on; the others count the keys that they made.
os.environ.setdefault("CANARY_SECONDS", "0")
# pytest-playwright keeps an event loop in the thread of the test; the database calls beside it are deliberate.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")

from portal.settings import *  # noqa: E402, F403 - the settings under test
from portal.settings import database  # noqa: E402

TEST_DATABASE_URL = os.environ.get("TEST_DATABASE_URL") or f"sqlite:///{TEST_DIR / 'unused.sqlite3'}"
DATABASES = {"default": database(TEST_DATABASE_URL)}
if TEST_DATABASE_URL.startswith("sqlite"):
    DATABASES["default"]["TEST"] = {"NAME": str(TEST_DIR / "tests.sqlite3")}
    DATABASES["default"]["OPTIONS"]["init_command"] += "PRAGMA synchronous=OFF;"  # the file need not outlive a power cut
else:
    DATABASES["default"]["CONN_MAX_AGE"] = 0  # a kept connection would stop the test database from being dropped
    # Nor need these rows. Processes that a test starts, and those that it kills with their server, have the settings of production.
    DATABASES["default"]["OPTIONS"]["options"] = "-c synchronous_commit=off"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
# Tests that want a worker use the fixtures ``broker`` and ``celery_worker_process``.
CELERY_BROKER_URL = "memory://"
CELERY_BROKER_TRANSPORT_OPTIONS = {}

"""The real settings, plus what a test run needs: a quick password hash, mail in memory, a database chosen by TEST_DATABASE_URL."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("DEMO", "1")
os.environ.setdefault("DATA_DIR", str(Path(tempfile.gettempdir()) / "tollgate-tests"))
os.environ.setdefault("LOG_LEVEL", "INFO")

from portal.settings import *  # noqa: E402, F403 - the settings under test
from portal.settings import database  # noqa: E402

TEST_DATABASE_URL = os.environ.get("TEST_DATABASE_URL", "sqlite://:memory:")
DATABASES = {"default": database(TEST_DATABASE_URL)}
if TEST_DATABASE_URL == "sqlite://:memory:":
    DATABASES["default"]["OPTIONS"] = {"timeout": 20}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"

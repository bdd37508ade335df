"""Reading settings from the environment: typed, and loud on nonsense.

Every reader takes the variable's name and a default. A value that cannot be understood raises ImproperlyConfigured with the
name of the variable and the remedy; nothing is guessed. A secret may also stand in a file named by ``NAME_FILE`` (the habit of
container platforms).
"""

import os
import re
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}


def text(name: str, default: str = "") -> str:
    """The variable, stripped; ``default`` when it is unset or empty."""
    return os.environ.get(name, "").strip() or default


def secret(name: str, default: str = "") -> str:
    """Like ``text``, but read from the file named by ``NAME_FILE`` when that is set."""
    path = text(f"{name}_FILE")
    if not path:
        return text(name, default)
    try:
        return Path(path).read_text(encoding="utf-8").strip() or default
    except OSError as error:
        raise ImproperlyConfigured(f"{name}_FILE names a file that cannot be read: {error.strerror}.") from error


def boolean(name: str, *, default: bool) -> bool:
    """1/true/yes/on or 0/false/no/off."""
    value = text(name).lower()
    if not value:
        return default
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise ImproperlyConfigured(f"{name} must be 1 or 0 (true, yes, on; false, no, off), not {value!r}.")


def integer(name: str, default: int, *, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``."""
    value = text(name)
    if not value:
        return default
    if not re.fullmatch(r"-?\d{1,12}", value) or not low <= int(value) <= high:
        raise ImproperlyConfigured(f"{name} must be a whole number from {low} to {high}, not {value!r}.")
    return int(value)


def words(name: str, default: str = "") -> list[str]:
    """A list, separated by commas."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def secret_words(name: str) -> list[str]:
    """A list of secrets, separated by commas; may stand in a file."""
    return [word.strip() for word in secret(name).split(",") if word.strip()]


def choice(name: str, default: str, *, of: set[str]) -> str:
    """One of a few words."""
    value = text(name, default)
    if value not in of:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(sorted(of))}, not {value!r}.")
    return value


def url(name: str, default: str, *, schemes: set[str]) -> str:
    """A URL with one of the given schemes. The value is not repeated in the error: it may hold a password."""
    value = secret(name, default)
    scheme = value.partition("://")[0]
    if value and ("://" not in value or scheme not in schemes):
        raise ImproperlyConfigured(f"{name} must be a URL that starts with one of {', '.join(sorted(schemes))}://.")
    return value

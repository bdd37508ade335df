"""Secrets of ours: how they are made, recognised, looked up and kept.

A secret is a prefix that says what it is (``tgk`` a gateway key's value, ``tgp`` a token), 43 base62 characters from the operating
system's CSPRNG (256 bits) and 6 of checksum: 52 characters in all, alphanumeric. The prefix lets leak scanners find it; the checksum
tells a typo from an unknown secret without asking a database.
"""

import hashlib
import secrets
import string
import zlib
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

SECRET_LENGTH = 43  # 62 ** 43 > 2 ** 256
CHECKSUM_LENGTH = 6  # 62 ** 6 > 2 ** 32, so a CRC-32 fits
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


class UnreadableValue(Exception):
    """A stored value that none of ENCRYPTION_KEYS opens: a key was taken from the list too early."""


def new_secret(prefix: str) -> str:
    """A fresh secret; never the same twice, for practical purposes."""
    body = prefix + "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    return body + _checksum(body)


def has_valid_checksum(prefix: str, value: str) -> bool:
    """Whether ``value`` has the form of our secrets with this prefix; says nothing of whether it exists."""
    if len(value) != len(prefix) + SECRET_LENGTH + CHECKSUM_LENGTH or not value.startswith(prefix):
        return False
    if not value.isascii() or not value.isalnum():
        return False
    return secrets.compare_digest(value[-CHECKSUM_LENGTH:], _checksum(value[:-CHECKSUM_LENGTH]))


def digest(value: str) -> str:
    """SHA-256 in hex, for look-ups. No slow hash is needed: a secret has 256 bits of entropy."""
    return hashlib.sha256(value.encode()).hexdigest()


def encrypt(value: str) -> str:
    """``value`` under the newest of settings.ENCRYPTION_KEYS (Fernet: AES-128-CBC and HMAC-SHA256)."""
    return _fernet(tuple(settings.ENCRYPTION_KEYS)).encrypt(value.encode()).decode()


def decrypt(stored: str) -> str:
    """What ``encrypt`` hid. Raises UnreadableValue when no key of the list opens it."""
    try:
        return _fernet(tuple(settings.ENCRYPTION_KEYS)).decrypt(stored.encode()).decode()
    except InvalidToken:
        raise UnreadableValue("None of ENCRYPTION_KEYS opens a stored value; put the older key back at the end of the list.") from None


def reencrypt(stored: str) -> str:
    """The same value under the newest key. Raises UnreadableValue."""
    try:
        return _fernet(tuple(settings.ENCRYPTION_KEYS)).rotate(stored.encode()).decode()
    except InvalidToken:
        raise UnreadableValue("None of ENCRYPTION_KEYS opens a stored value; put the older key back at the end of the list.") from None


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


@lru_cache(maxsize=4)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])

"""Values of gateway keys.

A value is a secret with the prefix ``tgk`` (see ``tenants.secret_values``): 52 alphanumeric characters, because AWS documents key
values so, and within its 20 to 128 (30 to 128 for imports).
"""

from tenants import secret_values
from tenants.secret_values import UnreadableValue, decrypt, digest, encrypt, reencrypt

__all__ = ["UnreadableValue", "decrypt", "digest", "encrypt", "has_valid_checksum", "new_value", "reencrypt"]

PREFIX = "tgk"


def new_value() -> str:
    """A fresh value; never the same twice, for practical purposes."""
    return secret_values.new_secret(PREFIX)


def has_valid_checksum(value: str) -> bool:
    """Whether ``value`` has the form of our values; says nothing of whether it exists."""
    return secret_values.has_valid_checksum(PREFIX, value)

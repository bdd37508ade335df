"""Changing the key that stored values are encrypted under."""

from keys.models import GatewayKey
from tenants.reencryption import reencrypt_all, reencrypt_columns


def rotate_encryption() -> int:
    """Encrypt every stored value under the newest of ENCRYPTION_KEYS; how many there are. Safe to repeat and to interrupt.

    Raises values.UnreadableValue at a value that no key opens; what was done until then stays done.
    """
    return reencrypt_columns(GatewayKey, "value_encrypted") + reencrypt_all()

import string

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from keys import values
from tenants import secret_values


def test_value_fits_what_aws_takes() -> None:
    value = values.new_value()

    assert len(value) == 52
    assert value.startswith("tgk")
    assert set(value) <= set(string.ascii_letters + string.digits)


def test_values_differ() -> None:
    assert len({values.new_value() for _ in range(1000)}) == 1000


def test_checksum_accepts_own_values() -> None:
    assert all(values.has_valid_checksum(values.new_value()) for _ in range(100))


@given(st.integers(min_value=0, max_value=51), st.sampled_from(secret_values.ALPHABET))
def test_checksum_refuses_one_changed_character(place: int, character: str) -> None:
    value = values.new_value()
    changed = value[:place] + character + value[place + 1 :]

    assert values.has_valid_checksum(changed) == (changed == value)


@pytest.mark.parametrize("text", ["", "tgk", "x" * 52, "tgk" + "é" * 49, values.PREFIX + "0" * 48])
def test_checksum_refuses_other_texts(text: str) -> None:
    assert not values.has_valid_checksum(text)


def test_decrypt_returns_what_was_encrypted() -> None:
    value = values.new_value()
    stored = values.encrypt(value)

    assert value not in stored
    assert values.decrypt(stored) == value


def test_rotation_lets_old_values_be_read_until_they_are_reencrypted(settings) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [old]
    stored = values.encrypt("secret")

    settings.ENCRYPTION_KEYS = [new, old]
    again = values.reencrypt(stored)
    settings.ENCRYPTION_KEYS = [new]

    assert values.decrypt(again) == "secret"
    with pytest.raises(values.UnreadableValue, match="ENCRYPTION_KEYS"):
        values.decrypt(stored)

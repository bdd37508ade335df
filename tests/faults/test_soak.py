"""Fault matrix, row 24: a short round of the soak; `make faults` plays the long one. A failure names what replays its seed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults import soak

pytestmark = [pytest.mark.faults, pytest.mark.postgres, pytest.mark.slow, pytest.mark.django_db(transaction=True)]
SEED = int(os.environ.get("FAULTS_SEED", "1"))
PURCHASES = 400
SECONDS = 8


def test_nothing_is_lost_while_things_break(tmp_path: Path) -> None:
    result = soak.soak(SEED, PURCHASES, tmp_path, seconds=SECONDS)

    assert result.is_clean, "\n".join([soak.replay(SEED, PURCHASES), *result.violations])
    assert result.purchases > PURCHASES // 2
    assert result.faults_injected >= 3

"""A short round of schemathesis over every operation, as each of four identities. ``make fuzz`` plays a long one."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.api_clients.fuzzing import IDENTITIES, play, summary
from tests.api_clients.world import make_world
from tests.support.description import description

SEED = 20261121
METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
def _quiet() -> Iterator[None]:
    """Thousands of lines about requests help nobody."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.slow
@pytest.mark.usefixtures("_quiet")
@pytest.mark.django_db(transaction=True)
def test_no_request_gets_more_or_other_than_is_described() -> None:
    """No server error, no answer that the description does not know, and nobody gets what is not theirs."""
    totals = play(make_world(), seed=SEED, examples=2, coverage=False, stateful=4)
    assert totals.failures == [], summary(totals)
    assert totals.count >= 1000
    paths = description()["paths"]
    described = {f"{method.upper()} {path}" for path, item in paths.items() for method in METHODS & item.keys()}
    assert described
    assert {operation for operation, _identity in totals.cases} == described
    # Each identity got at what is theirs: a wall around everything would be no proof.
    for identity in IDENTITIES:
        assert sum(number for (who, status), number in totals.statuses.items() if who == identity and status < 300) >= 20, identity

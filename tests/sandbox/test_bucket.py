"""The token bucket, against tables worked out by hand: (seconds, whether a request passes)."""

from __future__ import annotations

import pytest

from sandbox.bucket import TokenBucket

TABLES = {
    # One a second, one at once: 0.5 s hold half a token.
    "rate 1, burst 1": (1.0, 1, [(0, True), (0, False), (0.5, False), (1.0, True), (1.9, False), (2.0, True)]),
    # One in ten seconds; ten refills of a tenth make one, although 0.1 is no binary fraction.
    "rate 0.1, burst 1": (0.1, 1, [(0, True), *((second, False) for second in range(1, 10)), (10, True), (19.9, False)]),
    # Two and a half a second: 0.4 s are one token, and the half that is left over is kept.
    "rate 2.5, burst 2": (2.5, 2, [(0, True), (0, True), (0, False), (0.4, True), (0.6, False), (0.8, True), (1.6, True),
                                   (1.6, True), (1.6, False)]),
    # Burst below rate: five at once, then one each tenth of a second; waiting a minute gains no more than five.
    "rate 10, burst 5": (10.0, 5, [*((0, True),) * 5, (0, False), (0.1, True), (0.1, False), (0.3, True), (0.3, True),
                                   (0.3, False), *((60, True),) * 5, (60, False)]),
    # Burst above rate: twenty at once, then ten a second.
    "rate 10, burst 20": (10.0, 20, [*((0, True),) * 20, (0, False), *((1, True),) * 10, (1, False)]),
    # The clock goes back 90 s: nothing is gained by it, and refilling goes on from there.
    "clock back": (1.0, 2, [(100, True), (100, True), (100, False), (10, False), (10.5, False), (11, True), (11, False),
                            (12, True)]),
    # Clock goes back and returns: the way back counts once, as time that passed.
    "clock back and forth": (1.0, 1, [(100, True), (90, False), (100, True), (100, False)]),
    "nothing allowed": (5.0, 0, [(0, False), (1, False), (1000, False)]),
    "burst only": (0.0, 2, [(0, True), (0, True), (1_000_000, False)]),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_bucket_passes_what_the_table_says(name):
    rate, burst, table = TABLES[name]
    bucket = TokenBucket(rate, burst, table[0][0])

    assert [bucket.take(second) for second, _ in table] == [passes for _, passes in table]


@pytest.mark.parametrize(("rate", "burst"), [(10, 5), (100, 50), (0.3, 1), (7.7, 3)])
def test_bucket_passes_rate_times_time_plus_burst_under_flood(rate, burst):
    """Theory for a flood of 1,000 requests a second during 60 s, from a full bucket."""
    bucket = TokenBucket(rate, burst, 0.0)

    passed = sum(bucket.take(number / 1000) for number in range(60_000))

    assert passed == pytest.approx(burst + rate * 60, abs=1)


def test_bucket_tells_its_level_without_taking():
    bucket = TokenBucket(2.0, 10, 0.0)
    bucket.take(0.0)

    assert (bucket.level(0.0), bucket.level(0.25), bucket.level(9.0)) == (9.0, 9.5, 10.0)


def test_bucket_keeps_its_tokens_when_limits_change():
    bucket = TokenBucket(10.0, 10, 0.0)
    for _ in range(8):
        bucket.take(0.0)

    bucket.change(1.0, 5, 0.1)

    assert bucket.level(0.1) == pytest.approx(3.0)
    bucket.change(1.0, 2, 0.1)
    assert [bucket.take(0.1) for _ in range(3)] == [True, True, False]

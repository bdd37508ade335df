"""Under AWS's published rates, with a clock that only sleep moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.sync.backoff import backoff
from keys.sync.pacer import BY_OPERATION, TOTAL, Pacer


class Time:
    """A clock that only sleep moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def make(time: Time, **idle: float | None) -> Pacer:
    return Pacer(enabled=True, clock=time, sleep=time.sleep, **idle)


def run(pacer: Pacer, time: Time, operation: str, count: int) -> float:
    started = time.now
    for _ in range(count):
        pacer.wait(operation)
    return time.now - started


@pytest.mark.parametrize(
    ("operation", "count", "seconds"),
    [
        ("GetApiKeys", 40, 0.0),
        ("GetApiKeys", 50, 1.0),
        ("GetApiKeys", 140, 10.0),
        ("DeleteApiKey", 5, 0.0),
        ("DeleteApiKey", 15, 2.0),
        ("CreateApiKey", 105, 20.0),
        ("UpdateUsagePlan", 1, 0.0),
        ("UpdateUsagePlan", 4, 60.0),
    ],
)
def test_calls_take_as_long_as_the_rates_say(operation: str, count: int, seconds: float) -> None:
    time = Time()

    assert run(make(time), time, operation, count) == pytest.approx(seconds)


def test_new_holder_gets_no_second_burst() -> None:
    time = Time()

    assert run(make(time, idle_seconds=0.0), time, "GetApiKeys", 10) == pytest.approx(1.0)
    assert run(make(time, idle_seconds=2.0), time, "GetApiKeys", 20) == pytest.approx(0.0)
    assert make(time, plan_idle_seconds=5.0).seconds_until("UpdateUsagePlan") == pytest.approx(15.0)


def test_pace_slows_down_after_a_429() -> None:
    time = Time()
    pacer = make(time)

    pacer.slow_down()

    assert run(pacer, time, "GetApiKeys", 10) == pytest.approx(1.0)


def test_no_pace_when_it_is_switched_off() -> None:
    time = Time()
    pacer = Pacer(enabled=False, clock=time, sleep=time.sleep)

    assert run(pacer, time, "UpdateUsagePlan", 100) == 0.0
    assert pacer.seconds_until("UpdateUsagePlan") == 0.0


@given(st.lists(st.tuples(st.sampled_from(["GetApiKeys", *BY_OPERATION]), st.floats(0, 5)), max_size=80))
def test_no_window_ever_holds_more_than_rate_and_burst(steps: list[tuple[str, float]]) -> None:
    time = Time()
    pacer = make(time)
    sent: list[tuple[float, str]] = []
    for operation, pause in steps:
        time.now += pause
        pacer.wait(operation)
        sent.append((time.now, operation))
    for name, (rate, burst) in {"": TOTAL, **BY_OPERATION}.items():
        moments = [at for at, operation in sent if name in ("", operation)]
        for first in range(len(moments)):
            for last in range(first, len(moments)):
                assert last - first + 1 <= burst + rate * (moments[last] - moments[first]) + 1e-6


@given(st.integers(1, 10_000))
def test_backoff_grows_and_is_bounded(attempts: int) -> None:
    seconds = backoff(attempts).total_seconds()

    assert min(300.0, 2.0 ** min(attempts, 30)) / 2 <= seconds <= 300.0

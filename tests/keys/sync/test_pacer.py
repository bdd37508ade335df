"""Under AWS's published rates, with a clock that only sleep moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.sync.backoff import backoff
from keys.sync.creates import BATCH
from keys.sync.pacer import BY_OPERATION, SLOWEST, TOTAL, Pacer
from keys.sync.session import MOST_LEFT_OVER


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
        ("GetApiKeys", 39, 0.0),
        ("GetApiKeys", 49, 1.0),
        ("GetApiKeys", 139, 10.0),
        ("DeleteApiKey", 4, 0.0),
        ("DeleteApiKey", 14, 2.0),
        ("CreateApiKey", 104, 20.0),
        ("UpdateUsagePlan", 1, 0.0),
        ("UpdateUsagePlan", 4, 61.5),
    ],
)
def test_calls_take_as_long_as_the_rates_say(operation: str, count: int, seconds: float) -> None:
    time = Time()

    assert run(make(time), time, operation, count) == pytest.approx(seconds)


@pytest.mark.parametrize("overhead", [0.0, 0.1, 0.25])
def test_keys_made_one_by_one_come_at_five_a_second(overhead: float) -> None:
    """Also where each answer takes time, and each batch a while to be written down: what was saved up meanwhile is made use of."""
    time = Time()
    pacer = make(time)
    sent: list[float] = []

    for number in range(1000):
        if number % BATCH == 0:
            time.now += overhead
        pacer.wait("CreateApiKey", MOST_LEFT_OVER)
        sent.append(time.now)
        time.now += 0.01
        pacer.wait("CreateUsagePlanKey", MOST_LEFT_OVER)
        time.now += 0.06

    assert 4.9 < len(sent) / (sent[-1] - sent[0]) < 5.05
    # At most a burst of five, and five more in a second.
    assert all(later - earlier >= 1 - 1e-6 for earlier, later in zip(sent, sent[10:], strict=False))


def test_new_holder_gets_no_second_burst() -> None:
    time = Time()

    assert run(make(time, idle_seconds=0.0), time, "GetApiKeys", 10) == pytest.approx(1.0)
    assert run(make(time, idle_seconds=2.0), time, "GetApiKeys", 20) == pytest.approx(0.0)
    assert make(time, plan_idle_seconds=5.0).seconds_until("UpdateUsagePlan") == pytest.approx(15.5)


def test_new_holder_goes_on_with_what_the_last_one_saved() -> None:
    time = Time()
    first = make(time)
    run(first, time, "GetApiKeys", 9)

    second = make(time, saved=first.saved, idle_seconds=0.0)

    assert run(second, time, "GetApiKeys", 30) == pytest.approx(0.0)
    assert run(second, time, "GetApiKeys", 1) == pytest.approx(0.1)


def test_pace_is_halved_by_each_429_and_never_stops() -> None:
    time = Time()
    pacer = make(time)

    pacer.slow_down()

    assert pacer.pace == 0.5
    assert run(pacer, time, "GetApiKeys", 10) == pytest.approx(2.0)
    for _ in range(10):
        pacer.slow_down()
    assert pacer.pace == SLOWEST
    assert run(pacer, time, "GetApiKeys", 10) == pytest.approx(10.0)


def test_pace_recovers_with_good_answers_and_with_time() -> None:
    time = Time()
    pacer = make(time, pace=SLOWEST)

    seconds = 0.0
    while pacer.pace < 1.0:
        seconds += run(pacer, time, "GetApiKeys", 1)
        pacer.speed_up()

    assert seconds < 20.0
    assert make(time, pace=0.5, idle_seconds=25.0).pace == 1.0


def test_urgent_calls_keep_to_awss_rates_alone() -> None:
    time = Time()
    pacer = make(time, pace=SLOWEST, idle_seconds=0.0)
    started = time.now

    for _ in range(10):
        pacer.wait("DeleteApiKey", urgent=True)

    assert time.now - started == pytest.approx(10 / 5)


def test_what_can_wait_goes_on_soon_after_many_urgent_calls() -> None:
    """However much was revoked, and however many of these calls were answered 429: a holder that waits does not renew its lease."""
    time = Time()
    pacer = make(time, pace=SLOWEST, idle_seconds=0.0)

    for number in range(300):
        pacer.wait("DeleteApiKey", urgent=True)
        if number % 3 == 0:
            pacer.slow_down()

    assert pacer.seconds_until("ImportApiKeys", 2.0) <= 1 / (TOTAL[0] * SLOWEST)


def test_urgent_calls_are_taken_from_what_can_wait_where_there_is_some() -> None:
    time = Time()
    pacer = make(time)

    for _ in range(int(TOTAL[1])):
        pacer.wait("GetApiKeys", urgent=True)

    assert pacer.seconds_until("GetApiKeys") == pytest.approx(1 / TOTAL[0])


def test_what_can_wait_leaves_calls_for_what_cannot() -> None:
    time = Time()
    pacer = make(time)

    for _ in range(60):
        pacer.wait("GetApiKeys", 5.0)
    started = time.now
    for _ in range(5):
        pacer.wait("GetApiKeys")

    assert time.now == started


def test_no_small_bucket_is_kept_shut_by_what_is_left_over() -> None:
    time = Time()
    pacer = make(time)

    for operation in BY_OPERATION:
        pacer.wait(operation, 5.0)

    assert time.now == 100.0


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

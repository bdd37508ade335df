"""The comparison finds each injected drift and no other."""

import time
import uuid
from dataclasses import replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from keys.gateway.types import Member, PlanSpec, RemoteKey, RemotePlan
from keys.sync.drift import Desired, DesiredKey, DesiredPlan, Difference, Kind, Remote, diff

SPEC = PlanSpec(name="tollgate-free-1", rate=Decimal(10), burst=5, quota_limit=20, quota_period="DAY", stages=frozenset({"a:v1"}))


def world(keys: int, plans: int = 3) -> tuple[Desired, Remote]:
    """So many keys and plans, as they shall be and just so."""
    wanted_plans = [DesiredPlan(uuid.uuid4(), f"plan{number}", replace(SPEC, name=f"tollgate-p{number}")) for number in range(plans)]
    wanted = [
        DesiredKey(uuid.uuid4(), f"key{number}", f"tollgate-00000000-{number}", number % 7 != 0, f"plan{number % plans}")
        for number in range(keys)
    ]
    desired = Desired(
        keys=wanted,
        plans=wanted_plans,
        known_ids=frozenset([key.remote_id for key in wanted] + [plan.remote_id for plan in wanted_plans]),
        known_names=frozenset([key.name for key in wanted] + [plan.spec.name for plan in wanted_plans]),
        key_mark="tollgate-",
    )
    remote = Remote(
        keys=[RemoteKey(key.remote_id, key.name, key.enabled) for key in wanted],
        plans=[RemotePlan(plan.remote_id, plan.spec) for plan in wanted_plans],
        members={
            plan.remote_id: [Member(key.remote_id, key.name) for key in wanted if key.plan_id == plan.remote_id] for plan in wanted_plans
        },
    )
    return desired, remote


def kinds(differences: list[Difference]) -> list[tuple[Kind, str]]:
    return sorted((each.kind, each.name) for each in differences)


def with_plan(remote: Remote, plan: RemotePlan) -> Remote:
    return replace(remote, plans=[plan if each.id == plan.id else each for each in remote.plans])


def test_equal_worlds_do_not_differ() -> None:
    assert diff(*world(50)) == []


def test_foreign_keys_and_plans_are_no_difference() -> None:
    desired, remote = world(5)
    remote = replace(
        remote,
        keys=[*remote.keys, RemoteKey("foreign", "theirs", enabled=True), RemoteKey("nameless", "", enabled=True)],
        plans=[*remote.plans, RemotePlan("foreign", replace(SPEC, name="theirs"))],
    )

    assert diff(desired, remote) == []


def test_plan_that_differs_says_how() -> None:
    desired, remote = world(0)
    remote = with_plan(remote, RemotePlan("plan1", replace(SPEC, name="tollgate-p1", burst=9, stages=frozenset())))

    (found,) = diff(desired, remote)

    assert (found.kind, found.remote_id) == (Kind.PLAN_DIFFERS, "plan1")
    assert found.before == "tollgate-p1: 10 requests a second, burst 9, 20 a DAY, stages none"
    assert found.after == "tollgate-p1: 10 requests a second, burst 5, 20 a DAY, stages a:v1"


def test_key_that_is_being_worked_on_is_neither_missing_nor_extra() -> None:
    desired, remote = world(2)
    desired = replace(desired, known_names=desired.known_names | {"tollgate-11111111-sent"})
    remote = replace(remote, keys=[*remote.keys, RemoteKey("new", "tollgate-11111111-sent", enabled=True)])

    assert diff(desired, remote) == []


@st.composite
def drifts(draw: st.DrawFn) -> tuple[Desired, Remote, list[tuple[Kind, str]]]:
    """A world with some drift of every kind, and what has to be found."""
    count = draw(st.integers(8, 30))
    desired, remote = world(count)
    numbers = draw(st.permutations(range(count)))
    missing, flipped, detached, moved = numbers[0], numbers[1], numbers[2], numbers[3]
    extras = draw(st.integers(0, 3))
    keys = [replace(key, enabled=not key.enabled) if index == flipped else key for index, key in enumerate(remote.keys) if index != missing]
    keys += [RemoteKey(f"extra{number}", f"tollgate-99999999-{number}", enabled=True) for number in range(extras)]
    gone = {f"key{missing}", f"key{detached}", f"key{moved}"}
    members = {plan: [member for member in listed if member.id not in gone] for plan, listed in remote.members.items()}
    members[f"plan{(moved + 1) % 3}"].append(Member(f"key{moved}", f"tollgate-00000000-{moved}"))
    expected = [
        (Kind.MISSING, f"tollgate-00000000-{missing}"),
        (Kind.DISABLED if flipped % 7 else Kind.ENABLED, f"tollgate-00000000-{flipped}"),
        (Kind.DETACHED, f"tollgate-00000000-{detached}"),
        (Kind.DETACHED, f"tollgate-00000000-{moved}"),
        (Kind.WRONG_PLAN, f"tollgate-00000000-{moved}"),
        *[(Kind.EXTRA, f"tollgate-99999999-{number}") for number in range(extras)],
    ]
    return desired, replace(remote, keys=keys, members=members), sorted(expected)


@given(drifts())
@settings(max_examples=100)
def test_every_injected_drift_is_found_and_none_else(case: tuple[Desired, Remote, list[tuple[Kind, str]]]) -> None:
    desired, remote, expected = case

    assert kinds(diff(desired, remote)) == expected


@given(st.integers(0, 40), st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_order_of_the_lists_does_not_matter(count: int, random: object) -> None:
    desired, remote = world(count)
    shuffled = list(remote.keys)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert diff(desired, replace(remote, keys=shuffled)) == []


def test_empty_gateway_misses_everything_once() -> None:
    desired, _ = world(10)

    found = diff(desired, Remote([], [], {}))

    assert [each.kind for each in found].count(Kind.MISSING) == 10
    assert [each.kind for each in found].count(Kind.PLAN_MISSING) == 3


def test_ten_thousand_keys_are_compared_in_milliseconds() -> None:
    desired, remote = world(10_000)
    best = min(_seconds(desired, remote) for _ in range(5))

    # The aim is 20 ms on a quiet machine; a busy one must not make the test fail.
    assert best < 0.1, f"{best * 1000:.1f} ms"


def _seconds(desired: Desired, remote: Remote) -> float:
    started = time.process_time()
    assert diff(desired, remote) == []
    return time.process_time() - started

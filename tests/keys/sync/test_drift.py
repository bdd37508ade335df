"""The comparison finds each injected drift and no other."""

import uuid
from dataclasses import replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from keys.gateway.types import Member, PlanSpec, RemoteKey, RemotePlan
from keys.sync.drift import Desired, DesiredKey, DesiredPlan, Difference, Kind, Remote, Subject, diff

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


def test_foreign_keys_are_told_and_foreign_plans_are_not() -> None:
    desired, remote = world(5)
    remote = replace(
        remote,
        keys=[*remote.keys, RemoteKey("foreign", "theirs", enabled=True), RemoteKey("nameless", "", enabled=True)],
        plans=[*remote.plans, RemotePlan("foreign", replace(SPEC, name="theirs"))],
    )

    assert kinds(diff(desired, remote)) == [(Kind.FOREIGN, ""), (Kind.FOREIGN, "theirs")]


def test_plan_that_differs_says_how() -> None:
    desired, remote = world(0)
    remote = with_plan(remote, RemotePlan("plan1", replace(SPEC, name="theirs now", burst=9, stages=frozenset())))

    found = diff(desired, remote)

    assert {each.remote_id for each in found} == {"plan1"}
    assert [(each.kind, each.before, each.after) for each in found] == [
        (Kind.WRONG_LIMITS, "10 requests a second, burst 9, 20 a day", "10 requests a second, burst 5, 20 a day"),
        (Kind.WRONG_STAGE, "none", "a:v1"),
        (Kind.STALE_NAME, "theirs now", "tollgate-p1"),
    ]


def test_second_plan_of_a_name_of_ours_is_a_duplicate() -> None:
    desired, remote = world(0)
    remote = replace(remote, plans=[*remote.plans, RemotePlan("twin", remote.plans[0].spec)])

    (found,) = diff(desired, remote)

    assert (found.kind, found.subject, found.remote_id, found.row_id) == (Kind.DUPLICATE, Subject.PLAN, "twin", None)


def test_key_that_was_taken_over_may_bear_any_name() -> None:
    desired, remote = world(1)
    desired = replace(desired, keys=[replace(desired.keys[0], name="")])
    remote = replace(remote, keys=[replace(remote.keys[0], name="theirs")])

    assert diff(desired, remote) == []


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
    missing, flipped, detached, moved, renamed, doubled = numbers[:6]
    extras, others = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    changed = {
        flipped: replace(remote.keys[flipped], enabled=not remote.keys[flipped].enabled),
        renamed: replace(remote.keys[renamed], name="theirs now"),
    }
    keys = [changed.get(index, key) for index, key in enumerate(remote.keys) if index != missing]
    keys += [RemoteKey(f"extra{number}", f"tollgate-99999999-{number}", enabled=True) for number in range(extras)]
    keys += [RemoteKey(f"other{number}", f"other-{number}", enabled=True) for number in range(others)]
    keys.append(RemoteKey("double", f"tollgate-00000000-{doubled}", enabled=True))
    gone = {f"key{missing}", f"key{detached}", f"key{moved}"}
    members = {plan: [member for member in listed if member.id not in gone] for plan, listed in remote.members.items()}
    members[f"plan{(moved + 1) % 3}"].append(Member(f"key{moved}", f"tollgate-00000000-{moved}"))
    expected = [
        (Kind.MISSING, f"tollgate-00000000-{missing}"),
        (Kind.WRONG_ENABLED, f"tollgate-00000000-{flipped}"),
        (Kind.STALE_NAME, f"tollgate-00000000-{renamed}"),
        (Kind.DUPLICATE, f"tollgate-00000000-{doubled}"),
        (Kind.DETACHED, f"tollgate-00000000-{detached}"),
        (Kind.DETACHED, f"tollgate-00000000-{moved}"),
        (Kind.WRONG_PLAN, f"tollgate-00000000-{moved}"),
        *[(Kind.EXTRA, f"tollgate-99999999-{number}") for number in range(extras)],
        *[(Kind.FOREIGN, f"other-{number}") for number in range(others)],
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

    assert [(each.kind, each.subject) for each in found].count((Kind.MISSING, Subject.KEY)) == 10
    assert [(each.kind, each.subject) for each in found].count((Kind.MISSING, Subject.PLAN)) == 3

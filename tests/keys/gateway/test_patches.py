"""Patches turn what a plan says into what it shall say."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.gateway.patches import Patch, plain, plan_patches
from keys.gateway.types import PlanSpec

PLAN = PlanSpec(name="p", rate=Decimal(10), burst=5, quota_limit=20, quota_period="DAY", stages=frozenset({"a:v1"}))
OPEN = replace(PLAN, rate=None, burst=None, quota_limit=None, quota_period="")

TABLE = [
    (PLAN, PLAN, []),
    (PLAN, replace(PLAN, rate=Decimal("10.000")), []),
    (PLAN, replace(PLAN, name="q"), [Patch("replace", "/name", "q")]),
    (PLAN, replace(PLAN, rate=Decimal("0.500")), [Patch("replace", "/throttle/rateLimit", "0.5")]),
    (PLAN, replace(PLAN, burst=6), [Patch("replace", "/throttle/burstLimit", "6")]),
    (PLAN, replace(PLAN, quota_limit=21), [Patch("replace", "/quota/limit", "21")]),
    (PLAN, replace(PLAN, quota_period="MONTH"), [Patch("replace", "/quota/period", "MONTH")]),
    (PLAN, replace(PLAN, quota_limit=None, quota_period=""), [Patch("remove", "/quota")]),
    (PLAN, replace(PLAN, rate=None, burst=None), [Patch("remove", "/throttle")]),
    (
        OPEN,
        PLAN,
        [
            Patch("add", "/throttle/rateLimit", "10"),
            Patch("add", "/throttle/burstLimit", "5"),
            Patch("add", "/quota/limit", "20"),
            Patch("add", "/quota/period", "DAY"),
            Patch("add", "/quota/offset", "0"),
        ],
    ),
    (
        PLAN,
        replace(PLAN, stages=frozenset({"b:v1", "c:v1"})),
        [Patch("add", "/apiStages", "b:v1"), Patch("add", "/apiStages", "c:v1"), Patch("remove", "/apiStages", "a:v1")],
    ),
]


@pytest.mark.parametrize(("observed", "desired", "patches"), TABLE)
def test_patches_are_exactly_what_differs(observed: PlanSpec, desired: PlanSpec, patches: list[Patch]) -> None:
    assert plan_patches(observed, desired) == patches


@pytest.mark.parametrize(("number", "text"), [("100", "100"), ("1E+3", "1000"), ("0.500", "0.5"), ("12.125", "12.125")])
def test_numbers_are_written_plainly(number: str, text: str) -> None:
    assert plain(Decimal(number)) == text


limits = st.one_of(st.none(), st.tuples(st.decimals(min_value="0.001", max_value=10_000, places=3), st.integers(1, 10_000)))
quotas = st.one_of(st.none(), st.tuples(st.integers(1, 10**6), st.sampled_from(["DAY", "WEEK", "MONTH"])))
stages = st.frozensets(st.sampled_from(["a:v1", "a:v2", "b:v1", "c:prod"]))


@st.composite
def specs(draw: st.DrawFn) -> PlanSpec:
    throttle, quota = draw(limits), draw(quotas)
    return PlanSpec(
        name=draw(st.sampled_from(["p", "q"])),
        rate=throttle[0] if throttle else None,
        burst=throttle[1] if throttle else None,
        quota_limit=quota[0] if quota else None,
        quota_period=quota[1] if quota else "",
        stages=draw(stages),
    )


def apply(spec: PlanSpec, patches: list[Patch]) -> PlanSpec:
    """Patch a spec as the documentation says."""
    for patch in patches:
        value = patch.value or ""
        if patch.path == "/name":
            spec = replace(spec, name=value)
        elif patch.path == "/throttle":
            spec = replace(spec, rate=None, burst=None)
        elif patch.path == "/throttle/rateLimit":
            spec = replace(spec, rate=Decimal(value))
        elif patch.path == "/throttle/burstLimit":
            spec = replace(spec, burst=int(value))
        elif patch.path == "/quota":
            spec = replace(spec, quota_limit=None, quota_period="")
        elif patch.path == "/quota/limit":
            spec = replace(spec, quota_limit=int(value))
        elif patch.path == "/quota/period":
            spec = replace(spec, quota_period=value)
        elif patch.path == "/apiStages":
            spec = replace(spec, stages=spec.stages | {value} if patch.op == "add" else spec.stages - {value})
    return spec


@given(specs(), specs())
def test_patched_plan_is_the_desired_one(observed: PlanSpec, desired: PlanSpec) -> None:
    patches = plan_patches(observed, desired)

    assert apply(observed, patches) == desired
    assert plan_patches(desired, desired) == []
    assert bool(patches) == (observed != desired)

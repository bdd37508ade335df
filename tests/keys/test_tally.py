"""What an adoption makes, counted before it is done."""

from typing import Any

import pytest

from keys.proposals import Decision, KeySeen, PlanSeen, Take
from keys.tally import Tally, tally

ACME = "00000000-0000-4000-8000-00000000000a"


def plan(*keys: KeySeen, number: int = 1) -> PlanSeen:
    return PlanSeen(
        id=f"p{number}", name="Basic", rate=None, burst=None, quota_limit=None, quota_period="", stages=("groceries:v1",), keys=keys
    )


def key(number: int, name: str = "", **fields: Any) -> KeySeen:
    return KeySeen(id=f"k{number}", name=name or f"shop {number}", enabled=True, **fields)


def siloed(number: int = 1, **fields: Any) -> Decision:
    return Decision(plan=f"p{number}", take=Take.SILOED, tier="basic", **fields)


@pytest.mark.parametrize(
    ("decision", "made", "words"),
    [
        pytest.param(
            siloed(),
            Tally(keys=3, left=1, new_tiers=1, new_tenants=3, nameless=3, named_after_keys=3),
            "3 new tenants, one a key.",
            id="default",
        ),
        pytest.param(siloed(tenant="Acme"), Tally(keys=3, left=1, new_tiers=1, new_tenants=1), "1 new tenant.", id="one for all"),
        pytest.param(
            siloed(tenant=ACME),
            Tally(keys=3, left=1, new_tiers=1, tenants=1),
            "No new tenant. 1 tenant that exists gets keys.",
            id="existing",
        ),
        pytest.param(
            siloed(holders={"k0": ["Acme"]}),
            Tally(keys=3, left=1, new_tiers=1, new_tenants=3, nameless=2, named_after_keys=2),
            "3 new tenants, 2 of them named after 2 keys that you named no tenant for.",
            id="one named",
        ),
        pytest.param(
            siloed(holders={"k0": [ACME], "k1": [ACME.upper()], "k2": ["Beta  Ltd"]}),
            Tally(keys=3, left=1, new_tiers=1, new_tenants=1, tenants=1),
            "1 new tenant. 1 tenant that exists gets keys.",
            id="all named",
        ),
        pytest.param(
            Decision(plan="p1", take=Take.POOLED, tier="shared"),
            Tally(keys=3, left=1, new_tiers=1),
            "3 keys are taken over. 1 key is left as it is. 1 new tier, closed to buyers at first. No new tenant.",
            id="pool",
        ),
    ],
)
def test_tenants_tiers_and_keys_are_counted(decision: Decision, made: Tally, words: str) -> None:
    seen = plan(*[key(number) for number in range(3)], key(3, plans=2))

    found = tally([(seen, decision)], {"other"})

    assert found == made
    assert words in " ".join(found.sentences)


def test_keys_of_one_name_share_a_tenant_over_all_usage_plans() -> None:
    first = plan(*[key(number, "Shop") for number in range(1200)])
    second = plan(key(2000, " Shop "), key(2001), number=2)

    made = tally([(first, siloed()), (second, siloed(2))], {"basic"})

    assert (made.keys, made.new_tenants, made.nameless, made.new_tiers) == (1202, 2, 1202, 0)
    assert (
        "2 new tenants, 2 of them named after 1,202 keys that you named no tenant for; keys of one name share a tenant." in made.sentences
    )
    assert "No new tier." in made.sentences

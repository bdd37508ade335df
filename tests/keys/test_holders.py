"""Files that say to whom keys belong."""

import io

import pytest

from keys import holders
from keys.holders import Line
from keys.proposals import Decision, KeySeen, PlanSeen, Proposal, Take
from keys.sheets import UnreadableSheet


def plan(number: int, *keys: tuple[str, str]) -> PlanSeen:
    seen = tuple(KeySeen(id=key_id, name=name, enabled=True) for key_id, name in keys)
    return PlanSeen(id=f"p{number}", name="", rate=None, burst=None, quota_limit=None, quota_period="", stages=(), keys=seen)


PROPOSAL = Proposal(plans=(plan(1, ("k1", "Shop"), ("k2", "Twin"), ("k3", "k1")), plan(2, ("k4", "Twin"), ("k1", "Shop"))), loose_keys=0)


def decision(number: int, take: Take = Take.SILOED, **named: str) -> Decision:
    return Decision(plan=f"p{number}", take=take, holders={key: [tenant] for key, tenant in named.items()})


def test_keys_are_named_by_id_or_name_and_an_id_counts_first() -> None:
    lines = holders.read(b"tenant,key\nAcme,Shop\n Beta  Ltd , k1\n,k2\n\n=1,k3\n", PROPOSAL)

    assert lines == [
        Line(number=2, key="k1", tenant="Acme"),
        Line(number=3, key="k1", tenant="Beta Ltd"),
        Line(number=6, key="k3", tenant="=1"),
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param("key,tenant\nk9,A\n", "line 2: no usage plan that was found has a key “k9”, neither as id nor as name.", id="unknown"),
        pytest.param("key,tenant\nTwin,A\n", "line 2: 2 keys are named “Twin”: give the id of one, as k2.", id="ambiguous"),
        pytest.param("key,tenant\n,A\n", "line 2: name the key, by its id or by its name.", id="no key"),
        pytest.param(f"key,tenant\nk1,{'a' * 101}\n", "line 2: a tenant's name has at most 100 printable characters.", id="long"),
        pytest.param(
            "key,tenant\nk1,A,B\n", "line 2: 3 cells, and the header has 2. Put quotes around a cell that holds a comma.", id="cells"
        ),
        pytest.param("k1,A\n", "line 1: unknown column “k1”, “a”. The columns are key, tenant, name", id="no header"),
    ],
)
def test_what_is_wrong_is_told_by_line(content: str, problem: str) -> None:
    with pytest.raises(UnreadableSheet) as refusal:
        holders.read(content.encode(), PROPOSAL)

    assert problem in str(refusal.value)


def test_a_file_counts_more_than_what_was_decided_and_leaves_the_rest() -> None:
    lines = [Line(number=2, key="k1", tenant="Acme"), Line(number=3, key="k1", tenant="Beta"), Line(number=4, key="k4", tenant="Acme")]

    first, second = holders.assign([decision(1, Take.POOLED, k1="Old", k2="Old"), decision(2, k4="Old")], PROPOSAL, lines[:1] + lines[2:])

    assert first.holders == {"k1": ["Acme"], "k2": ["Old"]}
    assert second.holders == {"k1": ["Acme"], "k4": ["Acme"]}
    [pooled] = holders.assign([decision(1, Take.POOLED)], PROPOSAL, lines)
    assert pooled.holders == {"k1": ["Acme", "Beta"]}
    with pytest.raises(UnreadableSheet, match="line 3: the key k1 has a tenant already, and a siloed key belongs to one"):
        holders.assign([decision(1)], PROPOSAL, lines)


def test_the_file_that_is_written_names_each_key_once_and_no_tenant() -> None:
    file = io.StringIO()

    holders.write(file, PROPOSAL)

    assert file.getvalue().splitlines() == ["key,tenant,name", "k1,,Shop", "k2,,Twin", "k3,,k1", "k4,,Twin"]
    assert holders.read(file.getvalue().encode(), PROPOSAL) == []

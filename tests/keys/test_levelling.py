from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from keys.levelling import Levelling, even_out, offered, pair, vacate

LOADS = st.lists(st.integers(0, 30), min_size=1, max_size=12).map(lambda loads: dict(enumerate(loads)))


def spread(loads: dict[int, int]) -> int:
    return max(loads.values()) - min(loads.values())


def check(levelling: Levelling[int], before: dict[int, int]) -> None:
    """Nobody is lost, and each is put on the level that is free then."""
    loads = {key: before[key] - levelling.leave.get(key, 0) for key in levelling.loads}
    assert levelling.ground == min(loads.values())
    for key, level in levelling.places:
        assert loads[key] == level
        loads[key] += 1
    assert loads == levelling.loads
    assert sum(levelling.leave.values()) == levelling.moved


@given(LOADS)
def test_rebalance_is_level_and_moves_as_few_as_that_takes(loads: dict[int, int]) -> None:
    levelling = even_out(loads)

    check(levelling, loads)
    assert spread(levelling.loads) <= 1
    low, higher = divmod(sum(loads.values()), len(loads))
    fewest = sum(max(0, load - low - (place < higher)) for place, load in enumerate(sorted(loads.values(), reverse=True)))
    assert levelling.moved == fewest
    assert not {key for key, _level in levelling.places} & set(levelling.leave)


@given(LOADS, st.integers(1, 5))
def test_rebalance_in_parts_moves_no_more_than_at_once(loads: dict[int, int], most: int) -> None:
    whole, moved = even_out(loads).moved, 0
    while (part := even_out(loads, most)).moved:
        assert part.moved <= most
        check(part, loads)
        loads, moved = part.loads, moved + part.moved

    assert spread(loads) <= 1
    assert moved == whole


@given(LOADS, st.data())
def test_leaving_keys_are_emptied_onto_the_emptiest_others(loads: dict[int, int], data: st.DataObject) -> None:
    leaving = data.draw(st.sets(st.sampled_from(sorted(loads)), max_size=len(loads) - 1))
    levelling = vacate(loads, leaving)

    check(levelling, loads)
    assert levelling.moved == sum(loads[key] for key in leaving)
    assert set(levelling.loads) == set(loads) - leaving
    took = {key for key, _level in levelling.places}
    assert all(levelling.loads[key] - 1 <= levelling.loads[other] for key in took for other in levelling.loads)


def test_part_of_a_shrink_moves_so_many_and_no_more() -> None:
    levelling = vacate({"a": 3, "b": 4, "c": 5}, ["b", "c"], 6)

    assert levelling.leave == {"b": 4, "c": 2}
    assert levelling.loads == {"a": 9}


@given(LOADS, st.integers(1, 400))
def test_offered_places_level_the_pool_from_the_emptiest_key_up(loads: dict[int, int], most: int) -> None:
    places, more = offered(loads, most)

    assert len(places) <= most
    assert [level for _key, level in places] == sorted(level for _key, level in places)
    after = Counter(loads)
    after.update(key for key, _level in places)
    assert more == (len(places) == most and spread(after) > 0)
    assert more or spread(after) == 0
    assert max(after.values(), default=0) <= max(loads.values())


def test_who_moves_stays_at_its_gateway_where_a_place_is_left() -> None:
    home = {"a": "paris", "b": "tokyo", "c": "paris", "d": "tokyo"}.__getitem__
    placed = pair(["a", "a", "b"], [("d", 0), ("c", 0), ("c", 1)], home)

    assert placed == [("c", 0), ("c", 1), ("d", 0)]
    assert set(pair(["a", "b"], [("d", 0), ("d", 1)], home)) == {("d", 0), ("d", 1)}

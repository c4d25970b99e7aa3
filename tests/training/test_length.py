from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.training.conftest import make_pair

from codedpo.core.records import Pair
from codedpo.training.length import length_balanced

LENGTHS = st.tuples(st.sampled_from(("correctness", "efficiency")), st.integers(0, 60), st.integers(0, 60))


def pair_of(index: int, kind: str, chosen: int, rejected: int) -> Pair:
    return replace(make_pair(index, kind=kind), chosen="x" * chosen, rejected="x" * rejected)


def excesses(pairs: list[Pair], kind: str = "correctness") -> list[int]:
    return [len(pair.chosen) - len(pair.rejected) for pair in pairs if pair.kind == kind]


@given(st.lists(LENGTHS, max_size=30))
def test_longer_and_shorter_chosen_sides_are_equally_many_in_each_kind(lengths):
    pairs = [pair_of(index, *one) for index, one in enumerate(lengths)]
    kept = length_balanced(pairs)
    assert kept == [pair for pair in pairs if pair in kept]
    assert length_balanced(kept) == kept
    for kind in ("correctness", "efficiency"):
        before, after = excesses(pairs, kind), excesses(kept, kind)
        fewer = min(sum(one > 0 for one in before), sum(one < 0 for one in before))
        assert sum(one > 0 for one in after) == sum(one < 0 for one in after) == fewer
        assert after.count(0) == before.count(0)


def test_matches_differ_by_about_as_much():
    shorter = [
        pair_of(index, "correctness", 100, 100 + excess) for index, excess in enumerate((1, 8, 30, 31, 90))
    ]
    longer = [pair_of(index + 10, "correctness", 100 + excess, 100) for index, excess in enumerate((9, 29))]
    assert sorted(excesses(length_balanced(shorter + longer))) == [-30, -8, 9, 29]

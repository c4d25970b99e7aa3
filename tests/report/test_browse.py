import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from codedpo.report.browse import evenly, letter, shown_tasks


@given(st.integers(0, 400), st.integers(1, 50))
def test_tasks_are_spread_evenly_and_never_repeated(count, most):
    items = [str(number) for number in range(count)]
    shown = evenly(items, most)
    assert len(shown) == min(count, most)
    assert len(set(shown)) == len(shown)
    if count > most:
        gaps = [int(after) - int(before) for before, after in itertools.pairwise(shown)]
        assert not gaps or max(gaps) - min(gaps) <= 1


def test_letters_are_distinct_and_need_no_escape():
    letters = [letter(index) for index in range(300)]
    assert len(set(letters)) == 300
    assert all(json.dumps(one, ensure_ascii=False) == f'"{one}"' for one in letters)


def test_only_so_many_executed_tasks_are_shown():
    tasks = [f"t{number}" for number in range(10)]
    assert shown_tasks(tasks, tasks[7::-1], 4) == ["t0", "t2", "t4", "t6"]
    assert shown_tasks(tasks, tasks[:3], 4) == ["t0", "t1", "t2"]

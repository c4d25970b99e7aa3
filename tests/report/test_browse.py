import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from codedpo.core.records import Execution, SolutionScore, Task, TestScore
from codedpo.core.tables import to_arrow
from codedpo.report.browse import browse, evenly, letter


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
    tasks = [Task(f"t{number}", "s", [], "words", "def f():", "f") for number in range(10)]
    executions = [
        Execution(
            task.task_id, f"{task.task_id}/s00", f"{task.task_id}/a00", "passed", "", "", 1, 1, "split", 3
        )
        for task in tasks[:8]
    ]
    found = browse(
        tasks=tasks,
        seeds={},
        solutions=[],
        tests=[],
        executions=to_arrow(Execution, executions),
        solution_scores=to_arrow(SolutionScore, []),
        test_scores=to_arrow(TestScore, []),
        timings=[],
        pairs=[],
        strategy="self_validation",
        most_tasks=4,
    )
    assert [task["id"] for task in found["tasks"]] == ["t0", "t2", "t4", "t6"]
    assert found["total"] == 8

import dataclasses

import numpy as np
import pytest

from codedpo.core.errors import DataError
from codedpo.core.matrix import NO_CALL, NO_VALUE, PassMatrix, matrices, whole_tasks
from codedpo.core.records import Execution, Oracle, Outcome
from codedpo.core.tables import to_arrow

CALLS = {("t1", "t1/a00"): "f(1)", ("t1", "t1/a01"): "f(1)", ("t1", "t1/a02"): "", ("t2", "t2/a00"): "g()"}


def cell(solution, test, outcome=Outcome.PASSED, digest=""):
    return Execution(solution[:2], solution, test, outcome.value, "", digest, 0, 0, Oracle.SPLIT.value, 3)


def rows():
    return [
        cell("t1/s00", "t1/a00", Outcome.PASSED, "one"),
        cell("t1/s00", "t1/a01", Outcome.FAILED, "one"),
        cell("t1/s00", "t1/a02", Outcome.PASSED),
        cell("t2/s00", "t2/a00", Outcome.ERROR),
        cell("t1/s01", "t1/a02", Outcome.NOT_LOADED),
        cell("t1/s01", "t1/a00", Outcome.NOT_LOADED),
        cell("t1/s01", "t1/a01", Outcome.NOT_LOADED),
        cell("t1/s02", "t1/a00", Outcome.FAILED, "two"),
        cell("t1/s02", "t1/a01", Outcome.PASSED, "two"),
        cell("t1/s02", "t1/a02", Outcome.TIMEOUT),
    ]


def test_one_matrix_a_task_with_values_by_call():
    first, second = matrices(to_arrow(Execution, rows()), CALLS)
    assert (first.task_id, second.task_id) == ("t1", "t2")
    assert first.solution_ids == ("t1/s00", "t1/s01", "t1/s02")
    assert first.test_ids == ("t1/a00", "t1/a01", "t1/a02")
    assert first.passed.tolist() == [[True, False, True], [False] * 3, [False, True, False]]
    assert first.loaded.tolist() == [True, False, True]
    assert first.call_of_test.tolist() == [0, 0, NO_CALL]
    assert first.values.shape == (3, 1)
    assert first.values[1, 0] == NO_VALUE
    assert first.values[0, 0] != first.values[2, 0]
    assert second.values.tolist() == [[NO_VALUE]]


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_tasks_are_cut_out_whole_some_at_a_time(monkeypatch, at_once):
    monkeypatch.setattr("codedpo.core.matrix.TASKS_AT_ONCE", at_once)
    cells = [
        cell(f"t{task}/s00", f"t{task}/a{test:02d}", Outcome.PASSED if task == test else Outcome.FAILED)
        for test in range(5)
        for task in (3, 1, 2, 4)
    ]
    table = to_arrow(Execution, cells)
    assert [len(set(of.column("task_id").to_pylist())) for of in whole_tasks(table)] == {
        1: [1, 1, 1, 1],
        2: [2, 2],
        3: [3, 1],
    }[at_once]
    found = list(matrices(table, {}))
    assert [one.task_id for one in found] == ["t3", "t1", "t2", "t4"]
    assert [one.passed[0].tolist().index(True) for one in found] == [3, 1, 2, 4]


def test_no_executions_give_no_matrices():
    assert list(matrices(to_arrow(Execution, []), {})) == []


@pytest.mark.parametrize("damage", [lambda cells: cells[1:], lambda cells: [*cells, cells[0]]])
def test_missing_or_double_cells_are_refused(damage):
    with pytest.raises(DataError, match="task t1"):
        list(matrices(to_arrow(Execution, damage(rows())), CALLS))


def test_taking_all_in_another_order_keeps_what_was_returned():
    matrix = next(matrices(to_arrow(Execution, rows()), CALLS))
    part = matrix.take(np.array([2, 0]), np.array([2, 1]))
    assert part.solution_ids == ("t1/s02", "t1/s00")
    assert part.test_ids == ("t1/a02", "t1/a01")
    assert part.passed.tolist() == [[False, True], [True, False]]
    assert part.call_of_test.tolist() == [NO_CALL, 0]
    assert part.values[:, 0].tolist() == [matrix.values[2, 0], matrix.values[0, 0]]


def test_shapes_that_do_not_fit_are_refused():
    matrix = PassMatrix.of_passes(np.ones((2, 3), dtype=bool))
    with pytest.raises(DataError, match="passed has shape"):
        dataclasses.replace(matrix, solution_ids=("a",))
    with pytest.raises(DataError, match="values has shape"):
        dataclasses.replace(matrix, call_of_test=np.array([0, 1, 1]))
    with pytest.raises(DataError, match="1 dimensions"):
        PassMatrix.of_passes(np.ones(3, dtype=bool))

"""The pass matrix of one task: what every ranking strategy reads, as numpy arrays."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codedpo.core.errors import DataError
from codedpo.core.records import Outcome

NO_VALUE = -1
"""Code of a call that returned nothing comparable: it raised, ran out of time, or its value is not plain data."""
NO_CALL = -1
"""Call number of a test that is not of the form call against expected value."""


@dataclass(frozen=True, slots=True, eq=False)
class PassMatrix:
    """S solutions of one task against T tests, which hold C distinct calls.

    Tests that make the same call share one column of ``values``, so that a call which many tests repeat with
    different expectations is one question to the solutions, not many.
    """

    task_id: str
    solution_ids: tuple[str, ...]
    test_ids: tuple[str, ...]
    passed: NDArray[np.bool_]
    """[S, T]: the solution passes the test."""
    loaded: NDArray[np.bool_]
    """[S]: the solution could be defined at all."""
    call_of_test: NDArray[np.int64]
    """[T]: which of the C calls the test makes, or ``NO_CALL``."""
    values: NDArray[np.int64]
    """[S, C]: equal codes in a column mean equal returned values; ``NO_VALUE`` where there is none."""

    def __post_init__(self) -> None:
        solutions, tests = len(self.solution_ids), len(self.test_ids)
        calls = int(self.call_of_test.max(initial=-1)) + 1
        expected = {
            "passed": (solutions, tests),
            "loaded": (solutions,),
            "call_of_test": (tests,),
        }
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                raise DataError(
                    f"matrix {self.task_id}: {name} has shape {found}, but the ids call for {shape}; "
                    "give one row a solution and one column a test"
                )
        if self.values.ndim != 2 or self.values.shape[0] != solutions or self.values.shape[1] < calls:
            raise DataError(
                f"matrix {self.task_id}: values has shape {self.values.shape}, but {solutions} solutions and "
                f"{calls} calls need ({solutions}, {calls})"
            )

    @classmethod
    def of_passes(cls, passed: NDArray[np.bool_], task_id: str = "task") -> Self:
        """Wrap a bare pass matrix [S, T]: everything loaded, no values known, ids by position."""
        passed = np.asarray(passed, dtype=bool)
        if passed.ndim != 2:
            raise DataError(
                f"matrix {task_id}: expected a table of solutions x tests, got {passed.ndim} dimensions"
            )
        solutions, tests = passed.shape
        return cls(
            task_id=task_id,
            solution_ids=tuple(f"{task_id}/s{row:02d}" for row in range(solutions)),
            test_ids=tuple(f"{task_id}/a{column:02d}" for column in range(tests)),
            passed=passed,
            loaded=np.ones(solutions, dtype=bool),
            call_of_test=np.full(tests, NO_CALL, dtype=np.int64),
            values=np.empty((solutions, 0), dtype=np.int64),
        )

    def take(self, solutions: NDArray[np.int64], tests: NDArray[np.int64]) -> Self:
        """Return the matrix of some solutions and tests, in the given order (for subsamples and equivariance)."""
        calls, call_of_test = np.unique(self.call_of_test[tests], return_inverse=True)
        if calls.size and calls[0] == NO_CALL:
            calls, call_of_test = calls[1:], call_of_test - 1
        return type(self)(
            task_id=self.task_id,
            solution_ids=tuple(self.solution_ids[row] for row in solutions),
            test_ids=tuple(self.test_ids[column] for column in tests),
            passed=self.passed[np.ix_(solutions, tests)],
            loaded=self.loaded[solutions],
            call_of_test=call_of_test.astype(np.int64),
            values=self.values[np.ix_(solutions, calls)],
        )


CELL = ("task_id", "solution_id", "test_id", "outcome", "value_digest")
"""The columns of ``Execution`` that a matrix is made of."""
Calls = Mapping[tuple[str, str], str]
"""(task id, test id) -> the call that the test compares (``Test.call``); empty where it has another form."""


def calls_of_tests(tests: pa.Table) -> dict[tuple[str, str], str]:
    """Read the calls off a table with ``task_id``, ``test_id`` and ``call``; a test may have several equal rows.

    Test ids are names within a task: only together with the task's id do they tell a test.

    Raises:
        DataError: two rows of one test of one task have different calls.
    """
    found: dict[tuple[str, str], str] = {}
    columns = (tests.column(name).to_pylist() for name in ("task_id", "test_id", "call"))
    for task_id, test_id, call in zip(*columns, strict=True):
        if found.setdefault((task_id, test_id), call) != call:
            raise DataError(
                f"test {test_id} of task {task_id} has the calls {found[task_id, test_id]!r} and {call!r}; "
                "give all its rows the same one"
            )
    return found


TASKS_AT_ONCE = 64
"""Tasks whose cells are held as Python objects."""


def whole_tasks(cells: pa.Table) -> Iterator[pa.Table]:
    """Cut a table with ``task_id`` into tables of at most ``TASKS_AT_ONCE`` tasks each.

    The tasks are whole, in the order in which they first appear, and the cells of each lie together.
    """
    if cells.num_rows == 0:
        return
    codes = cells.column("task_id").combine_chunks().dictionary_encode().indices.to_numpy()
    if (np.diff(codes) < 0).any():
        order = np.argsort(codes, kind="stable")
        codes, cells = codes[order], cells.take(pa.array(order))
    starts = np.flatnonzero(np.diff(codes, prepend=-1))[::TASKS_AT_ONCE].tolist()
    for start, stop in pairwise([*starts, len(codes)]):
        yield cells.slice(start, stop - start)


def matrices(executions: pa.Table, calls: Calls) -> Iterator[PassMatrix]:
    """Cut the table of executions into one matrix a task, in the order in which tasks first appear.

    Args:
        executions: ``CELL`` columns of ``Execution``; every solution of a task has one row for every test of it.
        calls: what ``calls_of_tests`` returns; a test that is not in it has another form than a call.

    Raises:
        DataError: a task whose cells do not fill solutions x tests exactly once.
    """
    for cells in whole_tasks(executions):
        data = {name: cells.column(name).to_numpy() for name in CELL}
        task_ids, number = _numbers(data["task_id"])
        starts = np.flatnonzero(np.diff(number, prepend=-1)).tolist()
        for task_id, (start, stop) in zip(task_ids, pairwise([*starts, len(number)]), strict=True):
            yield _matrix(task_id, {name: column[start:stop] for name, column in data.items()}, calls)


def _numbers(names: NDArray[np.object_]) -> tuple[list[str], NDArray[np.int64]]:
    """Number strings in order of first appearance."""
    seen: dict[str, int] = {}
    numbers = np.array([seen.setdefault(name, len(seen)) for name in names], dtype=np.int64)
    return list(seen), numbers


def _matrix(task_id: str, cells: dict[str, NDArray[np.object_]], calls: Calls) -> PassMatrix:
    """Build the matrix of one task from its cells."""
    solution_ids, row = _numbers(cells["solution_id"])
    test_ids, column = _numbers(cells["test_id"])
    shape = (len(solution_ids), len(test_ids))
    if len(row) != shape[0] * shape[1] or len(np.unique(row * shape[1] + column)) != len(row):
        raise DataError(
            f"executions of task {task_id}: {len(row)} cells do not fill {shape[0]} solutions x {shape[1]} tests "
            "once each; run the executions stage again with --redo executions"
        )
    outcomes = np.empty(shape, dtype=object)
    outcomes[row, column] = cells["outcome"]
    digests = np.empty(shape, dtype=object)
    digests[row, column] = cells["value_digest"]

    number_of: dict[str, int] = {}
    numbers = [
        number_of.setdefault(call, len(number_of)) if (call := calls.get((task_id, test_id), "")) else NO_CALL
        for test_id in test_ids
    ]
    values = np.full((shape[0], len(number_of)), NO_VALUE, dtype=np.int64)
    _, codes = np.unique(digests.astype(str), return_inverse=True)
    codes = np.where(digests == "", NO_VALUE, codes.reshape(shape))
    for test, number in enumerate(numbers):
        if number != NO_CALL:
            values[:, number] = np.where(values[:, number] == NO_VALUE, codes[:, test], values[:, number])
    return PassMatrix(
        task_id=task_id,
        solution_ids=tuple(solution_ids),
        test_ids=tuple(test_ids),
        passed=outcomes == Outcome.PASSED.value,
        loaded=~(outcomes == Outcome.NOT_LOADED.value).any(axis=1),
        call_of_test=np.array(numbers, dtype=np.int64),
        values=values,
    )

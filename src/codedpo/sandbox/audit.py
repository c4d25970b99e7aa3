"""Do verdicts depend on how the work is arranged? Compares a usual run with one of a fresh child for every test."""

from collections.abc import Iterator
from dataclasses import dataclass

from codedpo.core.records import Outcome
from codedpo.sandbox.base import Cell, Matrix

LIMIT_OUTCOMES = frozenset((Outcome.TIMEOUT, Outcome.NOT_RUN))
"""Verdicts of limits: a cell that has one of them on both sides, or was cut off by others' time-outs, is no finding."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One cell whose verdict or value depends on what ran before it in its process."""

    job_id: str
    solution: int
    test: int
    usual: Cell
    fresh: Cell


def differences(usual: Matrix, fresh: Matrix) -> Iterator[Finding]:
    """Yield the cells that differ between two matrices of one job.

    Args:
        usual: of the sandbox as it is used.
        fresh: of one that gives every test a child of its own, ``LocalSandbox(child_per="test")``.
    """
    for solution, (row, fresh_row) in enumerate(zip(usual.cells, fresh.cells, strict=True)):
        for test, (cell, fresh_cell) in enumerate(zip(row, fresh_row, strict=True)):
            same = (cell.outcome, cell.error_type, cell.value_digest) == (
                fresh_cell.outcome,
                fresh_cell.error_type,
                fresh_cell.value_digest,
            )
            if not same and not {cell.outcome, fresh_cell.outcome} <= LIMIT_OUTCOMES:
                yield Finding(usual.job_id, solution, test, cell, fresh_cell)

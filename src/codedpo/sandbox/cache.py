"""Remembers cells, so that a program and a test that were run once need not run again.

A cell is found by everything that can change it: the solution, the test, the reference, the limits, the sandbox's
identity (backend, interpreter, preloaded modules) and the isolation level. That a cell was not run is kept too, but
holds only where the tests before it ran out of time again; what a broken helper lost is not kept.
The file is SQLite in write-ahead mode: several processes may use it at once.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path

from codedpo.core.errors import BackendError
from codedpo.core.records import Oracle, Outcome
from codedpo.sandbox.base import HELPER_DIED, Cell, Isolation, Job, Matrix, Sandbox, TimingJob, TimingResult

VERSION = 2
"""Raised when equal keys would stand for other cells."""
MOST_CELLS = 5_000_000
_TRIM_EVERY = 50_000
_PATIENCE_SECONDS = 30.0
_ASK_AT_ONCE = 500
_CELLS_AT_ONCE = 20_000
"""Jobs are looked up together until so many cells are; then what is missing of them is run."""
_TABLE = """
CREATE TABLE IF NOT EXISTS cells (
    age INTEGER PRIMARY KEY, key BLOB UNIQUE, outcome TEXT, error_type TEXT, value_digest TEXT, cpu_ns INTEGER,
    peak_kib INTEGER, oracle TEXT
)
"""


@dataclass(slots=True)
class _Plan:
    """One job, its cells as far as they are known, and the jobs that will give the others."""

    job: Job
    keys: list[list[bytes]]
    known: dict[bytes, Cell]
    parts: list[tuple[Job, list[int], list[int]]] = field(default_factory=list)
    """A smaller job, and which solutions and tests of the whole it runs."""


class CachedSandbox:
    """A sandbox that asks another only for what the cache does not hold.

    Args:
        sandbox: runs what is not known; closed with this one.
        path: the database; its folder is made if it does not exist.
        most_cells: the oldest cells beyond so many are dropped.

    Raises:
        BackendError: the file is not such a database, or cannot be written.
    """

    def __init__(self, sandbox: Sandbox, path: Path, most_cells: int = MOST_CELLS) -> None:
        self._sandbox = sandbox
        self._path = path
        self._most_cells = most_cells
        self._written = 0
        self.counters: dict[str, float] = {"cells_from_cache": 0, "cells_executed": 0}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=_PATIENCE_SECONDS, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise BackendError(
                f"The execution cache {path} cannot be used ({error}); remove it or name another."
            ) from None

    @property
    def identity(self) -> str:
        """The identity of the sandbox behind: the cache changes no verdict."""
        return self._sandbox.identity

    def probe(self) -> Isolation:
        """Ask the sandbox behind."""
        return self._sandbox.probe()

    def time(self, jobs: Iterable[TimingJob]) -> Iterator[TimingResult]:
        """Measure, always anew: a time of another day is no time."""
        return self._sandbox.time(jobs)

    def run(self, jobs: Iterable[Job]) -> Iterator[Matrix]:
        """Give each job's matrix in order; only cells that are not known are run."""
        level, identity = self._sandbox.probe().level, self.identity
        for plans in self._planned(jobs, level, identity):
            matrices = self._sandbox.run(part for plan in plans for part, _, _ in plan.parts)
            for plan in plans:
                yield self._finish(plan, [next(matrices) for _ in plan.parts], level)
            # A stream that is left before its end takes the sandbox's processes along.
            for _ in matrices:
                raise AssertionError("the sandbox gave more results than there were jobs")

    def close(self) -> None:
        """Close the sandbox and the database."""
        self._sandbox.close()
        self._database.close()

    def _planned(self, jobs: Iterable[Job], level: int, identity: str) -> Iterator[list[_Plan]]:
        plans: list[_Plan] = []
        cells = 0
        for job in jobs:
            plans.append(self._plan(job, level, identity))
            cells += len(job.solutions) * len(job.checks)
            if cells >= _CELLS_AT_ONCE:
                yield plans
                plans, cells = [], 0
        if plans:
            yield plans

    def _plan(self, job: Job, level: int, identity: str) -> _Plan:
        shared = hashlib.sha256(
            json.dumps([VERSION, identity, level, astuple(job.limits), job.reference]).encode()
        )
        tests = [json.dumps(astuple(check)).encode() for check in job.checks]
        keys = []
        for solution in job.solutions:
            of_solution = shared.copy()
            of_solution.update(hashlib.sha256(solution.encode("utf-8", "surrogatepass")).digest())
            row = []
            for test in tests:
                whole = of_solution.copy()
                whole.update(test)
                row.append(whole.digest()[:16])
            keys.append(row)
        plan = _Plan(job, keys, self._read([key for row in keys for key in row]))
        by_missing: dict[tuple[int, ...], list[int]] = {}
        for solution_index, row in enumerate(keys):
            unknown = tuple(_unknown(row, plan.known, job.limits.timeouts_per_solution))
            self.counters["cells_from_cache"] += len(row) - len(unknown)
            self.counters["cells_executed"] += len(unknown)
            if unknown:
                by_missing.setdefault(unknown, []).append(solution_index)
        for unknown, solutions in by_missing.items():
            part = replace(
                job,
                solutions=tuple(job.solutions[index] for index in solutions),
                checks=tuple(job.checks[index] for index in unknown),
            )
            plan.parts.append((part, solutions, list(unknown)))
        return plan

    def _finish(self, plan: _Plan, results: list[Matrix], level: int) -> Matrix:
        fresh: dict[bytes, Cell] = {}
        for (_, solutions, tests), matrix in zip(plan.parts, results, strict=True):
            for solution, row in zip(solutions, matrix.cells, strict=True):
                for test, cell in zip(tests, row, strict=True):
                    fresh[plan.keys[solution][test]] = cell
        self._write(fresh)
        found = plan.known | fresh
        most = plan.job.limits.timeouts_per_solution
        cells = tuple(tuple(_cut_off([found[key] for key in row], most)) for row in plan.keys)
        return Matrix(plan.job.job_id, cells, level)

    def _read(self, keys: list[bytes]) -> dict[bytes, Cell]:
        found: dict[bytes, Cell] = {}
        for start in range(0, len(keys), _ASK_AT_ONCE):
            some = keys[start : start + _ASK_AT_ONCE]
            marks = ",".join("?" * len(some))
            columns = "key, outcome, error_type, value_digest, cpu_ns, peak_kib, oracle"
            query = f"SELECT {columns} FROM cells WHERE key IN ({marks})"
            try:
                rows = self._database.execute(query, some).fetchall()
                for key, outcome, error, digest, cpu_ns, peak_kib, oracle in rows:
                    found[key] = Cell(Outcome(outcome), error, digest, cpu_ns, peak_kib, Oracle(oracle))
            except (sqlite3.Error, ValueError) as error:
                raise BackendError(
                    f"The execution cache {self._path} cannot be read ({error}); remove it or name another."
                ) from None
        return found

    def _write(self, cells: dict[bytes, Cell]) -> None:
        rows = [(key, *astuple(cell)) for key, cell in cells.items() if cell.error_type != HELPER_DIED]
        if not rows:
            return
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(
                "INSERT OR REPLACE INTO cells VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", rows
            )
            self._written += len(rows)
            if self._written >= min(_TRIM_EVERY, self._most_cells):
                self._written = 0
                self._database.execute(
                    "DELETE FROM cells WHERE age <= (SELECT MAX(age) FROM cells) - ?", (self._most_cells,)
                )
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise BackendError(
                f"The execution cache {self._path} cannot be written ({error}); free its disk or name another."
            ) from None


def _unknown(row: list[bytes], known: dict[bytes, Cell], most_timeouts: int) -> Iterator[int]:
    """Yield the tests of a solution that must be run: after so many known time-outs none need be."""
    timeouts = 0
    for test, key in enumerate(row):
        cell = known.get(key)
        if cell is None or (cell.outcome is Outcome.NOT_RUN and timeouts < most_timeouts):
            yield test
        else:
            timeouts += cell.outcome is Outcome.TIMEOUT


def _cut_off(row: list[Cell], most_timeouts: int) -> Iterator[Cell]:
    """Yield a solution's cells as one run gives them: what follows its last permitted time-out was not run.

    Without this, cells of runs with fewer tests would say more than a run of all tests.
    """
    timeouts = 0
    for cell in row:
        if timeouts < most_timeouts:
            timeouts += cell.outcome is Outcome.TIMEOUT
            yield cell
        else:
            yield Cell(Outcome.NOT_RUN, peak_kib=cell.peak_kib, oracle=cell.oracle)

"""Solutions and tests from JSONL files in, the pass matrix as one Parquet table out: ``codedpo exec``."""

import ast
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codedpo.core.errors import DataError
from codedpo.core.records import Execution
from codedpo.core.tables import write_rows
from codedpo.sandbox.base import Check, Job, Limits, Sandbox

_TEST_FIELDS = ("code", "call", "expected")


def execute_files(
    sandbox: Sandbox, solutions: Path, tests: Path, out: Path, limits: Limits | None = None
) -> dict[str, int]:
    """Run every solution of a task against every test of it.

    Args:
        sandbox: what runs them.
        solutions: lines with ``task_id``, ``code``, optionally ``solution_id`` (default: task and position).
        tests: lines with ``task_id`` and ``code``, or ``call`` and ``expected``, or ``stdin`` and ``expected``;
            optionally ``test_id`` and ``tolerance``. An assertion ``assert f(1) == 2`` in ``code`` alone is judged
            outside the solution's process where its right side is a literal.
        out: the Parquet file, rows as ``core.records.Execution``.
        limits: what a solution may use.

    Returns:
        How many cells have each outcome.

    Raises:
        DataError: a file is missing, a line is no JSON object or lacks a field, or a task has no test.
        BackendError: the sandbox cannot run.
    """
    programs = _by_task(solutions, "solution_id", "s", ("code",))
    checks = _by_task(tests, "test_id", "a", ())
    missing = next((task for task in programs if task not in checks), None)
    if missing is not None:
        raise DataError(
            f"The task {missing} of {solutions} has no test in {tests}; add one or drop the task."
        )
    jobs = (
        Job(
            task,
            tuple(str(row["code"]) for row in rows.values()),
            tuple(_check(row, tests) for row in checks[task].values()),
            limits or Limits(),
        )
        for task, rows in programs.items()
    )
    counts: Counter[str] = Counter()
    rows: list[Execution] = []
    for matrix in sandbox.run(jobs):
        for solution_id, cells in zip(programs[matrix.job_id], matrix.cells, strict=True):
            for test_id, cell in zip(checks[matrix.job_id], cells, strict=True):
                counts[cell.outcome.value] += 1
                rows.append(
                    Execution(
                        matrix.job_id,
                        solution_id,
                        test_id,
                        cell.outcome.value,
                        cell.error_type,
                        cell.value_digest,
                        cell.cpu_ns,
                        cell.peak_kib,
                        cell.oracle.value,
                        matrix.isolation_level,
                    )
                )
    write_rows(out, Execution, rows)
    return dict(counts.most_common())


def _by_task(path: Path, id_field: str, letter: str, needed: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return task id -> row id -> row."""
    found: dict[str, dict[str, Any]] = {}
    for number, row in _rows(path):
        absent = [field for field in ("task_id", *needed) if not isinstance(row.get(field), str)]
        if absent:
            raise DataError(f"Line {number} of {path} has no text {absent[0]!r}; add the field.")
        of_task = found.setdefault(row["task_id"], {})
        row_id = str(row.get(id_field) or f"{row['task_id']}/{letter}{len(of_task):02}")
        if row_id in of_task:
            raise DataError(f"Line {number} of {path} repeats the {id_field} {row_id}; give each its own.")
        of_task[row_id] = row
    return found


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise DataError(f"Line {number} of {path} is not a JSON object.")
                    yield number, row
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); name an existing JSONL file.") from None
    except ValueError as error:
        raise DataError(f"{path} is not JSONL in UTF-8 ({error}); write one JSON object a line.") from None


def _check(row: dict[str, Any], path: Path) -> Check:
    stdin = row.get("stdin")
    if stdin is None and not (row.get("code") or row.get("call")):
        raise DataError(f"A test of {row['task_id']} in {path} has neither code, call nor stdin; add one.")
    code, call, expected = (str(row.get(field) or "") for field in _TEST_FIELDS)
    if code and not call:
        call, expected = split_assertion(code)
    return Check(
        code, call, expected, None if stdin is None else str(stdin), float(row.get("tolerance") or 0)
    )


def split_assertion(code: str) -> tuple[str, str]:
    """Return call and expected value of ``assert CALL == VALUE``, or two empty texts for any other form."""
    try:
        (statement,) = ast.parse(code).body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return "", ""
    match statement:
        case ast.Assert(test=ast.Compare(left=ast.Call() as call, ops=[ast.Eq()], comparators=[value])):
            return ast.unparse(call), ast.unparse(value)
    return "", ""

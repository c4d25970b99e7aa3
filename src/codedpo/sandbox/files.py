"""Solutions and tests from JSONL files in, the pass matrix as one Parquet table out: ``codedpo exec``."""

import ast
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from codedpo.core.errors import DataError
from codedpo.core.records import Execution
from codedpo.core.tables import write_stream
from codedpo.sandbox.base import Check, Job, Limits, Matrix, Sandbox

SOLUTION_FIELDS = ("code", "solution")
TEST_FIELDS = ("code", "test")
"""The first that a line has: our name, and evalplus' or HumanEval's."""
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Workload:
    """What two files ask for, by task and by the id of each solution and test."""

    programs: dict[str, dict[str, str]]
    checks: dict[str, dict[str, Check]]
    """Also of tasks without a solution, which are not run."""

    @property
    def solutions(self) -> int:
        """How many solutions there are."""
        return sum(map(len, self.programs.values()))

    @property
    def idle_tasks(self) -> list[str]:
        """Tasks that have tests and no solution."""
        return [task for task in self.checks if task not in self.programs]

    def jobs(self, limits: Limits) -> Iterator[Job]:
        """Yield one job a task, in the order of the solutions' file."""
        for task, programs in self.programs.items():
            yield Job(task, tuple(programs.values()), tuple(self.checks[task].values()), limits)


def read_workload(solutions: Path, tests: Path) -> Workload:
    """Read both files, which are JSONL, plain or gzipped.

    Args:
        solutions: lines with ``task_id`` and ``code`` (or evalplus' ``solution``), optionally ``solution_id``
            (default: task and position).
        tests: lines with ``task_id`` and ``code`` (or ``test``; where HumanEval's ``entry_point`` stands beside it,
            ``check(entry_point)`` is appended), or ``call`` and ``expected``, or ``stdin`` and ``expected``;
            optionally ``test_id`` and ``tolerance``. An assertion ``assert f(1) == 2`` in ``code`` alone is judged
            outside the solution's process where its right side is a literal.

    Raises:
        DataError: a file is missing or torn, a line is no JSON object or lacks a field, or a task has no test.
    """
    programs: dict[str, dict[str, str]] = {}
    for place, task, row_id, row in _rows(solutions, "solution_id", "s"):
        programs.setdefault(task, {})[row_id] = _text(row, SOLUTION_FIELDS, place)
    checks: dict[str, dict[str, Check]] = {}
    for place, task, row_id, row in _rows(tests, "test_id", "a"):
        checks.setdefault(task, {})[row_id] = _check(row, place)
    missing = [task for task in programs if task not in checks]
    if missing:
        others = f" (nor have {len(missing) - 1} others)" if len(missing) > 1 else ""
        raise DataError(
            f"The task {missing[0]} of {solutions} has no test in {tests}{others}; add one or drop the task."
        )
    return Workload(programs, checks)


def execute_files(
    sandbox: Sandbox,
    workload: Workload,
    out: Path,
    limits: Limits | None = None,
    finished: Callable[[Matrix], None] | None = None,
) -> dict[str, int]:
    """Run every solution of a task against every test of it; only the tasks at work are held in memory.

    Args:
        sandbox: what runs them.
        workload: what ``read_workload`` read.
        out: the Parquet file, rows as ``core.records.Execution``; it appears when all is done.
        limits: what a solution may use.
        finished: told each task's matrix, in order.

    Returns:
        How many cells have each outcome, the most frequent first.

    Raises:
        DataError: the output cannot be written.
        BackendError: the sandbox cannot run.
    """
    counts: Counter[str] = Counter()

    def rows() -> Iterator[Execution]:
        for matrix in sandbox.run(workload.jobs(limits or Limits())):
            for row in _executions(workload, matrix):
                counts[row.outcome] += 1
                yield row
            if finished:
                finished(matrix)

    write_stream(out, Execution, rows())
    return dict(counts.most_common())


def _executions(workload: Workload, matrix: Matrix) -> Iterator[Execution]:
    task = matrix.job_id
    for solution_id, cells in zip(workload.programs[task], matrix.cells, strict=True):
        for test_id, cell in zip(workload.checks[task], cells, strict=True):
            yield Execution(
                task,
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


def _rows(path: Path, id_field: str, letter: str) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield each line's place in words, its task, its id and its fields."""
    seen: dict[str, set[str]] = {}
    for number, row in _objects(path):
        place = f"Line {number} of {path}"
        task = row.get("task_id")
        if not isinstance(task, str | int) or isinstance(task, bool):
            raise DataError(f"{place} has no text 'task_id'; add the field.")
        of_task = seen.setdefault(str(task), set())
        row_id = str(row[id_field] if row.get(id_field) is not None else f"{task}/{letter}{len(of_task):02}")
        if row_id in of_task:
            raise DataError(f"{place} repeats the {id_field} {row_id}; give each its own.")
        of_task.add(row_id)
        yield place, str(task), row_id, row


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    try:
        with _opened(path) as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise DataError(
                        f"Line {number} of {path} is not JSON in UTF-8 ({error}); write one JSON object a line."
                    ) from None
                if not isinstance(row, dict):
                    raise DataError(f"Line {number} of {path} is not a JSON object; write one a line.")
                try:
                    json.dumps(row, ensure_ascii=False).encode()
                except UnicodeEncodeError:
                    raise DataError(
                        f"Line {number} of {path} holds half a character (a lone surrogate); leave it out."
                    ) from None
                yield number, row
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path} is torn after line {number} ({error}); get or write the file again."
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); name an existing JSONL file.") from None


def _opened(path: Path) -> IO[bytes]:
    """Open a file, through gzip where its first bytes say so, whatever its name."""
    with path.open("rb") as file:
        zipped = file.read(len(_GZIP)) == _GZIP
    return cast("IO[bytes]", gzip.open(path, "rb")) if zipped else path.open("rb")


def _text(row: dict[str, Any], fields: tuple[str, ...], place: str) -> str:
    for field in fields:
        if isinstance(row.get(field), str):
            return str(row[field])
    raise DataError(f"{place} has no text {' or '.join(map(repr, fields))}; add the field.")


def _check(row: dict[str, Any], place: str) -> Check:
    code = "" if all(row.get(field) is None for field in TEST_FIELDS) else _text(row, TEST_FIELDS, place)
    call = "" if row.get("call") is None else _text(row, ("call",), place)
    stdin = None if row.get("stdin") is None else _text(row, ("stdin",), place)
    if stdin is None and not (code or call):
        raise DataError(f"{place} has neither code, test, call nor stdin; add one.")
    if stdin is not None and not isinstance(row.get("expected"), str):
        raise DataError(
            f"{place} has 'stdin' without a text 'expected'; add the output that it should lead to."
        )
    wanted = row.get("expected", "")
    expected = wanted if isinstance(wanted, str) else repr(wanted)
    tolerance = row.get("tolerance") or 0
    if not isinstance(tolerance, int | float):
        raise DataError(f"{place} has a 'tolerance' that is not a number; write one.")
    if code and not call and isinstance(row.get("entry_point"), str) and "def check(" in code:
        code = f"{code}\n\ncheck({row['entry_point']})\n"
    elif code and not call:
        call, expected = split_assertion(code)
    return Check(code, call, expected, stdin, float(tolerance))


def split_assertion(code: str) -> tuple[str, str]:
    """Return call and expected value of ``assert CALL == VALUE``, or two empty texts for any other form."""
    try:
        match ast.parse(code).body:
            case [ast.Assert(test=ast.Compare(left=ast.Call() as call, ops=[ast.Eq()], comparators=[value]))]:
                return ast.unparse(call), ast.unparse(value)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        pass
    return "", ""

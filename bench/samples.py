"""Published samples -> pass matrices with labels, executed once in our sandbox and cached.

CodeT's files: rules of extraction as in the paper's experiments (arXiv 2207.10397): a completion ends at the first
top-level statement after it; of a sample of tests the first five assertions that compile and name the entry point
count. Files of raw replies (``task``, ``kind``, ``text``): the product's own rules. The cache lies in the user's cache
folder, never in the repository.
"""

import ast
import gzip
import hashlib
import json
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedpo.benchmarks.base import Benchmark, Problem
from codedpo.core.cache import cache_folder
from codedpo.core.matrix import NO_CALL, NO_VALUE, PassMatrix
from codedpo.core.records import Outcome, Task, Text
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows
from codedpo.llm.assertions import split
from codedpo.llm.parse import Extraction, extract_code
from codedpo.llm.parse_tests import extract_tests
from codedpo.sandbox.base import Check, Job, Limits, Matrix, Sandbox
from codedpo.stages import stage_path

ENDS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
TESTS_PER_SAMPLE = 5
LIMITS = Limits(cpu_seconds=0.1, timeouts_per_solution=20)
"""CodeT gives 0.1 s to an assertion; right solutions run out of time on absurd inputs of wrong tests."""
VERSION = 1
"""Raised when the cached content would differ for equal inputs."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledTask:
    """Distinct solutions against distinct tests, which samples they stand for, and which are right."""

    matrix: PassMatrix
    solution_of_sample: NDArray[np.int64]
    """[N]: samples repeat programs."""
    test_of_occurrence: NDArray[np.int64]
    """[O]: samples repeat assertions."""
    right: dict[str, NDArray[np.bool_]]
    """Benchmark name -> [S] the solution passes the benchmark's own tests."""
    valid: NDArray[np.bool_]
    """[T]: the published solution passes the test."""

    def sampled(
        self, samples: NDArray[np.int64], occurrences: NDArray[np.int64]
    ) -> tuple[PassMatrix, dict[str, NDArray[np.bool_]]]:
        """Return the matrix of some samples and occurrences of tests, and the labels of those samples."""
        solutions, tests = self.solution_of_sample[samples], self.test_of_occurrence[occurrences]
        return self.matrix.take(solutions, tests), {name: of[solutions] for name, of in self.right.items()}


def until_end(text: str) -> str:
    """Cut a completion before what follows it at top level."""
    for end in ENDS:
        text = text.split(end)[0]
    return text


def assertions(text: str, entry_point: str) -> list[str]:
    """Return the first usable assertions of a sample that continues a prompt ending in ``assert ``."""
    found = []
    for body in text.split("assert "):
        assertion = until_end(f"assert {body}".strip()).strip()
        if entry_point in body and _compiles(assertion):
            found.append(assertion)
    return found[:TESTS_PER_SAMPLE]


def _compiles(code: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(code, "<test>", "exec")
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return False
    return True


def check_of(assertion: str, entry_point: str) -> Check:
    """Turn an assertion into a check, as call against value where it has that form."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        statements = ast.parse(assertion).body
        found = None
        if len(statements) == 1 and isinstance(statements[0], ast.Assert):
            found = split(statements[0].test, entry_point)
    return Check(assertion, *found) if found else Check(assertion)


@dataclass(frozen=True, slots=True)
class Samples:
    """What a model wrote for one task, repetitions included."""

    programs: list[str]
    assertions: list[str]


def _rows(path: Path) -> list[dict[str, Any]]:
    """Read a JSON-lines file, gzipped or not."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def codet_samples(
    solutions_file: Path, tests_file: Path, problems: Mapping[str, Problem]
) -> dict[str, Samples]:
    """Read CodeT's two files: problem id -> samples."""
    solutions, tests = (
        {row["task_id"]: row["samples"] for row in _rows(path)} for path in (solutions_file, tests_file)
    )
    return {
        name: Samples(
            [problems[name].prompt + until_end(text) for text in solutions[name]],
            [one for text in tests[name] for one in assertions(text, problems[name].entry_point)],
        )
        for name in solutions
    }


def run_replies(run: Path) -> Iterator[tuple[str, str, str]]:
    """Yield task, as ``tasks.file`` names it, kind and text of every reply of a run's stage candidates."""
    tasks = read_rows(StageFolder(stage_path(run, "tasks")).parts_of(Task), Task)
    texts = read_rows(StageFolder(stage_path(run, "candidates")).parts_of(Text), Text)
    names = {task.task_id: task.source_id for task in tasks}
    return ((names[text.parent_id], text.kind, text.text) for text in texts)


def file_replies(file: Path) -> Iterator[tuple[str, str, str]]:
    """Yield task, kind and text of every reply of a file."""
    return ((str(row["task"]), row["kind"], row["text"]) for row in _rows(file))


def reply_samples(
    replies: Iterable[tuple[str, str, str]], problems: Mapping[str, Problem]
) -> dict[str, Samples]:
    """Read raw replies as a run of codedpo would: problem id -> samples; a reply without code is no sample.

    Args:
        replies: task (a problem's id or its number), kind (solution or test) and text of each.
        problems: by id.
    """
    by_number = {problem_id.rpartition("/")[2]: problem_id for problem_id in problems}
    found: dict[str, Samples] = {}
    for task, kind, text in replies:
        name = by_number[task.rpartition("/")[2]]
        samples = found.setdefault(name, Samples([], []))
        entry_point = problems[name].entry_point
        if kind == "solution":
            code = extract_code(text, entry_point)
            samples.programs.extend([code.code] if code.outcome is Extraction.FOUND else [])
        else:
            tests = extract_tests(text, entry_point, TESTS_PER_SAMPLE).tests
            samples.assertions.extend(test.code for test in tests)
    return found


def labelled_tasks(
    samples: Mapping[str, Samples], benchmarks: Sequence[Benchmark], sandbox: Sandbox
) -> list[LabelledTask]:
    """Execute every distinct solution against every distinct test, and against the benchmarks; or read the cache.

    Args:
        samples: by problem id, which all benchmarks know.
        benchmarks: whose tests label the solutions.
        sandbox: where everything runs.
    """
    identity = [VERSION, sandbox.identity, str(LIMITS), [type(one).__name__ for one in benchmarks]]
    written = {name: [one.programs, one.assertions] for name, one in samples.items()}
    digest = hashlib.sha256(json.dumps([identity, written]).encode()).hexdigest()
    folder = cache_folder() / "bench" / f"samples-{digest[:16]}"
    problems = [{problem.problem_id: problem for problem in one.problems()} for one in benchmarks]
    folder.mkdir(parents=True, exist_ok=True)
    paths = {task_id: folder / f"{task_id.replace('/', '-')}.npz" for task_id in samples}
    pending = [
        _Pending.of([known[task_id] for known in problems], samples[task_id])
        for task_id, path in paths.items()
        if not path.exists()
    ]
    matrices = sandbox.run(job for one in pending for job in one.jobs(benchmarks))
    start = time.monotonic()
    for number, one in enumerate(pending, start=1):
        arrays = one.arrays(next(matrices), [next(matrices) for _ in benchmarks])
        path = paths[one.problems[0].problem_id]
        with path.with_suffix(".tmp").open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        path.with_suffix(".tmp").replace(path)
        print(f"executed {number} of {len(pending)} tasks, {time.monotonic() - start:.0f} s", flush=True)
    return [_task(task_id, path) for task_id, path in paths.items()]


def _task(task_id: str, path: Path) -> LabelledTask:
    with np.load(path) as file:
        stored = dict(file)
    solutions, tests = stored["passed"].shape
    matrix = PassMatrix(
        task_id=task_id,
        solution_ids=tuple(f"{task_id}/s{row}" for row in range(solutions)),
        test_ids=tuple(f"{task_id}/a{column}" for column in range(tests)),
        **{name: stored[name] for name in ("passed", "loaded", "call_of_test", "values")},
    )
    right = {name.removeprefix("right_"): of for name, of in stored.items() if name.startswith("right_")}
    return LabelledTask(
        matrix, stored["solution_of_sample"], stored["test_of_occurrence"], right, stored["valid"]
    )


def _numbered(items: Iterable[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    seen: dict[str, int] = {}
    numbers = np.array([seen.setdefault(item, len(seen)) for item in items], dtype=np.int64)
    return tuple(seen), numbers


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    """A task whose programs are still to be run."""

    problems: list[Problem]
    """The same problem in every benchmark."""
    programs: tuple[str, ...]
    checks: tuple[Check, ...]
    solution_of_sample: NDArray[np.int64]
    test_of_occurrence: NDArray[np.int64]

    @classmethod
    def of(cls, problems: list[Problem], samples: Samples) -> "_Pending":
        programs, solution_of_sample = _numbered(samples.programs)
        texts, test_of_occurrence = _numbered(samples.assertions)
        checks = tuple(check_of(text, problems[0].entry_point) for text in texts)
        return cls(problems, programs, checks, solution_of_sample, test_of_occurrence)

    def jobs(self, benchmarks: Sequence[Benchmark]) -> Iterator[Job]:
        """Yield the tests against solutions and canonical solution, then each benchmark's own tests."""
        problem = self.problems[0]
        yield Job(problem.problem_id, (*self.programs, problem.canonical_solution), self.checks, LIMITS)
        for benchmark, of_benchmark in zip(benchmarks, self.problems, strict=True):
            yield benchmark.job(of_benchmark, self.programs)

    def arrays(self, cells: Matrix, labels: Sequence[Matrix]) -> dict[str, NDArray[Any]]:
        """Return what is cached of the task."""
        passed = _where(cells, Outcome.PASSED)
        call_of_test, values = _values(cells, self.checks, len(self.programs))
        not_loaded = [_where(label, Outcome.NOT_LOADED).any(axis=1) for label in labels]
        right = {
            f"right_{problem.benchmark}": _where(label, Outcome.PASSED).all(axis=1)
            for problem, label in zip(self.problems, labels, strict=True)
        }
        return {
            "passed": passed[:-1],
            "valid": passed[-1],
            "loaded": ~np.any(not_loaded, axis=0),
            "call_of_test": call_of_test,
            "values": values,
            "solution_of_sample": self.solution_of_sample,
            "test_of_occurrence": self.test_of_occurrence,
            **right,
        }


def _where(matrix: Matrix, outcome: Outcome) -> NDArray[np.bool_]:
    rows = [[cell.outcome is outcome for cell in row] for row in matrix.cells]
    return np.array(rows, dtype=bool).reshape(len(rows), len(rows[0]) if rows else 0)


def _values(
    matrix: Matrix, checks: Sequence[Check], solutions: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    calls: dict[str, int] = {}
    call_of_test = np.array(
        [calls.setdefault(check.call, len(calls)) if check.call else NO_CALL for check in checks],
        dtype=np.int64,
    )
    codes: dict[str, int] = {}
    values = np.full((solutions, len(calls)), NO_VALUE, dtype=np.int64)
    for row in range(solutions):
        for call, cell in zip(call_of_test, matrix.cells[row], strict=True):
            if call != NO_CALL and cell.value_digest and values[row, call] == NO_VALUE:
                values[row, call] = codes.setdefault(cell.value_digest, len(codes))
    return call_of_test, values

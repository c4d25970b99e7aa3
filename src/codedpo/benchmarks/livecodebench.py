"""LiveCodeBench (Jain et al., arXiv 2403.07974): contest problems, judged here by their public tests alone.

AtCoder and Codeforces problems are programs that read standard input; LeetCode problems are a method of a class
``Solution``. As in the official harness, the standard library's common names are imported before an answer, a
tuple counts as the list of its items, and a test has six seconds.
"""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from codedpo.benchmarks.arguments import expression
from codedpo.benchmarks.base import MODULES, Problem
from codedpo.benchmarks.data import HUB, DataFile, find, read_json_lines
from codedpo.sandbox.base import Check, Job, Limits

_HOME = f"{HUB}datasets/livecodebench/code_generation_lite/resolve/0fe84c3912ea0c4d4a78037083943e8f0c4dd505"
_LICENCE = "cc, as its card says; the problems are their contests'"
FIELDS = ("question_id", "question_content", "starter_code", "difficulty", "public_test_cases", "metadata")
"""What is kept of a published row: without its hidden tests, which are a thousand times as large."""
V1 = DataFile(
    path="livecodebench/lcb_v1_400.jsonl",
    sha256="7987a67c450559c974534738ebc75efe94c499cd40eabe6c6bac616f17238104",
    urls=(f"{_HOME}/test.jsonl",),
    megabytes=1253,
    licence=_LICENCE,
    fields=FIELDS,
)
V5_V6 = DataFile(
    path="livecodebench/lcb_v5v6_342.jsonl",
    sha256="d1b58ffb3c09d87074f61c731df7b74e5a5b47309ef26d47353f5aa5438d8c2c",
    urls=(f"{_HOME}/test6.jsonl", f"{_HOME}/test5.jsonl"),
    megabytes=692,
    licence=_LICENCE,
    fields=FIELDS,
)
LIMITS = Limits(cpu_seconds=6.0, memory_mib=1024, timeouts_per_solution=1)
METHOD_CLASS = "Solution"
_NAMED = (
    *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics"),
    *("itertools", "functools", "operator", "io", "sys", "json"),
)
PREAMBLE = "\n".join(
    [
        *(f"from {name} import *" for name in (*_NAMED, "builtins", "typing")),
        *(f"import {name}" for name in _NAMED),
        "sys.setrecursionlimit(50000)",
        "",
    ]
)
"""What an answer finds imported, in the order of the official harness: later names hide earlier ones."""


class LiveCodeBench:
    """742 problems of May 2023 to March 2024 (release 1) and of September 2024 to April 2025 (releases 5 and 6)."""

    modules: tuple[str, ...] = MODULES
    data_files: tuple[DataFile, ...] = (V1, V5_V6)

    def __init__(self, data_folder: Path | str = "") -> None:
        self._data_folder = data_folder

    def problems(self) -> tuple[Problem, ...]:
        """Return the problems; no solution was published."""
        return tuple(
            _problem(row)
            for file in self.data_files
            for row in read_json_lines(find(file, self._data_folder))
        )

    def request(self, problem: Problem) -> str:
        """Return the message of a chat model."""
        if problem.entry_point:
            question, _, starter = problem.prompt.rpartition("\n\n")
            return (
                "Write a correct Python program that solves the following problem.\n\n"
                f"{question}\n\nComplete this class, in one Markdown block:\n```python\n{starter.rstrip()}\n```"
            )
        return (
            "Write a correct Python program that solves the following problem.\n\n"
            f"{problem.prompt}\n\nRead the input from standard input and write the answer to standard output. "
            "Answer with the whole program in one Markdown block."
        )

    def job(self, problem: Problem, codes: Sequence[str]) -> Job:
        """Return the job; every public test is one check."""
        programs = tuple(_program(problem, code) for code in codes)
        return Job(problem.problem_id, programs, checks(problem), LIMITS)


def _problem(row: dict[str, Any]) -> Problem:
    prompt, method = row["question_content"].strip(), json.loads(row["metadata"]).get("func_name", "")
    tests = [
        {"method": method, "input": test["input"], "output": test["output"]}
        for test in json.loads(row["public_test_cases"])
    ]
    return Problem(
        benchmark="livecodebench",
        problem_id=row["question_id"],
        prompt=f"{prompt}\n\n{row['starter_code'].rstrip()}" if method else prompt,
        entry_point=METHOD_CLASS if method else "",
        canonical_solution="",
        test=json.dumps(tests),
        group=row["difficulty"],
        method=method,
    )


@cache
def checks(problem: Problem) -> tuple[Check, ...]:
    """Return one check a public test: a call of the method, or a run of the program."""
    found = []
    for test in json.loads(problem.test):
        if not test["method"]:
            found.append(Check(stdin=test["input"], expected=test["output"]))
            continue
        values = ", ".join(expression(json.loads(line)) for line in test["input"].split("\n"))
        call = f"{METHOD_CLASS}().{test['method']}({values})"
        found.append(
            Check(
                call=f"(lambda value: list(value) if isinstance(value, tuple) else value)({call})",
                expected=expression(json.loads(test["output"])),
            )
        )
    return tuple(found)


def _program(problem: Problem, code: str) -> str:
    """Return the program to run; a bare function in the place of the class's method is taken too."""
    if problem.entry_point and f"class {METHOD_CLASS}" not in code:
        code += f"\n\nclass {METHOD_CLASS}:\n    {problem.method} = staticmethod({problem.method})\n"
    return PREAMBLE + code

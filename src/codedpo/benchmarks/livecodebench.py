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
from codedpo.benchmarks.data import DataFile, find, read_json_lines
from codedpo.sandbox.base import Check, Job, Limits

_HOME = "the datasets livecodebench/code_generation and livecodebench/code_generation_lite (public tests)"
V1 = DataFile(
    "livecodebench/lcb_v1_400.jsonl.gz",
    "679d9357a00dd2823eced0d73a8c69ff20d679fb9726cf792928e0960da37ca9",
    _HOME,
)
V5_V6 = DataFile(
    "livecodebench/lcb_v5v6_342.jsonl.gz",
    "7c3323309dc1425daf12f07ca3335d799052db9847d8929a0126d69a58c19c59",
    _HOME,
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

    def __init__(self, data_folder: Path | str = "") -> None:
        self._data_folder = data_folder

    def problems(self) -> tuple[Problem, ...]:
        """Return the problems; no solution was published."""
        return tuple(
            _problem(row) for file in (V1, V5_V6) for row in read_json_lines(find(file, self._data_folder))
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

"""MBPP (Austin et al., arXiv 2108.07732): one-sentence tasks with three assertions each. CC-BY-4.0."""

import ast
import builtins
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from codedpo.benchmarks.assertions import names_in, parse, split
from codedpo.benchmarks.base import MODULES, Problem
from codedpo.benchmarks.data import DataFile, find, read_json, read_json_lines
from codedpo.sandbox.base import Check, Job, Limits

_HOME = "https://raw.githubusercontent.com/google-research/google-research/f82046ba5aabbbb427dbfd38a254d26bff08b533/mbpp"
SANITIZED = DataFile(
    path="mbpp/sanitized-mbpp.json",
    sha256="ca95deaa9a01ef0a6f439f88bcf0dd3db3563d22f22aad6cae04ebb9a8d8c8e9",
    urls=(f"{_HOME}/sanitized-mbpp.json",),
    megabytes=0.3,
    licence="CC-BY-4.0",
)
FULL = DataFile(
    path="mbpp/mbpp.jsonl",
    sha256="ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f",
    urls=(f"{_HOME}/mbpp.jsonl",),
    megabytes=0.6,
    licence="CC-BY-4.0",
)
LIMITS = Limits(cpu_seconds=10.0)
"""The canonical solution of Mbpp/123 takes 3 to 6 s of CPU time."""


class Mbpp:
    """The 427 problems whose wording and tests were checked by hand."""

    modules: tuple[str, ...] = MODULES
    data_files: tuple[DataFile, ...] = (SANITIZED,)

    def __init__(self, data_folder: Path | str = "") -> None:
        self._data_folder = data_folder

    def problems(self) -> tuple[Problem, ...]:
        """Return the problems."""
        rows = read_json(find(SANITIZED, self._data_folder))
        return tuple(_problem("mbpp", row, row["prompt"], row["test_imports"]) for row in rows)

    def request(self, problem: Problem) -> str:
        """Return the message of a chat model: the sentence and all assertions, as in the paper."""
        tests = "\n".join(line for line in problem.test.splitlines() if line.startswith("assert"))
        return (
            "You are an expert Python programmer, and here is your task: "
            f"{problem.prompt} Your code should pass these tests:\n\n{tests}\n\n"
            "Answer with the whole program in one Markdown block."
        )

    def job(self, problem: Problem, codes: Sequence[str]) -> Job:
        """Return the job; every published assertion is one check."""
        return Job(problem.problem_id, tuple(codes), checks(problem), LIMITS)


class MbppFull(Mbpp):
    """All 974 problems, unchecked: what the training data has to be kept apart from."""

    data_files = (FULL,)

    def problems(self) -> tuple[Problem, ...]:
        """Return the problems."""
        rows = read_json_lines(find(FULL, self._data_folder))
        return tuple(
            _problem("mbpp_full", row, row["text"], row["test_setup_code"].splitlines()) for row in rows
        )


def _problem(benchmark: str, row: dict[str, Any], prompt: str, setup: list[str]) -> Problem:
    code = row["code"].replace("\r\n", "\n")
    return Problem(
        benchmark=benchmark,
        problem_id=f"Mbpp/{row['task_id']}",
        prompt=prompt,
        entry_point=entry_point_of(code, row["test_list"]),
        canonical_solution=code,
        test="\n".join([*setup, *(test.strip() for test in row["test_list"])]),
    )


def entry_point_of(code: str, tests: Sequence[str]) -> str:
    """Return the function of ``code`` that the first test calls, empty where it calls none."""
    defined = {node.name for node in parse(code).body if isinstance(node, ast.FunctionDef)}
    calls = [node for node in ast.walk(parse(tests[0].strip())) if isinstance(node, ast.Call)]
    names = [node.func.id for node in calls if isinstance(node.func, ast.Name) and node.func.id in defined]
    return names[0] if names else ""


@cache
def checks(problem: Problem) -> tuple[Check, ...]:
    """Turn the assertions into checks; other statements (imports, set-up) come before each that runs whole."""
    setup: list[ast.stmt] = []
    found: list[Check] = []
    for statement in parse(problem.test).body:
        if not isinstance(statement, ast.Assert):
            setup.append(statement)
            continue
        allowed = set(dir(builtins))
        check = split(statement, problem.entry_point, allowed) if problem.entry_point else None
        if check is None:
            needed = setup if names_in(statement) - allowed - {problem.entry_point} else []
            check = Check(code="\n".join(ast.unparse(node) for node in [*needed, statement]))
        found.append(check)
    return tuple(found)

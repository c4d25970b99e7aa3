"""Compare every ranking strategy on published samples with known labels.

    python -m bench.rankings --solutions FILE --tests FILE [--budget 15x15] [--draws 20]
    python -m bench.rankings --replies FILE --benchmark mbpp
    python -m bench.rankings --run RUN --benchmark mbppplus

Files are CodeT's (``task_id``, ``samples``), or one of raw replies (``task``, ``kind``, ``text``); a run is one with
``tasks.file`` (``bench.mbpp_tasks``). The tests of the benchmark label the solutions. Every program runs in our
sandbox, once, and the matrices are cached in the user's cache folder. The last line is one JSON object, with shares
between 0 and 1.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.rank_metrics import TaskResult, calibration_error, judge, precision_at, tie_groups
from bench.samples import (
    LabelledTask,
    codet_samples,
    file_replies,
    labelled_tasks,
    reply_samples,
    run_replies,
)
from codedpo.benchmarks import load_benchmark
from codedpo.core.behaviour import value_shares
from codedpo.core.matrix import PassMatrix
from codedpo.core.registry import load
from codedpo.core.rng import stream
from codedpo.evaluation.metrics import bootstrap_interval
from codedpo.rankings.registry import STRATEGIES
from codedpo.rankings.scores import Scores
from codedpo.sandbox.local import LocalSandbox

OURS = "consensus"
YIELDS = (0.5, 0.25, 0.1)
THRESHOLDS = (0.0, 0.2, 0.4, 0.6)
VALIDITIES = (0.33, 0.5, 0.6, 0.7, 0.85, 0.95)
"""Target shares of valid tests in the curve."""

Rank = Callable[[PassMatrix], Scores]
Sample = tuple[PassMatrix, dict[str, NDArray[np.bool_]]]
Results = dict[str, list[list[TaskResult]]]
"""Strategy -> task -> draw."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of the published samples a strategy sees; 0: all."""

    solutions: int
    tests: int

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Read ``15x15``."""
        solutions, _, tests = text.partition("x")
        return cls(int(solutions), int(tests))

    def __str__(self) -> str:
        return f"{self.solutions}x{self.tests}" if self.solutions else "full"


def strategies(names: Sequence[str] = ()) -> dict[str, Rank]:
    """Load the built-in strategies with their default options."""
    return {kind: load(STRATEGIES, kind, what="ranking strategy") for kind in names or STRATEGIES}


def draw(task: LabelledTask, budget: Budget, number: int, seed: int = 0) -> Sample:
    """Return one seeded subsample of a task, the same for every strategy."""
    samples, occurrences = np.arange(len(task.solution_of_sample)), np.arange(len(task.test_of_occurrence))
    if budget.solutions:
        random = stream(seed, "bench.rankings", task.matrix.task_id, str(budget), number)
        samples = random.permutation(samples)[: budget.solutions]
        occurrences = random.permutation(occurrences)[: budget.tests]
    return task.sampled(samples, occurrences)


def draw_with_validity(
    task: LabelledTask, budget: Budget, validity: float, number: int, seed: int = 0
) -> Sample:
    """Return a subsample whose tests are valid with probability ``validity``, as far as there are such tests."""
    random = stream(seed, "bench.rankings", "validity", task.matrix.task_id, str(validity), number)
    samples = random.permutation(len(task.solution_of_sample))[: budget.solutions]
    is_valid = task.valid[task.test_of_occurrence]
    valid, invalid = (random.permutation(np.flatnonzero(which)) for which in (is_valid, ~is_valid))
    wanted = int(random.binomial(budget.tests, validity))
    wanted = max(min(wanted, len(valid)), budget.tests - len(invalid))
    return task.sampled(samples, np.concatenate([valid[:wanted], invalid[: budget.tests - wanted]]))


def evaluate(ranks: Mapping[str, Rank], samples: Sequence[Sequence[Sample]], label: str) -> Results:
    """Judge every strategy on every draw [task][draw]."""
    return {
        name: [[_judged(rank, matrix, right[label]) for matrix, right in draws] for draws in samples]
        for name, rank in ranks.items()
    }


def _judged(rank: Rank, matrix: PassMatrix, right: NDArray[np.bool_]) -> TaskResult:
    scores = rank(matrix)
    usable = np.flatnonzero(matrix.loaded)
    if not len(usable):
        return judge(scores.solutions, right, matrix.loaded, 0.0)
    groups = tie_groups(scores.solutions[usable])
    top, bottom = usable[groups[0]], usable[groups[-1]]
    if scores.probabilities is not None:
        confidence = scores.probabilities[top].mean() * (1 - scores.probabilities[bottom].mean())
    else:
        shares = value_shares(matrix.values)[top]
        confidence = shares.mean() if shares.size else 0.0
    return judge(scores.solutions, right, matrix.loaded, float(confidence))


def mean(results: Sequence[Sequence[TaskResult]], of: Callable[[TaskResult], float]) -> float:
    """Return the mean over tasks of the mean over draws, leaving out what is not defined."""
    return float(np.nanmean(per_task(results, of)))


def per_task(
    results: Sequence[Sequence[TaskResult]], of: Callable[[TaskResult], float]
) -> NDArray[np.float64]:
    """Return [tasks] means over draws; nan where no draw defines the figure."""
    values = [[of(one) for one in draws] for draws in results]
    return np.array(
        [np.nanmean(row) if not np.isnan(row).all() else np.nan for row in values], dtype=np.float64
    )


def summary(results: Sequence[Sequence[TaskResult]]) -> dict[str, float]:
    """Return every figure of one strategy, pair precision over all pairs of all draws."""
    pairs = [one for draws in results for one in draws if one.has_pair]
    by_draw = list(zip(*results, strict=True))
    figures = {f"pass@{k}": mean(results, lambda one, k=k: one.pass_at[k]) for k in (1, 2, 10)}  # type: ignore[misc]
    figures["coverage"] = mean(results, lambda one: float(one.has_pair))
    figures["chosen_right"] = float(np.mean([one.chosen_right for one in pairs])) if pairs else float("nan")
    figures["pair_precision"] = float(np.mean([one.pair_right for one in pairs])) if pairs else float("nan")
    for share in YIELDS:
        at = [precision_at(list(draw_results), share) for draw_results in by_draw]
        figures[f"pair_precision_at_{round(share * 100)}"] = float(np.nanmean(at)) if pairs else float("nan")
    figures["area"] = mean(results, lambda one: one.area)
    if pairs:
        confidence = np.array([one.confidence for one in pairs])
        figures["calibration_error"] = calibration_error(
            confidence, np.array([one.pair_right for one in pairs])
        )
    return figures


def difference(
    first: Sequence[Sequence[TaskResult]], second: Sequence[Sequence[TaskResult]], name: str
) -> tuple[float, float, float]:
    """Return the paired difference of pass@1 with its 95% bootstrap interval over tasks."""
    values = per_task(first, _pass_at_1) - per_task(second, _pass_at_1)
    low, high = bootstrap_interval(list(values), stream(0, "bench.rankings", "bootstrap", name))
    return float(values.mean()), low, high


def _pass_at_1(one: TaskResult) -> float:
    return one.pass_at[1]


def print_table(title: str, table: Mapping[str, Mapping[str, float]]) -> None:
    """Print one row a strategy, figures in percent."""
    columns = list(next(iter(table.values())))
    width = max(map(len, table))
    print(f"\n{title}")
    short = {"pair_precision": "pair", "chosen_right": "chosen", "calibration_error": "cal.err"}
    heads = [short.get(name, name.replace("pair_precision_at_", "pair@")) for name in columns]
    print(" " * width, *(f"{head:>8}" for head in heads))
    for name, figures in table.items():
        cells = (f"{100 * figures.get(column, float('nan')):8.1f}" for column in columns)
        print(f"{name:<{width}}", *cells)


def print_differences(results: Results, ours: str, rivals: Sequence[str]) -> None:
    """Print paired differences of pass@1."""
    for rival in rivals:
        value, low, high = difference(results[ours], results[rival], rival)
        print(f"  {ours} - {rival}: {100 * value:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]")


def print_thresholds(results: Sequence[Sequence[TaskResult]]) -> None:
    """Print yield and precision of the pairs that ``pairs.least_probability`` would leave."""
    total = sum(len(draws) for draws in results)
    for least in THRESHOLDS:
        kept = [one for draws in results for one in draws if one.has_pair and one.confidence >= least]
        if kept:
            believed, right = (
                100 * float(np.mean([getattr(one, name) for one in kept]))
                for name in ("confidence", "pair_right")
            )
            print(
                f"  least probability {least:.1f}: pairs of {100 * len(kept) / total:.0f}% of the tasks, "
                f"{believed:.0f}% believed right, {right:.0f}% right"
            )


def curve(
    ranks: Mapping[str, Rank], tasks: Sequence[LabelledTask], budget: Budget, draws: int, label: str
) -> None:
    """Print pass@1 against the share of valid tests, and our paired difference from each rival."""
    usable = [
        task
        for task in tasks
        if (valid := task.valid[task.test_of_occurrence]).sum() >= 5
        and (~valid).sum() >= 5
        and len(valid) >= budget.tests
    ]
    print(
        f"\npass@1 over test validity, {budget}, {len(usable)} tasks with at least 5 valid and 5 invalid tests"
    )
    rivals = [name for name in ranks if name not in (OURS, "random")]
    differences: dict[str, NDArray[np.float64]] = {}
    for validity in VALIDITIES:
        samples = [[draw_with_validity(task, budget, validity, n) for n in range(draws)] for task in usable]
        results = evaluate(ranks, samples, label)
        row = "  ".join(f"{name} {100 * mean(of, _pass_at_1):.1f}" for name, of in results.items())
        print(f"target {validity:.2f}: {row}")
        if OURS in ranks:
            print_differences(results, OURS, rivals)
            ours = per_task(results[OURS], _pass_at_1)
            differences |= {
                f"{rival} at {validity:.2f}": ours - per_task(results[rival], _pass_at_1) for rival in rivals
            }
    if differences:
        _print_all_at_once(differences)


def simultaneous_intervals(values: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """Return intervals [comparisons, 2] for means over tasks that all hold at once with 95% probability.

    Of many comparisons some exclude 0 by chance if each has its own interval. The width comes from the bootstrap
    distribution over tasks of the largest standardised deviation (max-t; Westfall and Young 1993).

    Args:
        values: Differences [tasks, comparisons].
        seed: Of the bootstrap.
    """
    random = stream(seed, "bench.rankings", "simultaneous")
    means = values.mean(axis=0)
    resampled = np.array(
        [values[random.integers(0, len(values), len(values))].mean(axis=0) for _ in range(2000)]
    )
    errors = resampled.std(axis=0)
    deviations = np.abs(resampled - means) / np.where(errors > 0, errors, np.inf)
    width = float(np.quantile(deviations.max(axis=1), 0.95)) * errors
    return np.stack([means - width, means + width], axis=1)


def _print_all_at_once(differences: Mapping[str, NDArray[np.float64]]) -> None:
    """Say where ours is behind a rival, with intervals that hold for the whole curve at once."""
    intervals = 100 * simultaneous_intervals(np.stack(list(differences.values()), axis=1))
    behind = [
        f"{name} [{low:+.1f}, {high:+.1f}]"
        for name, (low, high) in zip(differences, intervals, strict=True)
        if high < 0
    ]
    ahead = sum(low > 0 for low, _ in intervals)
    print(
        f"of {len(intervals)} comparisons at once (95% for all together) {OURS} is ahead in {ahead}, "
        f"behind in {len(behind)}{': ' if behind else ''}{', '.join(behind)}"
    )
    lowest = min(differences, key=lambda name: float(differences[name].mean()))
    low, high = intervals[list(differences).index(lowest)]
    print(f"  least: {lowest} {100 * differences[lowest].mean():+.1f} points [{low:+.1f}, {high:+.1f}]")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser).add_argument("--half", choices=("all", "tuning", "reporting"), default="all")
    options = parser.parse_args(arguments)
    tasks = [one for one in load_tasks(options) if in_half(one.matrix.task_id, options.half)]
    labels = list(tasks[0].right)
    print(description(tasks, labels[0]))
    ranks = strategies()
    output: dict[str, Any] = {"ours": OURS}
    for budget, draws in ((Budget(0, 0), 1), (Budget.parse(options.budget), options.draws)):
        samples = [[draw(task, budget, number) for number in range(draws)] for task in tasks]
        for label in labels:
            results = evaluate(ranks, samples, label)
            table = {name: summary(of) for name, of in results.items()}
            print_table(f"{budget}, {draws} draws, labels of {label}", table)
            if OURS in ranks:
                print_differences(results, OURS, [name for name in ranks if name != OURS])
                print_thresholds(results[OURS])
            if label == labels[0]:
                output[str(budget)] = {name: _finite(figures) for name, figures in table.items()}
    curve(ranks, tasks, Budget.parse(options.budget), options.draws, labels[0])
    print(json.dumps(output))


def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the options that name samples, budget and draws."""
    parser.add_argument("--solutions", type=Path, help="CodeT's code solutions (JSON lines)")
    parser.add_argument("--tests", type=Path, help="CodeT's test cases (JSON lines)")
    parser.add_argument("--replies", type=Path, help="raw replies instead (JSON lines)")
    parser.add_argument("--run", type=Path, help="the replies of a run's stage candidates instead (folder)")
    parser.add_argument("--benchmark", default="humaneval", help="what labels the solutions")
    parser.add_argument("--budget", default="15x15", help="solutions x tests of a subsample")
    parser.add_argument("--draws", type=int, default=20, help="subsamples of every task")
    parser.add_argument("--data-folder", default=os.environ.get("CODEDPO_DATA_DIR", ""))
    return parser


def description(tasks: Sequence[LabelledTask], label: str) -> str:
    """Say what the samples are like."""
    with_programs = [task for task in tasks if len(task.solution_of_sample)]
    right = np.mean([task.right[label][task.solution_of_sample].mean() for task in with_programs])
    with_tests = [task for task in tasks if len(task.test_of_occurrence)]
    valid = np.mean([task.valid[task.test_of_occurrence].mean() for task in with_tests])
    return f"{len(tasks)} tasks, {right:.1%} of the solutions right, {valid:.1%} of the tests valid"


def in_half(task_id: str, half: str) -> bool:
    """Constants are chosen on tasks whose number is divisible by 4 and reported on the other even tasks."""
    number = int(task_id.rpartition("/")[2])
    return half == "all" or (number % 4 == 0) == (half == "tuning")


def load_tasks(options: argparse.Namespace) -> list[LabelledTask]:
    """Execute or read the labelled tasks."""
    benchmark = load_benchmark(options.benchmark, options.data_folder)
    problems = {problem.problem_id: problem for problem in benchmark.problems()}
    if options.run or options.replies:
        replies = run_replies(options.run) if options.run else file_replies(options.replies)
        samples = reply_samples(replies, problems)
    elif options.solutions and options.tests:
        samples = codet_samples(options.solutions, options.tests, problems)
    else:
        sys.exit("name --solutions and --tests, --replies, or --run")
    with LocalSandbox() as sandbox:
        return labelled_tasks(samples, [benchmark], sandbox)


def _finite(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: round(value, 4) if np.isfinite(value) else None for name, value in figures.items()}


if __name__ == "__main__":
    main()

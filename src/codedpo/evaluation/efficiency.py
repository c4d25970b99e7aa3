"""How much less CPU time the right answers of one model take than another's.

The paper (arXiv 2410.05605, its efficiency results) runs the answers to HumanEval+ and MBPP+ problems that both
models solve, repeatedly, and reports the mean speed-up and the share of answers that are at least 10% faster. Here
CPU time stands for run time, both answers are timed in turn on one processor (``Sandbox.time``), and an answer is
called faster only where the interval of its ratio leaves no doubt.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codedpo.benchmarks.base import Benchmark, Problem
from codedpo.core.progress import Voice
from codedpo.core.records import Metric, Outcome, Sample, Speed, SpeedFigure
from codedpo.core.rng import stream
from codedpo.evaluation.metrics import bootstrap_interval, wilson_interval
from codedpo.evaluation.scoring import DIFFERENCE
from codedpo.sandbox.base import Job, Matrix, Sandbox, TimingJob
from codedpo.sandbox.timing import FASTER_BY, Comparison, compare

EXPERIMENTS = 5
"""Times that all problems are measured, one after another, in fresh processes."""
REPEATS = 5
"""Samples of each answer in one experiment."""
SECONDS_OF_A_PASS = 0.1
"""CPU time that one pass of the slower answer over the inputs may take; the longest inputs that fit are kept."""
LOAD = "exec(_answer, globals())"


@dataclass(frozen=True, slots=True)
class Race:
    """Right answers of two models to one problem."""

    problem: Problem
    before: Sample
    after: Sample

    def row(self, note: str, inputs: int = 0, left_out: int = 0) -> Speed:
        """Return the row of a race that was not timed, or not yet."""
        ratio = 1.0 if note == "same_program" else 0.0
        names = self.before.sample_id, self.after.sample_id
        name = self.before.benchmark, self.problem.problem_id
        return Speed(*name, *names, inputs, left_out, [], [], ratio, ratio, ratio, note)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A race and what is timed of it."""

    race: Race
    job: Job
    calls: tuple[str, ...]
    left_out: int


def races(
    samples: Sequence[Sample], problems: Sequence[Problem], benchmark: str, before: str, after: str
) -> list[Race]:
    """Return the problems of one benchmark that both models solve, with the first right answer of each."""
    right: dict[tuple[str, str], Sample] = {}
    for sample in samples:
        if sample.benchmark == benchmark and sample.outcome == Outcome.PASSED.value:
            right.setdefault((sample.model, sample.problem_id), sample)
    return [
        Race(problem, right[before, problem.problem_id], right[after, problem.problem_id])
        for problem in problems
        if (before, problem.problem_id) in right and (after, problem.problem_id) in right
    ]


def calls_of(problem: Problem, job: Job) -> list[str]:
    """Return the call of every check of a problem's job; empty where a check has none."""
    inputs = problem.base_inputs + problem.plus_inputs
    if inputs:
        return [f"{problem.entry_point}({values})" for values in inputs]
    return [check.call for check in job.checks]


def program_to_time(code: str) -> str:
    """Return a program that holds an answer ready to be loaded by ``LOAD``.

    Every pass over the inputs loads the answer anew, so that what it remembers of one pass (``lru_cache``) makes
    the next one no faster.
    """
    return f"_answer = compile({code!r}, '<solution>', 'exec', dont_inherit=True)\n{LOAD}\n"


def longest_within(times: Sequence[Sequence[int]], budget_ns: float) -> list[int]:
    """Choose inputs, longest first, as long as one pass stays within a budget.

    Args:
        times: CPU nanoseconds ``times[answer][input]``.
        budget_ns: what a pass may take, by the slower answer of each input.

    Returns:
        Positions of the chosen inputs, rising; all of them where they fit.
    """
    slower = [max(of_one) for of_one in zip(*times, strict=True)]
    chosen, left = [], budget_ns
    for position in sorted(range(len(slower)), key=lambda position: -slower[position]):
        if slower[position] <= left:
            chosen.append(position)
            left -= slower[position]
    return sorted(chosen)


def prepare(sandbox: Sandbox, benchmark: Benchmark, entered: Sequence[Race]) -> list[Prepared | Speed]:
    """Run the answers once more, and choose the inputs by the time that they take.

    Returns:
        For each race what is to be timed, or the row that says why nothing is.
    """
    jobs = {
        number: benchmark.job(race.problem, [race.before.solution, race.after.solution])
        for number, race in enumerate(entered)
        if race.before.solution != race.after.solution
    }
    matrices = dict(zip(jobs, sandbox.run(jobs.values()), strict=True))
    return [
        _prepared(race, jobs[number], matrices[number]) if number in jobs else race.row("same_program")
        for number, race in enumerate(entered)
    ]


def _prepared(race: Race, job: Job, matrix: Matrix) -> Prepared | Speed:
    texts = calls_of(race.problem, job)
    known = [position for position, text in enumerate(texts) if text]
    if not known:
        return race.row("no_call")
    if not all(cell.outcome is Outcome.PASSED for row in matrix.cells for cell in row):
        return race.row("not_passed_again")
    times = [[row[position].cpu_ns for position in known] for row in matrix.cells]
    chosen = longest_within(times, SECONDS_OF_A_PASS * 1e9)
    if not chosen:
        return race.row("too_slow", left_out=len(known))
    calls = tuple(texts[known[position]] for position in chosen)
    return Prepared(race, job, calls, len(known) - len(chosen))


def measure(sandbox: Sandbox, benchmark: Benchmark, entered: Sequence[Race], voice: Voice) -> list[Speed]:
    """Time both answers of every race in turn, all races ``EXPERIMENTS`` times; return one row a race, in order."""
    prepared = prepare(sandbox, benchmark, entered)
    timed = [one for one in prepared if isinstance(one, Prepared)]
    taken: list[tuple[list[float], list[float]]] = [([], []) for _ in timed]
    with voice.progress("evaluation: CPU time", len(timed) * EXPERIMENTS) as advance:
        for experiment in range(EXPERIMENTS):
            jobs = (_timing_job(one, experiment) for one in timed)
            for sides_of_one, result in zip(taken, sandbox.time(jobs), strict=True):
                sides = result.samples_ns[::-1] if experiment % 2 else result.samples_ns
                for of_one, more in zip(sides_of_one, sides, strict=True):
                    of_one.extend(more)
                advance(1)
    measured = map(_row, timed, taken)
    return [one if isinstance(one, Speed) else next(measured) for one in prepared]


def _timing_job(one: Prepared, experiment: int) -> TimingJob:
    """Time the answer before first in even experiments, the other one in odd ones."""
    programs = [program_to_time(code) for code in one.job.solutions]
    programs = programs[::-1] if experiment % 2 else programs
    calls = (LOAD, *one.calls)
    return TimingJob(one.job.job_id, tuple(programs), calls, repeats=REPEATS, limits=one.job.limits)


def _row(one: Prepared, taken: tuple[list[float], list[float]]) -> Speed:
    before, after = taken
    if not len(before) == len(after) == EXPERIMENTS * REPEATS:
        return one.race.row("unfinished", len(one.calls), one.left_out)
    found = compare(before, after)
    return Speed(
        one.race.before.benchmark,
        one.race.problem.problem_id,
        one.race.before.sample_id,
        one.race.after.sample_id,
        len(one.calls),
        one.left_out,
        before,
        after,
        found.ratio,
        found.low,
        found.high,
        "",
    )


def experiments_of(row: Speed) -> list[Comparison]:
    """Return the comparison of each experiment by itself; equal programs are equal in all."""
    if not row.before_ns:
        return [Comparison(row.ratio, row.low, row.high, 0)] * EXPERIMENTS
    starts = range(0, len(row.before_ns), REPEATS)
    return [
        compare(row.before_ns[start : start + REPEATS], row.after_ns[start : start + REPEATS])
        for start in starts
    ]


def figures_of(rows: Sequence[Speed], seed: int) -> Iterator[Metric]:
    """Yield the figures of each benchmark over the problems that have a ratio.

    Intervals are over problems (bootstrap, Wilson's for shares); those of the figures "by experiment" are the least
    and the greatest of the experiments.
    """
    for benchmark in dict.fromkeys(row.benchmark for row in rows):
        own = [row for row in rows if row.benchmark == benchmark and row.ratio]
        if own:
            yield from _figures(benchmark, own, seed)


def _geometric_mean(values: Any, axis: int | None = None) -> Any:
    return np.exp(np.mean(np.log(values), axis=axis))


def _figures(benchmark: str, rows: Sequence[Speed], seed: int) -> Iterator[Metric]:
    def figure(name: SpeedFigure, value: float, low: float, high: float, count: int = len(rows)) -> Metric:
        return Metric(DIFFERENCE, benchmark, name.value, value, low, high, count)

    ratios = [row.ratio for row in rows]
    statistics = (
        (SpeedFigure.MEAN, np.mean),
        (SpeedFigure.MEDIAN, np.median),
        (SpeedFigure.GEOMETRIC, _geometric_mean),
    )
    for name, statistic in statistics:
        random = stream(seed, "evaluation", benchmark, name.value, DIFFERENCE)
        yield figure(name, float(statistic(ratios)), *bootstrap_interval(ratios, random, statistic))
    shares: Mapping[SpeedFigure, list[bool]] = {
        SpeedFigure.FASTER: [row.low >= FASTER_BY for row in rows],
        SpeedFigure.SLOWER: [row.high <= 1 / FASTER_BY for row in rows],
    }
    for name, hits in shares.items():
        yield figure(name, sum(hits) / len(hits), *wilson_interval(sum(hits), len(hits)))
    by_experiment = list(zip(*map(experiments_of, rows), strict=True))
    means = [float(np.mean([one.ratio for one in found])) for found in by_experiment]
    faster = [float(np.mean([one.is_faster for one in found])) for found in by_experiment]
    for name, values in (
        (SpeedFigure.MEAN_BY_EXPERIMENT, means),
        (SpeedFigure.FASTER_BY_EXPERIMENT, faster),
    ):
        yield figure(name, float(np.median(values)), min(values), max(values), len(values))

"""Measure the comparable solutions of tasks on the calls of its credible tests, or on what is grown from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from codedpo.core.progress import Voice
from codedpo.core.records import Timing
from codedpo.pairs.credible import comparable_solutions, credible_tests
from codedpo.pairs.scored import Scored
from codedpo.pairs.slow_inputs import GrownCall, GrowthRule, slow_calls
from codedpo.sandbox.base import Limits, Sandbox, TimingJob


@dataclass(frozen=True, slots=True)
class TimingRule:
    """How the solutions of a task are timed."""

    limits: Limits
    repeats: int
    """Of each solution."""
    decisive_repeats: int
    """Of the fastest and the slowest, for the claim."""
    growth: GrowthRule


def timing_job(
    task: Scored, calls: Mapping[str, str], limits: Limits, repeats: int
) -> tuple[list[str], TimingJob] | str:
    """Return the solutions to time, one for each distinct code, and the job that times them.

    Args:
        task: the task.
        calls: test id -> call; tests of another form cannot be timed.
        limits: what a solution may use.
        repeats: measurements of each solution.

    Returns:
        Ids and job, or ``no_timed_call`` (no credible test has a call) or ``too_few_comparable`` (fewer than two
        different programs pass all credible tests).
    """
    credible = np.flatnonzero(credible_tests(task.matrix, task.best))
    distinct_calls = dict.fromkeys(calls[task.matrix.test_ids[test]] for test in credible)
    distinct_calls.pop("", None)
    if not distinct_calls:
        return "no_timed_call"
    solution_of_code: dict[str, str] = {}
    for solution in np.flatnonzero(comparable_solutions(task.matrix, task.best)):
        solution_of_code.setdefault(task.codes[solution], task.matrix.solution_ids[solution])
    if len(solution_of_code) < 2:
        return "too_few_comparable"
    job = TimingJob(
        task.task_id, tuple(solution_of_code), tuple(distinct_calls), repeats=repeats, limits=limits
    )
    return list(solution_of_code.values()), job


def measure(
    tasks: Sequence[Scored],
    calls: Mapping[str, str],
    sandbox: Sandbox,
    rule: TimingRule,
    voice: Voice,
) -> list[list[Timing] | str]:
    """Time all comparable solutions of each task, then its fastest and slowest again, alone and with more repeats.

    They are timed on grown inputs where there are any, else on the calls of the credible tests.

    The second measurement replaces the first: extremes of many noisy measurements look further apart than they
    are, so the claim must rest on samples that did not select it.

    Args:
        tasks: the tasks.
        calls: test id -> call; tests of another form cannot be timed.
        sandbox: what runs and times the solutions.
        rule: how they are timed.
        voice: shows how many are done.

    Returns:
        For each task one row for each solution that finished, or the reason why none was timed.
    """
    prepared = [timing_job(task, calls, rule.limits, rule.repeats) for task in tasks]
    ready = [one for one in prepared if not isinstance(one, str)]
    grown = slow_calls(sandbox, [job for _, job in ready], rule.growth)
    jobs = [
        replace(job, calls=tuple(one.text for one in of_job)) if of_job else job
        for (_, job), of_job in zip(ready, grown, strict=True)
    ]
    samples = [
        list(result.samples_ns)
        for result in voice.follow("pairs: CPU time of solutions", sandbox.time(jobs), len(jobs))
    ]
    extremes = [_extremes(of_job) for of_job in samples]
    decisive = [
        replace(job, solutions=tuple(job.solutions[one] for one in ends), repeats=rule.decisive_repeats)
        for job, ends in zip(jobs, extremes, strict=True)
        if ends
    ]
    again = voice.follow("pairs: CPU time of fastest and slowest", sandbox.time(decisive), len(decisive))
    open_ends = [(of_job, ends) for of_job, ends in zip(samples, extremes, strict=True) if ends]
    for (of_job, ends), result in zip(open_ends, again, strict=True):
        for position, of_one in zip(ends, result.samples_ns, strict=True):
            of_job[position] = of_one
    timed = iter(zip(ready, grown, samples, strict=True))
    return [one if isinstance(one, str) else _rows(*next(timed)) for one in prepared]


def _extremes(samples: Sequence[Sequence[float]]) -> tuple[int, ...]:
    """Return the positions of the fastest and the slowest; nothing where fewer than two finished."""
    finished = [position for position, of_one in enumerate(samples) if of_one]
    by_time = sorted(finished, key=lambda position: min(samples[position]))
    return (by_time[0], by_time[-1]) if len(by_time) >= 2 else ()


def _rows(
    prepared: tuple[list[str], TimingJob], grown: Sequence[GrownCall], samples: Sequence[Sequence[float]]
) -> list[Timing]:
    solution_ids, job = prepared
    inputs = [one.label for one in grown] or list(job.calls)
    return [
        Timing(job.job_id, solution_id, min(of_one), len(of_one), list(of_one), inputs, bool(grown))
        for solution_id, of_one in zip(solution_ids, samples, strict=True)
        if of_one
    ]

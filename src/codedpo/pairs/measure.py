"""Measure the comparable solutions of a task on the calls of its credible tests, or on what is grown from them."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from codedpo.core.records import Timing
from codedpo.pairs.credible import comparable_solutions, credible_tests
from codedpo.pairs.scored import Scored
from codedpo.pairs.slow_inputs import GrowthRule, slow_calls
from codedpo.sandbox.base import Limits, Sandbox, TimingJob


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
    task: Scored,
    calls: Mapping[str, str],
    sandbox: Sandbox,
    limits: Limits,
    repeats: int,
    decisive_repeats: int,
    rule: GrowthRule,
) -> list[Timing] | str:
    """Time all comparable solutions, then the fastest and the slowest again, alone and with more repeats.

    They are timed on grown inputs where there are any, else on the calls of the credible tests.

    The second measurement replaces the first: extremes of many noisy measurements look further apart than they
    are, so the claim must rest on samples that did not select it.

    Returns:
        One row for each solution that finished, or the reason why none was timed.
    """
    prepared = timing_job(task, calls, limits, repeats)
    if isinstance(prepared, str):
        return prepared
    solution_ids, job = prepared
    grown = slow_calls(sandbox, task.task_id, job.solutions, job.calls, limits, rule) if rule.inputs else []
    inputs = [one.label for one in grown] or list(job.calls)
    if grown:
        job = replace(job, calls=tuple(one.text for one in grown))
    samples = _samples(sandbox, job)
    finished = [position for position, of_one in enumerate(samples) if of_one]
    if len(finished) >= 2:
        by_time = sorted(finished, key=lambda position: min(samples[position]))
        extremes = (by_time[0], by_time[-1])
        again = replace(
            job, solutions=tuple(job.solutions[position] for position in extremes), repeats=decisive_repeats
        )
        for position, of_one in zip(extremes, _samples(sandbox, again), strict=True):
            samples[position] = of_one
    return [
        Timing(task.task_id, solution_id, min(of_one), len(of_one), of_one, inputs, bool(grown))
        for solution_id, of_one in zip(solution_ids, samples, strict=True)
        if of_one
    ]


def _samples(sandbox: Sandbox, job: TimingJob) -> list[list[float]]:
    (result,) = sandbox.time([job])
    return [list(of_one) for of_one in result.samples_ns]

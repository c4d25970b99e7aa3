import numpy as np
import pytest

from codedpo.core.matrix import PassMatrix
from codedpo.core.progress import Voice
from codedpo.pairs.efficiency import fast_against_slow
from codedpo.pairs.measure import TimingRule, measure, timing_job
from codedpo.pairs.scored import Scored
from codedpo.pairs.slow_inputs import GrowthRule
from codedpo.sandbox.base import Limits
from codedpo.sandbox.local import LocalSandbox
from codedpo.sandbox.timing import compare

QUIET = Voice(quiet=True)
CODES = (
    "def f(n):\n    return n * (n + 1) // 2\n",
    "def f(n):\n    return sum(range(n + 1))\n",
    "def f(n):\n    total = 0\n    for i in range(n + 1):\n        total += i\n    return total\n",
    "def f(n):\n    return n\n",
    "def f(n):\n    return n * (n + 1) // 2\n",
)
CALLS = {"task/a00": "f(3000)", "task/a01": "f(5000)", "task/a02": ""}
PASSED = np.array([[1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 0, 0], [1, 1, 1]], dtype=bool)


def task_of(passed=PASSED, codes=CODES):
    matrix = PassMatrix.of_passes(passed, "task")
    ranks = np.array([1, 1, 1, 4, 1])[: len(codes)]
    return Scored(matrix, 1.0 / ranks, ranks, codes, "Sum the numbers up to n.")


def test_every_distinct_program_that_passes_is_timed_on_every_distinct_call():
    solution_ids, job = timing_job(task_of(), CALLS, Limits(), 5)
    assert solution_ids == ["task/s00", "task/s01", "task/s02"]
    assert job.calls == ("f(3000)", "f(5000)")


@pytest.mark.parametrize(
    ("task", "calls", "reason"),
    [
        (task_of(), dict.fromkeys(CALLS, ""), "no_timed_call"),
        (task_of(codes=CODES[:1] * 5), CALLS, "too_few_comparable"),
        (task_of(passed=np.zeros((5, 3), dtype=bool)), CALLS, "no_timed_call"),
    ],
)
def test_what_cannot_be_timed_says_why(task, calls, reason):
    assert timing_job(task, calls, Limits(), 5) == reason


@pytest.mark.parametrize("inputs", [0, 2])
def test_real_timing_makes_the_fast_one_chosen(inputs):
    rule = GrowthRule(inputs, least_ms=0.01, most_factor=64)
    with LocalSandbox() as sandbox:
        (rows,) = measure([task_of()], CALLS, sandbox, TimingRule(Limits(), 3, 7, rule), QUIET)
    assert [row.solution_id for row in rows] == ["task/s00", "task/s01", "task/s02"]
    assert [row.repeats for row in rows] == [7, 3, 7]
    choice = fast_against_slow([row.samples_ns for row in rows], compare, 1.1)
    assert (choice.chosen, choice.rejected) == (0, 2)
    assert 2 < choice.low <= choice.ratio <= choice.high
    if inputs:
        assert all(row.are_grown for row in rows)
        factors = [int(label.partition("  # multiplied x ")[2]) for label in rows[0].inputs]
        assert len(factors) == 2
        assert all(1 < factor <= 64 for factor in factors)
    else:
        assert all((row.inputs, row.are_grown) == (["f(3000)", "f(5000)"], False) for row in rows)


def test_inputs_that_cannot_grow_leave_the_tests_own():
    codes = ("def f(n):\n    return n == 1\n", "def f(n):\n    return not n != 1\n")
    task = task_of(np.ones((2, 1), dtype=bool), codes)
    with LocalSandbox() as sandbox:
        rule = TimingRule(Limits(), 3, 7, GrowthRule(3, 1.0, 4096))
        (rows,) = measure([task], {"task/a00": "f(None)"}, sandbox, rule, QUIET)
    assert [(row.inputs, row.are_grown) for row in rows] == [(["f(None)"], False)] * 2


def test_every_task_gets_its_own_times_or_reason():
    unfinished = (CODES[0], "def f(n):\n    return n * (n + 1) // 2 if n < 4000 else f(n)\n")
    tasks = [
        task_of(),
        task_of(passed=np.zeros((5, 3), dtype=bool)),
        task_of(np.ones((2, 3), dtype=bool), unfinished),
        task_of(),
    ]
    rule = TimingRule(Limits(cpu_seconds=0.5), 3, 7, GrowthRule(2, 0.01, 64))
    with LocalSandbox() as sandbox:
        first, reason, alone, last = measure(tasks, CALLS, sandbox, rule, QUIET)
    assert reason == "no_timed_call"
    assert [(row.solution_id, row.repeats) for row in alone] == [("task/s00", 3)]
    for rows in (first, last):
        assert [(row.solution_id, row.repeats) for row in rows] == [
            ("task/s00", 7),
            ("task/s01", 3),
            ("task/s02", 7),
        ]

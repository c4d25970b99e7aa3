"""ENAMEL on its published problems: inputs that can be made, known orders, scores of an expert's own program."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.benchmarks import enamel_inputs, load_benchmark
from codedpo.benchmarks.base import Timed
from codedpo.benchmarks.enamel import TESTS, hodges_lehmann
from codedpo.core.errors import BackendError
from codedpo.core.records import Outcome, Sample
from codedpo.evaluation.scoring import judge_and_time, metrics_of
from codedpo.sandbox.local import LocalSandbox


@pytest.fixture(scope="module")
def sandbox():
    with LocalSandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def benchmark(data_folder):
    return load_benchmark("enamel", data_folder)


@pytest.fixture(scope="module")
def problems(benchmark):
    return {problem.problem_id: problem for problem in benchmark.problems()}


def test_the_problems_are_the_published_142(benchmark, problems):
    assert len(problems) == 142
    assert "HumanEval/2" not in problems
    assert isinstance(benchmark, Timed)
    assert not isinstance(load_benchmark("humaneval"), Timed)


def test_references_pass_and_wrong_answers_do_not(benchmark, problems, sandbox):
    wrong = "    return 42\n"
    found = list(problems.values())
    jobs = [benchmark.job(one, [one.canonical_solution, one.prompt + wrong]) for one in found]
    for problem, matrix in zip(found, sandbox.run(jobs), strict=True):
        assert [len(row) for row in matrix.cells] == [TESTS[0]] * 2
        reference, other = ({cell.outcome for cell in row} for row in matrix.cells)
        assert reference == {Outcome.PASSED}, problem.problem_id
        assert other != {Outcome.PASSED}, problem.problem_id


def test_experts_are_ahead_of_canonical_programs_and_wrong_ones_have_nothing(
    benchmark, problems, sandbox, data_folder
):
    """The order that the authors report: canonical programs 0.458, references 1."""
    canonical = json.loads((data_folder / "enamel" / "humaneval-canonical.json").read_text())
    name = "HumanEval/0"  # all pairs against sorting
    problem, slow = problems[name], canonical[0][0]
    wrong = slow.replace("<", ">")
    (found,) = judge_and_time(sandbox, benchmark, [(problem, [problem.canonical_solution, slow, wrong])])
    fast = found[problem.canonical_solution]
    assert (fast.outcome, found[slow].outcome) == ("passed", "passed")
    assert 0.7 < fast.efficiency < 1.3
    assert found[slow].efficiency < 0.5
    assert (found[wrong].outcome, found[wrong].efficiency) == ("failed", 0)


def test_a_reference_that_does_not_finish_is_said(benchmark, problems, sandbox):
    problem = problems["HumanEval/0"]
    broken = replace(problem, canonical_solution=f"{problem.prompt}\n    raise ValueError\n")
    with pytest.raises(BackendError, match=r"reference of HumanEval/0 did not finish level 1 .*; run it on"):
        benchmark.efficiency(sandbox, broken, [problem.canonical_solution])


def sample(model, number, position, efficiency):
    outcome = "passed" if efficiency else "failed"
    return Sample(
        f"{model}/{number}/{position}", model, "enamel", str(number), position, "", "", "", 0, "", outcome, "", 0,
        "", efficiency,
    )  # fmt: skip


def test_eff_at_k_stands_beside_pass_at_k_and_is_compared():
    rows = [sample("before", 0, 0, 0.5), sample("before", 0, 1, 0.0), sample("before", 1, 0, 0.25)]
    rows += [sample("before", 1, 1, 0.75), sample("after", 0, 0, 1.0), sample("after", 0, 1, 0.5)]
    figures = {(row.model, row.name): row.value for row in metrics_of(rows, 0, tries=(1, 2))}
    assert figures["before", "eff@1"] == pytest.approx(0.375)
    assert figures["before", "eff@2"] == pytest.approx((0.5 + 0.75) / 2)
    assert figures["before", "pass@1"] == pytest.approx(0.75)
    assert figures["difference", "eff@1"] == pytest.approx(0.75 - 0.25)


@given(st.integers(0, 10**9), st.integers(1, 60), st.booleans(), st.sampled_from(["()", "<>"]))
def test_random_brackets_are_balanced_or_not(seed, size, valid, pair):
    random.seed(seed)
    text = enamel_inputs.rand_parens(size + 3, valid, pair)
    depth, least = 0, 0
    for letter in text:
        depth += 1 if letter == pair[0] else -1
        least = min(least, depth)
    assert depth == 0
    assert (least == 0) == valid
    groups = enamel_inputs.rand_parens(size, True, pair, None)
    assert all(group.count(pair[0]) == group.count(pair[1]) > 0 for group in groups)


@given(st.integers(-5, 20_000))
def test_primes_are_primes(number):
    divisors = [one for one in range(2, int(max(number, 0) ** 0.5) + 1) if number % one == 0]
    assert enamel_inputs.passes_miller_rabin(number) == (number > 1 and not divisors)


@given(st.integers(0, 10**9), st.integers(4, 10**6), st.integers(0, 3), st.integers(0, 7))
def test_numbers_for_primality_tests_are_of_the_asked_kind(seed, size, level, case):
    random.seed(seed)
    number = enamel_inputs.rand_primality(size, level, case)
    if level or case >= 4:
        passes_miller_rabin = enamel_inputs.passes_miller_rabin(number)
        assert passes_miller_rabin == (case % 3 == 0)
        assert number <= 4 * (size**0.5 + 2) ** 2


@given(st.lists(st.floats(1, 1e9), min_size=1, max_size=9))
def test_the_location_is_between_the_extremes_and_moves_with_the_samples(times):
    samples = np.array(times)
    assert min(times) <= hodges_lehmann(samples) * (1 + 1e-12)
    assert hodges_lehmann(samples) <= max(times) * (1 + 1e-12)
    assert hodges_lehmann(samples * 2) == pytest.approx(2 * hodges_lehmann(samples))

"""CPU time of right answers: on recorded samples, real inputs and real processes."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.benchmarks import load_benchmark
from codedpo.core.progress import Voice
from codedpo.core.records import Sample, Speed, SpeedFigure
from codedpo.evaluation.efficiency import (
    EXPERIMENTS,
    REPEATS,
    SECONDS_OF_A_PASS,
    figures_of,
    longest_within,
    measure,
    races,
)
from codedpo.sandbox.local import LocalSandbox

COUNT = EXPERIMENTS * REPEATS


def sample(model, problem_id, position, code, outcome="passed", benchmark="humanevalplus"):
    name = f"{model}/{benchmark}/{problem_id}/{position}"
    return Sample(
        name, model, benchmark, problem_id, position, "", "", "", 0, code, outcome, "", 1, ""
    )  # fmt: skip


@pytest.fixture(scope="module")
def sandbox():
    with LocalSandbox(workers=1) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def benchmark(data_folder):
    return load_benchmark("humanevalplus", data_folder)


@pytest.fixture(scope="module")
def problems(benchmark):
    return {problem.problem_id: problem for problem in benchmark.problems()}


@pytest.fixture(scope="module")
def timed(sandbox, benchmark, problems):
    def run(problem_id, before, after):
        samples = [sample("before", problem_id, 0, before), sample("after", problem_id, 0, after)]
        entered = races(samples, [problems[problem_id]], "humanevalplus", "before", "after")
        (row,) = measure(sandbox, benchmark, entered, Voice(quiet=True))
        return row

    return run


def test_the_first_right_answers_to_problems_that_both_solve_meet(problems):
    samples = [
        sample("before", "HumanEval/0", 0, "a", "failed"),
        sample("before", "HumanEval/0", 1, "b"),
        sample("before", "HumanEval/0", 2, "c"),
        sample("after", "HumanEval/0", 0, "d"),
        sample("before", "HumanEval/1", 0, "e"),
        sample("after", "HumanEval/1", 0, "f", "timeout"),
        sample("after", "HumanEval/0", 0, "g", benchmark="humaneval"),
    ]
    (race,) = races(samples, list(problems.values()), "humanevalplus", "before", "after")
    assert (race.before.solution, race.after.solution) == ("b", "d")


def test_expert_references_are_faster_than_canonical_solutions(data_folder, timed):
    """The known order of ENAMEL (arXiv 2406.06647) with another algorithm."""
    folder = data_folder / "enamel"
    canonical, references = (
        json.loads((folder / f"{name}.json").read_text())
        for name in ("humaneval-canonical", "enamel-references")
    )
    row = timed("HumanEval/0", canonical[0][0], references[0][0])  # all pairs against sorting
    assert row.note == ""
    assert len(row.before_ns) == len(row.after_ns) == COUNT
    assert row.inputs > 0
    assert row.low > 1.1
    assert timed("HumanEval/0", references[0][0], canonical[0][0]).high < 1 / 1.1


def test_a_program_is_as_fast_as_itself(timed, problems):
    code = problems["HumanEval/0"].canonical_solution
    row = timed("HumanEval/0", code, code + "\n# the same again")
    assert 1 / 1.1 < row.ratio < 1.1
    same = timed("HumanEval/0", code, code)
    assert (same.note, same.ratio, same.before_ns) == ("same_program", 1, [])


def test_what_a_program_remembers_of_one_pass_does_not_serve_the_next(timed, problems):
    code = problems["HumanEval/55"].canonical_solution
    kept = f"{code}\nfrom functools import lru_cache\nfib = lru_cache(None)(fib)"
    assert timed("HumanEval/55", code, kept).ratio < 3


def test_a_problem_without_ratio_says_why(timed, problems):
    code = problems["HumanEval/0"].canonical_solution
    row = timed("HumanEval/0", code, f"{code}\n    return None\n\ndef has_close_elements(*_): return 0\n")
    assert (row.note, row.ratio, row.before_ns) == ("not_passed_again", 0, [])


def test_long_inputs_are_left_out_and_counted(timed, problems):
    code = problems["HumanEval/0"].canonical_solution
    head, given = problems["HumanEval/0"].prompt, problems["HumanEval/0"].base_inputs[0]
    waste = f"    if (numbers, threshold) == ({given}):\n        _ = sum(range({10**8 // 4}))\n"
    slow = head + waste + code.removeprefix(head)
    row = timed("HumanEval/0", slow, code)
    assert row.inputs_left_out >= 1
    assert row.inputs > 100
    assert min(row.before_ns) < SECONDS_OF_A_PASS * 1e9


def test_recorded_answers_and_their_rewrites_are_timed(data_folder, sandbox):
    """A 7B model's first answers to two MBPP+ tasks against its rewrites for speed."""
    benchmark = load_benchmark("mbppplus", data_folder)
    found = {}
    for name, model in (("initial", "before"), ("simple_1", "after")):
        with gzip.open(data_folder / "evalperf" / f"gpu_results_{name}.jsonl.gz", "rt") as lines:
            for row in map(json.loads, lines):
                codes = [code for code, passed in zip(row["solution"], row["passed"], strict=False) if passed]
                if codes and row["task_id"].startswith("Mbpp/"):
                    found[model, row["task_id"]] = sample(
                        model, row["task_id"], 0, codes[0], benchmark="mbppplus"
                    )
    entered = races(list(found.values()), benchmark.problems(), "mbppplus", "before", "after")
    differing = [race for race in entered if race.before.solution != race.after.solution][:2]
    rows = measure(sandbox, benchmark, differing, Voice(quiet=True))
    assert [row.problem_id for row in rows] == [race.problem.problem_id for race in differing]
    assert all(row.low <= row.ratio <= row.high for row in rows)
    assert {row.note for row in rows} <= {"", "not_passed_again"}


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), max_size=30), st.integers(0, 10**10))
def test_inputs_fit_the_budget_and_none_longer_would(times, budget):
    sides = list(zip(*times, strict=True)) or [(), ()]
    chosen = longest_within(sides, budget)
    slower = [max(of_one) for of_one in times]
    used = sum(slower[position] for position in chosen)
    assert used <= budget
    assert chosen == sorted(set(chosen))
    for position in set(range(len(times))) - set(chosen):
        longer = sum(slower[other] for other in chosen if slower[other] >= slower[position])
        assert longer + slower[position] > budget
    if sum(slower) <= budget:
        assert len(chosen) == len(times)


def speed(number, before, after, ratio, low, high, note=""):
    return Speed(
        "mbppplus",
        f"Mbpp/{number}",
        "b",
        "a",
        3,
        0,
        [before] * COUNT,
        [after] * COUNT,
        ratio,
        low,
        high,
        note,
    )


def test_figures_are_over_problems_and_experiments():
    rows = [
        speed(1, 200.0, 100.0, 2.0, 1.8, 2.2),
        speed(2, 105.0, 100.0, 1.05, 1.0, 1.3),
        speed(3, 100.0, 200.0, 0.5, 0.4, 0.6),
        Speed("mbppplus", "Mbpp/4", "b", "a", 3, 0, [], [], 1.0, 1.0, 1.0, "same_program"),
        Speed("mbppplus", "Mbpp/5", "b", "a", 3, 0, [], [], 0.0, 0.0, 0.0, "unfinished"),
    ]
    found = {row.name: row for row in figures_of(rows, 3)}
    assert list(found) == list(SpeedFigure)
    assert {row.model for row in found.values()} == {"difference"}
    mean = found["speed-up"]
    assert (mean.value, mean.count) == (pytest.approx(4.55 / 4), 4)
    assert mean.low < 1 < mean.high
    assert found["median speed-up"].value == pytest.approx(1.025)
    assert found["geometric mean speed-up"].value == pytest.approx((2 * 1.05 * 0.5) ** 0.25)
    assert (found["at least 10% faster"].value, found["at least 10% slower"].value) == (0.25, 0.25)
    assert found["at least 10% faster"].low > 0
    experiments = found["speed-up by experiment"]
    assert (experiments.count, experiments.low, experiments.high) == (
        EXPERIMENTS,
        *[pytest.approx(4.55 / 4)] * 2,
    )
    assert list(figures_of(rows, 3)) == list(figures_of(rows, 3))
    assert list(figures_of(rows[-1:], 3)) == []


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=20))
def test_exchanged_models_exchange_faster_and_slower(ratios):
    def rows(values):
        return [
            speed(number, 100 * value, 100.0, value, value / 1.05, value * 1.05)
            for number, value in enumerate(values)
        ]

    forth = {row.name: row for row in figures_of(rows(ratios), 0)}
    back = {row.name: row for row in figures_of(rows([1 / value for value in ratios]), 0)}
    assert forth["at least 10% faster"].value == pytest.approx(back["at least 10% slower"].value)
    geometric = "geometric mean speed-up"
    assert forth[geometric].value == pytest.approx(1 / back[geometric].value)
    assert forth["speed-up"].low <= forth["speed-up"].value <= forth["speed-up"].high

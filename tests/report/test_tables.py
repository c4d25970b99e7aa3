import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.core.records import AlternativePair, Convergence, Execution, Pair, SolutionScore
from codedpo.core.tables import to_arrow
from codedpo.report import tables


def score(task, solution, strategy, value, rank):
    names = {"task_id": task, "solution_id": f"{task}/s{solution}", "strategy": strategy}
    names |= {"score": value, "rank": rank}
    return SolutionScore(**{name: names.get(name, 1) for name in SolutionScore.__dataclass_fields__})


def scores(**by_strategy):
    """One task a list, one score a solution."""
    rows = [
        score(f"t{task}", solution, strategy, value, 1 + sum(other > value + 1e-9 for other in values))
        for strategy, tasks in by_strategy.items()
        for task, values in enumerate(tasks)
        for solution, value in enumerate(values)
    ]
    return to_arrow(SolutionScore, rows)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_average_ranks_equal_counting(values):
    found = tables.average_ranks(np.array(values, dtype=float))
    expected = [sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values]
    assert found.tolist() == expected


def test_spearman_of_order_reverse_order_and_no_order():
    first = np.array([1.0, 2.0, 5.0])
    assert tables.spearman(first, first * 2) == pytest.approx(1)
    assert tables.spearman(first, -first) == pytest.approx(-1)
    assert tables.spearman(first, np.ones(3)) is None


def test_strategies_are_compared_task_by_task():
    table = scores(
        ours=[[1.0, 0.5, 0.0], [0.2, 1.0]], same=[[3.0, 2.0, 1.0], [1.0, 9.0]], tied=[[1, 1, 0], [1, 0]]
    )
    none = to_arrow(Pair, []), to_arrow(AlternativePair, [])
    same, tied = tables.strategies_compared([table], "ours", *none)
    assert (same["strategy"], same["same_best"], same["tasks"]) == ("same", 1.0, 2)
    assert same["spearman"] == pytest.approx(1.0)
    assert tied["same_best"] == 0.5
    assert tied["spearman"] == pytest.approx((np.sqrt(3) / 2 - 1) / 2)
    parts = [table.filter(pc.equal(table.column("task_id"), task)) for task in ("t0", "t1")]
    assert tables.strategies_compared(parts, "ours", *none) == [same, tied]


def test_equal_ranks_are_one_place_whatever_rounding_made_of_their_scores():
    less = 1.0 - 1e-12
    table = scores(ours=[[0.0, 1.0, less]], rounded=[[0.0, less, 1.0]], silent=[[0.0, 0.0, 0.0]])
    rounded, silent = tables.strategies_compared(
        [table], "ours", to_arrow(Pair, []), to_arrow(AlternativePair, [])
    )
    assert (rounded["same_best"], rounded["spearman"]) == (1.0, pytest.approx(1.0))
    assert (silent["same_best"], silent["spearman"]) == (0.0, None)


def pair_of(chosen, rejected, kind="correctness"):
    return Pair(
        f"t/{kind}/{chosen}", "t", kind, "", "", "", chosen, rejected, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, "train"
    )


def test_pairs_of_strategies_are_compared_by_their_sides():
    table = scores(ours=[[1.0, 0.5, 0.0]], other=[[1.0, 0.0, 0.5]], silent=[[1.0, 1.0, 1.0]])
    own = [pair_of("s0", "s2"), pair_of("s3", "s4"), pair_of("s0", "s1", "efficiency")]
    alternatives = [
        AlternativePair("t", "other", chosen, rejected, -1.0)
        for chosen, rejected in (("s0", "s1"), ("s3", "s4"), ("s6", "s7"))
    ]
    others = to_arrow(AlternativePair, alternatives)
    other, silent = tables.strategies_compared([table], "ours", to_arrow(Pair, own), others)
    assert (other["pairs"], other["same_pairs"], other["same_chosen"]) == (3, 0.5, 1.0)
    assert (silent["pairs"], silent["same_pairs"], silent["same_chosen"]) == (0, None, None)
    other, _ = tables.strategies_compared([table], "ours", to_arrow(Pair, own[2:]), others)
    assert (other["pairs"], other["same_pairs"], other["same_chosen"]) == (3, None, None)


def test_gaps_and_scores_are_those_of_one_strategy():
    table = scores(ours=[[1.0, 0.25], [0.5, 0.5]], other=[[0.0, 9.0], [7.0, 1.0]])
    assert tables.score_gaps(table, "ours").tolist() == [0.75, 0.0]
    assert tables.scores_of(table, "ours").tolist() == [1.0, 0.25, 0.5, 0.5]
    assert tables.score_gaps(table, "none").size == 0


def test_binned_counts_every_value_once():
    edges, counts = tables.binned(np.array([0.0, 0.5, 1.0, 1.0]))
    assert sum(counts) == 4
    assert counts[-1] == 2
    assert (edges[0], edges[-1]) == (0.0, 1.0)


def test_pass_shares_follow_solutions():
    rows = [
        Execution("t", f"t/s{solution}", f"t/a{test}", outcome, "", "", 1, 1, "split", 3)
        for solution, outcomes in enumerate(
            (("passed", "failed"), ("passed", "passed"), ("error", "timeout"))
        )
        for test, outcome in enumerate(outcomes)
    ]
    assert tables.pass_shares(to_arrow(Execution, rows), "passed").tolist() == [0.5, 1.0, 0.0]
    assert tables.pass_shares(to_arrow(Execution, []), "passed").size == 0


def test_convergence_is_summed_up_over_tasks():
    rows = [
        Convergence(f"t{task}", 1, change, moved)
        for task, (change, moved) in enumerate([(0.1, 0), (0.3, 4), (0.2, 2)])
    ]
    (row,) = tables.convergence(to_arrow(Convergence, rows))
    assert row["median"] == pytest.approx(0.2)
    assert row["order_changes"] == 2
    assert row["tasks_moved"] == pytest.approx(2 / 3)

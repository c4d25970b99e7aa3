import numpy as np
import pytest

from codedpo.core.matrix import PassMatrix
from codedpo.core.records import SolutionScore
from codedpo.pairs.alternatives import alternative_pairs
from codedpo.pairs.correctness import Rule
from codedpo.pairs.scored import Scored


def task(name, count=3):
    matrix = PassMatrix.of_passes(np.ones((count, 2), dtype=bool), name)
    return Scored(
        matrix, np.zeros(count), np.ones(count, dtype=int), tuple(f"c{n}" for n in range(count)), "Solve."
    )


def scores(strategy, probability=-1.0, **of_tasks):
    return {
        f"{name}/s{number:02d}": SolutionScore(
            name, f"{name}/s{number:02d}", strategy, score, 1 + sum(o > score for o in of), probability
        )
        for name, of in of_tasks.items()
        for number, score in enumerate(of)
    }


TASKS = [task("a"), task("b")]
SCORES = {
    "first": scores("first", a=[1.0, 0.5, 0.1], b=[1.0, 1.0, 1.0]),
    "sure": scores("sure", 0.6, a=[0.2, 0.5, 1.0], b=[0.5, 1.0, 0.9]),
}


def found(rule, **kept):
    return [row for task in TASKS for row in alternative_pairs(task, SCORES, rule, kept)]


def sides(rows):
    return [(row.strategy, row.chosen_solution_id, row.rejected_solution_id) for row in rows]


def test_every_strategy_makes_its_pairs_by_the_same_rule():
    rows = found(Rule())
    assert sides(rows) == [
        ("first", "a/s00", "a/s02"),
        ("sure", "a/s02", "a/s00"),
        ("sure", "b/s01", "b/s00"),
    ]
    assert [row.task_id for row in rows] == ["a", "a", "b"]
    assert [row.probability for row in rows[:2]] == [-1.0, pytest.approx(0.6 * 0.4)]
    assert sides(found(Rule(least_margin=0.85))) == [("first", "a/s00", "a/s02")]


def test_each_strategy_keeps_its_own_tasks():
    assert sides(found(Rule(), sure={"b"})) == [("first", "a/s00", "a/s02"), ("sure", "b/s01", "b/s00")]
    assert sides(found(Rule(), first={"b"}, sure={"a"})) == [("sure", "a/s02", "a/s00")]

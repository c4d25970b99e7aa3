from types import SimpleNamespace

import numpy as np
import pytest

from codedpo.context import StageContext
from codedpo.core.config import Config, Plugin, RankingsConfig
from codedpo.core.errors import ConfigError
from codedpo.core.progress import Voice
from codedpo.core.records import Convergence, Execution, Oracle, Outcome, SolutionScore, Test, TestScore
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows, write_rows
from codedpo.rankings.registry import STRATEGIES
from codedpo.rankings.scores import Scores
from codedpo.rankings.stage import build, check, run, strategies_of


def context_of(folder, rankings):
    """A stage context over two tasks: solution 0 passes both tests, 1 the second, 2 none."""
    tests, executions = [], []
    for task in ("t000001", "t000002"):
        tests.extend(
            Test(f"{task}/a{number:02d}", task, f"{task}/x", f"assert f({number}) == 1", f"f({number})", "1")
            for number in range(2)
        )
        for solution, passed in enumerate([(1, 1), (0, 1), (0, 0)]):
            for number, outcome in enumerate(passed):
                executions.append(
                    Execution(
                        task,
                        f"{task}/s{solution:02d}",
                        f"{task}/a{number:02d}",
                        (Outcome.PASSED if outcome else Outcome.FAILED).value,
                        "",
                        f"{outcome}",
                        1000,
                        10,
                        Oracle.SPLIT.value,
                        3,
                    )
                )
    write_rows(folder / "tests.parquet", Test, tests)
    write_rows(folder / "executions.parquet", Execution, executions)
    return StageContext(
        name="rankings",
        config=Config(name="test", seed=3, shard_size=1, rankings=rankings),
        folder=StageFolder(folder / "5-rankings").open({"stage": "rankings"}),
        inputs={Test: [folder / "tests.parquet"], Execution: [folder / "executions.parquet"]},
        stage_folders={},
        services=None,
        voice=Voice(quiet=True),
    )


def of_another_type(matrix):
    return [1.0 for _ in matrix.solution_ids]


def of_another_length(matrix):
    return Scores(np.ones(1))


def of_odds(matrix):
    ones = np.ones(len(matrix.solution_ids))
    return Scores(ones, probabilities=3 * ones)


def never_of_two_tests(matrix):
    return Scores(np.full(len(matrix.solution_ids), np.nan if len(matrix.test_ids) == 2 else 1.0))


def plugin(name):
    """Choose one of the strategies above."""
    return Plugin(kind="plugin", path=f"{__name__}:{name}")


def test_every_strategy_scores_every_solution(tmp_path):
    context = context_of(tmp_path, RankingsConfig())
    run(context)
    scores = read_rows(context.folder.parts_of(SolutionScore), SolutionScore)
    strategies = {
        context.config.rankings.strategy.label,
        *(one.label for one in context.config.rankings.compare),
    }
    assert {row.strategy for row in scores} == strategies
    assert len(scores) == 2 * 3 * len(strategies)
    own = [row for row in scores if row.strategy == "self_validation" and row.task_id == "t000001"]
    assert [row.rank for row in own] == [1, 2, 3]
    assert own[0].score == 1.0
    tests = read_rows(context.folder.parts_of(TestScore), TestScore)
    assert [row.score for row in tests if row.task_id == "t000002" and row.strategy == "self_validation"][
        1
    ] == 1.0


def test_convergence_falls(tmp_path):
    context = context_of(tmp_path, RankingsConfig())
    run(context)
    rows = [
        row
        for row in read_rows(context.folder.parts_of(Convergence), Convergence)
        if row.task_id == "t000001"
    ]
    assert [row.iteration for row in rows] == list(range(1, 11))
    assert rows[-1].largest_change < rows[1].largest_change
    assert rows[0].order_changes == 3


def test_a_finished_part_is_not_done_again(tmp_path):
    context = context_of(tmp_path, RankingsConfig())
    run(context)
    before = {path: path.stat().st_mtime_ns for path in context.folder.path.glob("*/part-*")}
    run(context)
    assert before == {path: path.stat().st_mtime_ns for path in context.folder.path.glob("*/part-*")}


def test_options_reach_the_strategy_and_name_it(tmp_path):
    rankings = RankingsConfig(
        strategy=Plugin(kind="self_validation", options={"iterations": 1}),
        compare=(
            Plugin(kind="self_validation"),
            Plugin(kind="plugin", path="codedpo.rankings.baselines:number_passed"),
            Plugin(kind="random"),
            Plugin(kind="random", options={"seed": 9}),
        ),
    )
    context = context_of(tmp_path, rankings)
    run(context)
    scores: dict[str, list[float]] = {}
    for row in read_rows(context.folder.parts_of(SolutionScore), SolutionScore):
        scores.setdefault(row.strategy, []).append(row.score)
    assert scores["self_validation(iterations=1)"] != scores["self_validation"]
    assert scores["codedpo.rankings.baselines:number_passed"][:3] == [1.0, 0.5, 0.0]
    assert scores["random"] != scores["random(seed=9)"]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Plugin(kind="pagerank"), "no ranking strategy of kind pagerank"),
        (Plugin(kind="self_validation", options={"dampening": 0.5}), "dampening.*it has damping"),
        (Plugin(kind="plugin", path="no_such_module:rank"), "no_such_module"),
        (
            Plugin(kind="self_validation", options={"damping": "high"}),
            "self_validation cannot.*'damping': 'high'",
        ),
        (Plugin(kind="self_validation", options={"damping": 2.0}), "damping is 2.0"),
        (Plugin(kind="self_validation", options={"iterations": 2.5}), "'iterations': 2.5"),
        (Plugin(kind="consensus", options={"agreement_power": "x"}), "consensus cannot.*agreement_power"),
        (
            Plugin(kind="consensus", options={"log_odds": float("inf")}),
            r"log_odds=inf\) gave probabilities that",
        ),
        (
            Plugin(kind="consensus", options={"group_power": float("nan")}),
            "gave solutions that are not all finite",
        ),
        (Plugin(kind="b4", options={"wrong_prior": -5}), "wrong_prior of b4 is -5, but it must"),
        (Plugin(kind="b4", options={"agreement_prior": 0}), "agreement_prior of b4 is 0, but it must"),
        (Plugin(kind="b4", options={"wrong_prior": "x"}), "b4 cannot.*wrong_prior"),
        (plugin("of_another_type"), "gave list instead of Scores"),
        (plugin("of_another_length"), r"gave solutions of shape \(1,\) instead of \(4,\)"),
        (plugin("of_odds"), "gave probabilities outside 0 to 1"),
    ],
)
def test_what_cannot_be_built_is_named(choice, words):
    with pytest.raises(ConfigError, match=words) as caught:
        build(choice, 0)
    assert "\n" not in str(caught.value)


def test_options_are_tried_before_any_work():
    config = Config(
        name="x",
        rankings=RankingsConfig(strategy=Plugin(kind="self_validation", options={"damping": "high"})),
    )
    with pytest.raises(ConfigError, match="self_validation cannot rank"):
        check(SimpleNamespace(config=config))


def test_scores_that_are_no_numbers_stop_the_stage(tmp_path):
    context = context_of(tmp_path, RankingsConfig(strategy=plugin("never_of_two_tests"), compare=()))
    with pytest.raises(
        ConfigError, match="never_of_two_tests gave solutions that are not all finite.*t000001"
    ):
        run(context)


def test_one_strategy_twice_is_refused(tmp_path):
    twice = (Plugin(kind="number_passed"), Plugin(kind="number_passed"))
    context = context_of(tmp_path, RankingsConfig(compare=twice))
    with pytest.raises(ConfigError, match="number_passed is configured twice"):
        run(context)


def test_a_strategy_that_is_compared_with_itself_is_scored_once(tmp_path):
    config = Config(name="x", rankings=RankingsConfig(strategy=Plugin(kind="number_passed")))
    assert [one.label for one in strategies_of(config)] == ["number_passed", "all_tests_filter", "random"]


@pytest.mark.parametrize("kind", sorted(STRATEGIES))
def test_every_kind_loads_and_says_what_it_computes(kind):
    strategy = build(Plugin(kind=kind), 0)
    assert strategy.rank.__doc__

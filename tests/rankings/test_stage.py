from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from codedpo.context import StageContext
from codedpo.core.config import Config, Plugin, RankingsConfig
from codedpo.core.errors import ConfigError, DataError
from codedpo.core.matrix import PassMatrix
from codedpo.core.progress import Voice
from codedpo.core.records import Convergence, Execution, Oracle, Outcome, SolutionScore, Test, TestScore
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows, write_rows
from codedpo.rankings.registry import NEED_VALUES, STRATEGIES
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


def of_lists(matrix):
    return Scores([1.0 for _ in matrix.solution_ids])


def of_whole_numbers(matrix):
    return Scores(matrix.passed.sum(axis=1))


def unscaled(matrix):
    return Scores(matrix.passed.sum(axis=1) * 2.0)


def below_one(matrix):
    return Scores(matrix.passed.sum(axis=1) / 8.0)


def negative(matrix):
    return Scores(matrix.passed.sum(axis=1) * -1.0)


def of_unscaled_tests(matrix):
    return Scores(np.ones(len(matrix.solution_ids)), matrix.passed.sum(axis=0) * 1.0)


def of_zeros(matrix):
    return Scores(np.zeros(len(matrix.solution_ids)))


def that_raises(matrix):
    return {}[matrix.task_id]


A_NUMBER = 3


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


def test_parts_before_a_damaged_task_are_kept(tmp_path):
    context = context_of(tmp_path, RankingsConfig())
    (executions,) = context.inputs[Execution]
    rows = read_rows([executions], Execution)
    write_rows(executions, Execution, rows[:-1])
    with pytest.raises(DataError, match="executions of task t000002"):
        run(context)
    kept = read_rows(context.folder.parts_of(SolutionScore), SolutionScore)
    assert {row.task_id for row in kept} == {"t000001"}
    write_rows(executions, Execution, rows)
    run(context)
    assert len(read_rows(context.folder.parts_of(SolutionScore), SolutionScore)) == 2 * len(kept)


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
        (plugin("of_odds"), r"gave probabilities outside 0 to 1 \(3 to 3\)"),
        (plugin("of_lists"), "gave solutions that are no numpy array of floating-point numbers"),
        (plugin("of_whole_numbers"), "gave solutions that are no numpy array of floating-point numbers"),
        (plugin("unscaled"), r"gave solutions outside 0 to 1 \(0 to 4; codedpo.rankings.scores.scaled"),
        (plugin("below_one"), "gave solutions of which the largest is 0.25 instead of 1"),
        (plugin("negative"), r"gave solutions outside 0 to 1 \(-2 to"),
        (plugin("of_unscaled_tests"), r"gave tests outside 0 to 1 \(0 to 3;"),
        (plugin("that_raises"), r"failed in line \d+ on task trial \(KeyError: 'trial'\); mend it"),
        (plugin("A_NUMBER"), "A_NUMBER is of type int; name a function"),
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


def test_a_plug_in_may_score_all_zero():
    assert build(plugin("of_zeros"), 0).label.endswith("of_zeros")


@pytest.mark.parametrize("kind", sorted(NEED_VALUES))
def test_scoring_by_values_without_any_stops_the_stage(tmp_path, kind):
    context = context_of(tmp_path, RankingsConfig(strategy=Plugin(kind=kind), compare=()))
    run(context)
    (executions,) = context.inputs[Execution]
    rows = [replace(row, value_digest="") for row in read_rows([executions], Execution)]
    (tmp_path / "without").mkdir()
    for strategy, compare in ((kind, "codet"), ("codet", kind)):
        rankings = RankingsConfig(strategy=Plugin(kind=strategy), compare=(Plugin(kind=compare),))
        folder = tmp_path / "without" / strategy
        folder.mkdir()
        context = context_of(folder, rankings)
        write_rows(context.inputs[Execution][0], Execution, rows)
        if strategy == kind:
            with pytest.raises(
                DataError, match=f"no returned value, by which the ranking strategy {kind} scores"
            ):
                run(context)
        else:
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


@pytest.mark.parametrize("kind", sorted(STRATEGIES))
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=6)), st.integers(-1, 2))
def test_every_kind_gives_scores_that_no_plug_in_would_be_refused_for(kind, passed, highest):
    returned = np.random.default_rng(passed.size).integers(-1, highest + 1, passed.shape)
    matrix = replace(PassMatrix.of_passes(passed), values=returned, call_of_test=np.arange(passed.shape[1]))
    scores = build(Plugin(kind=kind), 0).scores(matrix)
    assert scores.solutions.max() in (0.0, pytest.approx(1.0))
    bare = PassMatrix.of_passes(passed[:, :0])
    assert len(build(Plugin(kind=kind), 0).scores(bare).solutions) == len(passed)

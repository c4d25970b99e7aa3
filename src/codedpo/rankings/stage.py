"""Score the solutions and tests of every task by the configured strategies."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from traceback import extract_tb
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codedpo.context import StageContext
from codedpo.core.config import Config, Plugin
from codedpo.core.errors import CodedpoError, ConfigError, DataError
from codedpo.core.matrix import CELL, NO_CALL, NO_VALUE, PassMatrix, calls_of_tests, matrices
from codedpo.core.records import Convergence, Execution, SolutionScore, Test, TestScore
from codedpo.core.registry import load
from codedpo.rankings.registry import NEED_VALUES, STRATEGIES
from codedpo.rankings.scores import TIE, Scores, order_changes, ranks
from codedpo.services import Services


@dataclass(frozen=True, slots=True)
class Strategy:
    """A ranking strategy with its options bound."""

    label: str
    rank: Callable[..., Scores]
    options: dict[str, Any]
    traces: bool
    """It iterates, and its ``trace`` option shows every iteration."""
    is_plugin: bool
    needs_values: bool
    """It tells solutions apart by what they return alone."""

    def scores(self, matrix: PassMatrix, **more: Any) -> Scores:
        """Rank a task with the bound options and ``more``, and see that the scores are what ``Scores`` says.

        Raises:
            ConfigError: the strategy gives other than ``Scores`` of finite numbers, one a solution or test, with the
                best at 1; or it is a plug-in and raises.
        """
        try:
            with np.errstate(all="ignore"):  # what is no number is refused below
                scores = self.rank(matrix, **self.options | more)
        except CodedpoError:
            raise
        except Exception as error:  # A plug-in can fail in any way.
            if not self.is_plugin:
                raise
            own = "".join(f" in line {frame.lineno}" for frame in extract_tb(error.__traceback__)[1:2])
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(
                f"the ranking strategy {self.label} failed{own} on task {matrix.task_id} ({reason}); mend it or "
                "change its options."
            ) from error
        problem = _problem(scores, matrix)
        if problem:
            raise ConfigError(
                f"the ranking strategy {self.label} gave {problem} for task {matrix.task_id}; change its options, or "
                "mend it where it is yours."
            )
        return scores

    def estimates_probabilities(self) -> bool:
        """Whether it says of solutions how probably they are right; of a plug-in only a trial tells."""
        return self.scores(_TRIAL).probabilities is not None


_TRIAL = PassMatrix(
    task_id="trial",
    solution_ids=("s0", "s1", "s2", "s3"),
    test_ids=("a0", "a1", "a2"),
    passed=np.array([[1, 1, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=bool),
    loaded=np.array([True, True, True, False]),
    call_of_test=np.array([0, 1, NO_CALL], dtype=np.int64),
    values=np.array([[0, 0], [0, 0], [1, 0], [NO_VALUE, NO_VALUE]], dtype=np.int64),
)
"""Ranked once by every strategy before any work, so that options of a wrong kind cost seconds."""


def _problem(scores: Any, matrix: PassMatrix) -> str:
    """Return what is wrong with the scores of a matrix, or nothing."""
    if not isinstance(scores, Scores):
        return f"{type(scores).__name__} instead of Scores"
    lengths = {
        "solutions": len(matrix.solution_ids),
        "tests": len(matrix.test_ids),
        "probabilities": len(matrix.solution_ids),
    }
    for name, length in lengths.items():
        values = getattr(scores, name)
        if values is None and name != "solutions":
            continue
        if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
            return f"{name} that are no numpy array of floating-point numbers"
        if values.shape != (length,):
            return f"{name} of shape {values.shape} instead of ({length},)"
        if not np.isfinite(values).all():
            return f"{name} that are not all finite numbers"
        if (values < -TIE).any() or (values > 1 + TIE).any():
            remedy = (
                "" if name == "probabilities" else "; codedpo.rankings.scores.scaled divides by the largest"
            )
            return f"{name} outside 0 to 1 ({values.min():.4g} to {values.max():.4g}{remedy})"
        if name != "probabilities" and 0 < values.max(initial=0.0) < 1 - TIE:
            return (
                f"{name} of which the largest is {values.max():.4g} instead of 1 "
                "(codedpo.rankings.scores.scaled divides by it)"
            )
    return ""


def build(choice: Plugin, seed: int) -> Strategy:
    """Load a strategy, check its options against the function's signature, and rank a small matrix with them.

    Raises:
        ConfigError: unknown kind, plug-in that cannot be imported or ranks no matrix, an option that the strategy does
            not have, or one with a value that it cannot use.
    """
    rank = load(STRATEGIES, choice.kind, choice.path, what="ranking strategy")
    try:
        parameters = inspect.signature(rank).parameters
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"the ranking strategy {choice.path or choice.kind} is of type {type(rank).__name__}; name a function "
            "rank(matrix, **options) -> Scores."
        ) from error
    options = ({"seed": seed} if "seed" in parameters else {}) | choice.options
    try:
        inspect.signature(rank).bind(None, **options)
    except TypeError as error:
        known = ", ".join(list(parameters)[1:]) or "none"
        raise ConfigError(
            f"the ranking strategy {choice.kind} was given options {choice.options}: {error}; it has {known}."
        ) from error
    strategy = Strategy(
        label=choice.label,
        rank=rank,
        options=options,
        traces="trace" in parameters,
        is_plugin=choice.kind == "plugin",
        needs_values=choice.kind in NEED_VALUES,
    )
    try:
        strategy.scores(_TRIAL)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ConfigError(
            f"the ranking strategy {choice.path or choice.kind} cannot rank with the options {choice.options}: "
            f"{error}; give each option a value of the kind that its description names."
        ) from error
    return strategy


def check_values(strategy: Strategy, found: Iterable[PassMatrix], place: str) -> None:
    """See that a strategy that scores by returned values has any: without them all solutions would be equal.

    Args:
        strategy: the strategy.
        found: all matrices; no more of them are taken than it needs to know.
        place: where they come from.

    Raises:
        DataError: it has none.
    """
    if not strategy.needs_values:
        return
    some = False
    for matrix in found:
        if (matrix.values != NO_VALUE).any():
            return
        some = True
    if some:
        raise DataError(
            f"{place} holds no returned value, by which the ranking strategy {strategy.label} scores; give values, or "
            "choose a strategy that reads who passes what, such as consensus."
        )


def strategies_of(config: Config) -> list[Strategy]:
    """Load the strategy that makes the pairs, and those that it is compared with.

    A strategy that ``compare`` names too is scored once, so that an ablation changes ``strategy`` alone.

    Raises:
        ConfigError: one cannot be loaded or is compared twice.
    """
    section = config.rankings
    others = [choice for choice in section.compare if choice != section.strategy]
    strategies = [build(choice, config.seed) for choice in (section.strategy, *others)]
    labels = [strategy.label for strategy in strategies]
    repeated = {label for label in labels if labels.count(label) > 1}
    if repeated:
        raise ConfigError(
            f"rankings: {', '.join(sorted(repeated))} is configured twice; name each strategy once."
        )
    return strategies


def check(services: Services) -> str:
    """See, before any work, that the strategies can be loaded, and name them."""
    return ", ".join(strategy.label for strategy in strategies_of(services.config))


def run(context: StageContext) -> None:
    """Write the scores of every strategy, and how the first iterating one converged.

    Raises:
        ConfigError: a strategy cannot be used.
        DataError: the strategy that makes the pairs scores by returned values, and no task has any.
    """
    strategies = strategies_of(context.config)
    traced = next((strategy for strategy in strategies if strategy.traces), None)
    tests = context.by_task(Test, "task_id", "test_id", "call")
    cells = context.by_task(Execution, *CELL)

    def of(table: pa.Table) -> Iterator[PassMatrix]:
        return matrices(table, calls_of_tests(tests.of(table.column("task_id").unique().to_pylist())))

    everything = (matrix for table in context.tables(Execution, *CELL) for matrix in of(table))
    check_values(strategies[0], everything, "the table of executions")
    for part in context.parts(cells.task_ids):
        solution_scores: list[SolutionScore] = []
        test_scores: list[TestScore] = []
        convergence: list[Convergence] = []
        for matrix in of(cells.of(part.items)):
            for strategy in strategies:
                scores = strategy.scores(matrix, **({"trace": True} if strategy is traced else {}))
                solution_scores.extend(solution_rows(matrix, strategy.label, scores))
                test_scores.extend(_test_rows(matrix, strategy.label, scores))
                if strategy is traced and scores.trace is not None:
                    convergence.extend(_convergence_rows(matrix.task_id, scores.trace))
        part.write({SolutionScore: solution_scores, TestScore: test_scores, Convergence: convergence})


def solution_rows(matrix: PassMatrix, label: str, scores: Scores) -> Iterator[SolutionScore]:
    """Yield one row a solution: score, rank, and probability where the strategy estimates it."""
    known = scores.probabilities
    probabilities = [-1.0] * len(matrix.solution_ids) if known is None else known.tolist()
    columns = (
        matrix.solution_ids,
        scores.solutions.tolist(),
        ranks(scores.solutions).tolist(),
        probabilities,
    )
    for solution_id, score, rank, probability in zip(*columns, strict=True):
        yield SolutionScore(matrix.task_id, solution_id, label, score, rank, probability)


def _test_rows(matrix: PassMatrix, label: str, scores: Scores) -> Iterator[TestScore]:
    if scores.tests is not None:
        for test_id, score in zip(matrix.test_ids, scores.tests.tolist(), strict=True):
            yield TestScore(matrix.task_id, test_id, label, score)


def _convergence_rows(task_id: str, trace: NDArray[np.float64]) -> Iterator[Convergence]:
    for iteration, (before, after) in enumerate(pairwise(trace), start=1):
        change = float(np.abs(after - before).max(initial=0.0))
        yield Convergence(task_id, iteration, change, order_changes(before, after))

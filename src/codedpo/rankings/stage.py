"""Score the solutions and tests of every task by the configured strategies."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedpo.context import StageContext
from codedpo.core.config import Config, Plugin
from codedpo.core.errors import ConfigError
from codedpo.core.matrix import PassMatrix, calls_of_tests, matrices
from codedpo.core.records import Convergence, Execution, SolutionScore, Test, TestScore
from codedpo.core.registry import load
from codedpo.rankings.registry import STRATEGIES
from codedpo.rankings.scores import Scores, order_changes, ranks
from codedpo.services import Services


@dataclass(frozen=True, slots=True)
class Strategy:
    """A ranking strategy with its options bound."""

    label: str
    rank: Callable[..., Scores]
    options: dict[str, Any]
    traces: bool
    """It iterates, and its ``trace`` option shows every iteration."""


def build(choice: Plugin, seed: int) -> Strategy:
    """Load a strategy and check its options against the function's signature.

    Raises:
        ConfigError: unknown kind, plug-in that cannot be imported, or an option that the strategy does not have.
    """
    rank = load(STRATEGIES, choice.kind, choice.path, what="ranking strategy")
    parameters = inspect.signature(rank).parameters
    options = ({"seed": seed} if "seed" in parameters else {}) | choice.options
    try:
        inspect.signature(rank).bind(None, **options)
    except TypeError as error:
        known = ", ".join(list(parameters)[1:]) or "none"
        raise ConfigError(
            f"the ranking strategy {choice.kind} was given options {choice.options}: {error}; it has {known}."
        ) from error
    return Strategy(choice.label, rank, options, "trace" in parameters)


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


def check(services: Services) -> None:
    """See, before any work, that the strategies can be loaded."""
    strategies_of(services.config)


def run(context: StageContext) -> None:
    """Write the scores of every strategy, and how the first iterating one converged."""
    strategies = strategies_of(context.config)
    traced = next((strategy for strategy in strategies if strategy.traces), None)
    calls = calls_of_tests(context.columns(Test))
    for part in context.parts(list(matrices(context.columns(Execution), calls))):
        solution_scores: list[SolutionScore] = []
        test_scores: list[TestScore] = []
        convergence: list[Convergence] = []
        for matrix in part.items:
            for strategy in strategies:
                options = strategy.options | ({"trace": True} if strategy is traced else {})
                scores = strategy.rank(matrix, **options)
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

"""Which solutions of a task make correctness pairs."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from codedpo.core.behaviour import groups
from codedpo.pairs.scored import Scored


@dataclass(frozen=True, slots=True)
class Choice:
    """Positions of the preferred and the dispreferred solution within a task."""

    chosen: int
    rejected: int
    probability: float = -1.0
    """Chance that the chosen side is right and the rejected wrong; -1: not estimated."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Which pairs are wanted."""

    rejected: Literal["worst", "hardest"] = "worst"
    most_pairs: int = 1
    least_margin: float = 0.0
    least_chosen_score: float = 0.0
    least_rejected_score: float = 0.0
    least_probability: float = 0.0


def correctness_choices(task: Scored, rule: Rule) -> list[Choice] | str:
    """Pair the best-ranked programs with the worst (or hardest) ones that load, or say why there is no pair.

    Among equal ranks the first solution is taken: solutions are independent samples, so the first of a group is
    a random draw of it, and the same one in every run. Code that does not load is left out on both sides:
    telling it from code that runs is no lesson; so is code that equals the chosen one, which may be ranked apart from
    it (by ``random``, or where what it returns varies). ``hardest`` takes the rejected side from the largest group of
    solutions that behave alike but unlike the chosen one: a mistake that the model makes often.

    Returns:
        At least one choice, best first, or the reason of the first pair that was refused: ``too_few_load``
        (fewer than two solutions load), ``all_equal`` (no order between those that load, or none that the rejected side
        may be), ``below_margin``, ``low_score``, ``low_probability``.
    """
    usable = np.flatnonzero(task.matrix.loaded)
    if len(usable) < 2:
        return "too_few_load"
    if task.ranks[usable].min() == task.ranks[usable].max():
        return "all_equal"
    best_first = _distinct(usable[np.argsort(task.ranks[usable], kind="stable")], task)
    choices: list[Choice] = []
    rejected_first = _rejected_order(usable, best_first[0], task, rule)
    for chosen in best_first[: rule.most_pairs]:
        rejected_first = [one for one in rejected_first if task.codes[one] != task.codes[chosen]]
        if not rejected_first or task.ranks[chosen] >= task.ranks[rejected_first[0]]:
            break
        rejected = rejected_first.pop(0)
        choice = Choice(chosen, rejected, _probability(task, chosen, rejected))
        refusal = _refusal(task, choice, rule)
        if refusal:
            return choices or refusal
        choices.append(choice)
    return choices or "all_equal"


def surest(probabilities: Mapping[str, float], share: float) -> frozenset[str]:
    """Choose the tasks whose pairs are kept: this share of those that have any, the most probable first.

    Args:
        probabilities: task -> that of its first pair, for the tasks that have one.
        share: 0 to 1; at least one task is kept.
    """
    in_order = sorted(probabilities, key=lambda task_id: -probabilities[task_id])
    return frozenset(in_order[: max(1, round(share * len(in_order)))])


def kept_choices(task: Scored, rule: Rule, kept: Collection[str] | None) -> list[Choice] | str:
    """Choose as ``correctness_choices``; a task that is not in ``kept`` (None: all are) is ``below_share_kept``."""
    found = correctness_choices(task, rule)
    if isinstance(found, str) or kept is None or task.task_id in kept:
        return found
    return "below_share_kept"


def _distinct(solutions: NDArray[np.int64], task: Scored) -> list[int]:
    """Keep the first solution of every distinct code."""
    first: dict[str, int] = {}
    for solution in solutions.tolist():
        first.setdefault(task.codes[solution], solution)
    return list(first.values())


def _rejected_order(usable: NDArray[np.int64], best: int, task: Scored, rule: Rule) -> list[int]:
    """Order the candidates for the rejected side."""
    worst_first = usable[np.argsort(-task.ranks[usable], kind="stable")]
    if rule.rejected == "worst":
        return _distinct(worst_first, task)
    labels, _ = groups(np.concatenate([task.matrix.values, task.matrix.passed], axis=1))
    sizes = np.bincount(labels[usable], minlength=int(labels.max()) + 1)
    others = worst_first[(labels[worst_first] != labels[best]) & (task.ranks[worst_first] > task.ranks[best])]
    return _distinct(others[np.argsort(-sizes[labels[others]], kind="stable")], task)


def _probability(task: Scored, chosen: int, rejected: int) -> float:
    if task.probabilities is None:
        return -1.0
    return float(task.probabilities[chosen] * (1.0 - task.probabilities[rejected]))


def _refusal(task: Scored, choice: Choice, rule: Rule) -> str:
    chosen, rejected = float(task.scores[choice.chosen]), float(task.scores[choice.rejected])
    if chosen - rejected < rule.least_margin:
        return "below_margin"
    if chosen < rule.least_chosen_score or rejected < rule.least_rejected_score:
        return "low_score"
    if task.probabilities is not None and choice.probability < rule.least_probability:
        return "low_probability"
    return ""

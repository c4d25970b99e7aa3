"""How good a ranking is, given which solutions are right. Ties count as their expected value. Pure functions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TIE = 1e-9


@dataclass(frozen=True, slots=True)
class TaskResult:
    """One ranking of one (sub)sample of a task."""

    pass_at: dict[int, float]
    """k -> probability that one of k picks is right, one pick from each of the k best score groups (CodeT)."""
    has_pair: bool
    """Some solution that loads is scored above another."""
    chosen_right: float
    """Probability that the chosen side is right; nan without a pair."""
    pair_right: float
    """Probability that the chosen side is right and the rejected side wrong; nan without a pair."""
    area: float
    """Area under the ROC curve of the scores within the task; nan unless there are right and wrong solutions."""
    confidence: float
    """By which tasks are ordered when only some pairs are kept."""


def tie_groups(scores: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Return the positions of each group of equal scores, best group first."""
    order = np.argsort(-scores, kind="stable")
    cuts = np.flatnonzero(-np.diff(scores[order]) > TIE) + 1
    return np.split(order, cuts) if len(order) else []


def judge(
    scores: NDArray[np.float64],
    right: NDArray[np.bool_],
    loaded: NDArray[np.bool_],
    confidence: float,
    ks: tuple[int, ...] = (1, 2, 10),
) -> TaskResult:
    """Judge the scores [S] of a task's solutions by their labels."""
    usable = np.flatnonzero(loaded)
    groups = tie_groups(scores[usable])
    has_pair = len(groups) > 1
    chosen = float(right[usable[groups[0]]].mean()) if has_pair else float("nan")
    rejected = float(right[usable[groups[-1]]].mean()) if has_pair else float("nan")
    return TaskResult(
        pass_at={k: pass_at(scores, right, k) for k in ks},
        has_pair=has_pair,
        chosen_right=chosen,
        pair_right=chosen * (1 - rejected),
        area=area_under_curve(scores, right),
        confidence=confidence,
    )


def pass_at(scores: NDArray[np.float64], right: NDArray[np.bool_], k: int) -> float:
    """Return CodeT's pass@k: one random pick from each of the k best groups of equal score.

    With fewer groups than k the picks go round them again. Scores that are all equal say nothing: then it is the
    chance of k different random solutions.
    """
    groups = tie_groups(scores)
    if len(groups) <= 1:
        return 1.0 - _all_wrong(len(right), int(right.sum()), min(k, len(right)))
    wrong = 1.0
    for pick in range(k):
        wrong *= 1.0 - float(right[groups[pick % min(k, len(groups))]].mean())
    return 1.0 - wrong


def _all_wrong(count: int, right: int, k: int) -> float:
    if count - right < k:
        return 0.0
    return float(np.prod(1.0 - k / np.arange(count - right + 1, count + 1)))


def area_under_curve(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Return the chance that a right solution is scored above a wrong one, ties counting half."""
    if right.all() or not right.any():
        return float("nan")
    difference = scores[right][:, None] - scores[~right][None, :]
    return float((difference > TIE).mean() + 0.5 * (np.abs(difference) <= TIE).mean())


def precision_at(results: list[TaskResult], share: float) -> float:
    """Return the pair precision of the most confident ``share`` of all tasks, or of those that have a pair if fewer."""
    paired = sorted((one for one in results if one.has_pair), key=lambda one: -one.confidence)
    kept = paired[: max(1, round(share * len(results)))]
    return float(np.mean([one.pair_right for one in kept])) if kept else float("nan")


def calibration_error(predicted: NDArray[np.float64], observed: NDArray[np.float64], bins: int = 10) -> float:
    """Return the expected calibration error over ``bins`` bins of equal count."""
    order = np.argsort(predicted, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [abs(predicted[part].mean() - observed[part].mean()) * len(part) for part in parts]
    return float(np.sum(gaps) / len(predicted))

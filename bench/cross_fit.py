"""The confidence of ``consensus``: constants chosen on one half of the tasks, reported on the other, both ways.

    python -m bench.cross_fit --solutions FILE --tests FILE [--budget 15x15] [--draws 20]

``bench.rankings --half reporting`` gives the shipped constants on one half. Here both halves are held out in turn, so
that all tasks count: powers by the best pass@1 of the fitted half, odds by logistic regression on its best-ranked
solutions. Beside the calibration error stands the one that a perfect predictor would have with so few tasks:
labels are drawn from its own probabilities, once with equal fate for all draws of a task, once independent.
"""

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.rank_metrics import TaskResult, calibration_error, precision_at, tie_groups
from bench.rankings import (
    Budget,
    Rank,
    Sample,
    add_arguments,
    description,
    draw,
    evaluate,
    in_half,
    load_tasks,
    mean,
    summary,
)
from bench.samples import LabelledTask
from codedpo.core.rng import stream
from codedpo.evaluation.metrics import bootstrap_interval
from codedpo.rankings import consensus

AGREEMENT_POWERS = (1.0, 2.0, 3.0, 4.0)
GROUP_POWERS = (0.0, 0.25, 0.5)
HALVES = ("tuning", "reporting")
SIMULATIONS = 200
Draws = Sequence[Sequence[Sample]]


def _with(options: Mapping[str, float]) -> Rank:
    return lambda matrix: consensus.rank(matrix, **options)


def fit(samples: Draws, label: str) -> dict[str, float]:
    """Choose the constants of ``consensus`` on samples with known labels."""
    powers = [
        {"agreement_power": agreement, "group_power": group}
        for agreement, group in itertools.product(AGREEMENT_POWERS, GROUP_POWERS)
    ]
    ranks = {str(index): _with(options) for index, options in enumerate(powers)}
    results = evaluate(ranks, samples, label)
    best = max(results, key=lambda name: mean(results[name], lambda one: one.pass_at[1]))
    chosen = powers[int(best)]
    features, right = [], []
    for matrix, labels in itertools.chain.from_iterable(samples):
        usable = np.flatnonzero(matrix.loaded)
        if len(usable) and len(groups := tie_groups(consensus.rank(matrix, **chosen).solutions[usable])) > 1:
            top = usable[groups[0]]
            features.append(consensus.evidence(matrix)[:, top].mean(axis=1))
            right.append(labels[label][top].mean())
    odds = logistic(np.array(features), np.array(right))
    return chosen | dict(zip(("log_odds", "agreement_odds", "group_odds"), odds, strict=True))


def logistic(features: NDArray[np.float64], right: NDArray[np.float64]) -> list[float]:
    """Return intercept and weights of greatest likelihood (Newton's method), a little shrunk so that they exist."""
    design = np.column_stack([np.ones(len(features)), features])
    weights = np.zeros(design.shape[1])
    for _ in range(50):
        chance = 1.0 / (1.0 + np.exp(-design @ weights))
        gradient = design.T @ (right - chance) - 1e-3 * weights
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + 1e-3 * np.eye(len(weights))
        weights += np.linalg.solve(curvature, gradient)
    return [float(weight) for weight in weights]


def least_calibration_error(results: Sequence[Sequence[TaskResult]], *, alike: bool) -> float:
    """Return the mean calibration error of a perfect predictor that gives these probabilities for these tasks.

    Args:
        results: of every task and draw.
        alike: whether one number decides all draws of a task, or each has its own.
    """
    random = stream(0, "bench.cross_fit", "calibration", str(alike))
    confidence = np.array([one.confidence for draws in results for one in draws if one.has_pair])
    task = np.array([index for index, draws in enumerate(results) for one in draws if one.has_pair])
    errors = []
    for _ in range(SIMULATIONS):
        fate = random.random(len(results))[task] if alike else random.random(len(task))
        errors.append(calibration_error(confidence, (fate < confidence).astype(np.float64)))
    return float(np.mean(errors))


def interval_at(results: Sequence[Sequence[TaskResult]], share: float) -> tuple[float, float]:
    """Return the 95% bootstrap interval over tasks of the pair precision at a yield."""
    random = stream(0, "bench.cross_fit", "precision", str(share))
    found = []
    for _ in range(SIMULATIONS):
        picked = random.integers(0, len(results), len(results))
        by_draw = zip(*(results[index] for index in picked), strict=True)
        found.append(np.nanmean([precision_at(list(draws), share) for draws in by_draw]))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def figures_of(results: Sequence[Sequence[TaskResult]]) -> dict[str, Any]:
    """Return what is reported of one half, or of both."""
    found = summary(results)
    pass_at_1 = [float(np.mean([one.pass_at[1] for one in draws])) for draws in results]
    return {
        "tasks": len(results),
        "pass@1": found["pass@1"],
        "pass@1_interval": bootstrap_interval(pass_at_1, stream(0, "bench.cross_fit", "pass@1")),
        "pair_precision": found["pair_precision"],
        "pair_precision_at_25": found["pair_precision_at_25"],
        "pair_precision_at_25_interval": interval_at(results, 0.25),
        "calibration_error": found["calibration_error"],
        "calibration_error_of_a_perfect_predictor": (
            least_calibration_error(results, alike=False),
            least_calibration_error(results, alike=True),
        ),
    }


def held_out(
    samples: Mapping[str, Draws], label: str
) -> tuple[dict[str, dict[str, float]], dict[str, list[list[TaskResult]]]]:
    """Return, by the half that is reported, the constants fitted on the other half and the results with them."""
    constants = {half: fit(samples[other], label) for half, other in zip(HALVES, HALVES[::-1], strict=True)}
    results = {
        half: evaluate({"ours": _with(options)}, samples[half], label)["ours"]
        for half, options in constants.items()
    }
    return constants, results


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options = add_arguments(parser).parse_args(arguments)
    tasks = load_tasks(options)
    label = next(iter(tasks[0].right))
    budget = Budget.parse(options.budget)
    halves: dict[str, list[LabelledTask]] = {
        half: [task for task in tasks if in_half(task.matrix.task_id, half)] for half in HALVES
    }
    samples = {
        half: [[draw(task, budget, number) for number in range(options.draws)] for task in found]
        for half, found in halves.items()
    }
    constants, results = held_out(samples, label)
    for half, other in zip(HALVES, HALVES[::-1], strict=True):
        rounded = {name: round(value, 2) for name, value in constants[half].items()}
        print(f"{half}: {description(halves[half], label)}; constants of the half {other}: {rounded}")
    output = {half: figures_of(found) for half, found in results.items()}
    output["both"] = figures_of([draws for found in results.values() for draws in found])
    for half, figures in output.items():
        print(f"\n{half}, {budget}, labels of {label}")
        for name, value in figures.items():
            shown = " to ".join(f"{100 * one:.1f}" for one in value) if isinstance(value, tuple) else ""
            print(f"  {name}: {shown or (value if name == 'tasks' else f'{100 * value:.1f}')}")
    print(json.dumps(output | {"constants": constants}))


if __name__ == "__main__":
    main()

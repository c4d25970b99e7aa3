"""Tables of a run -> plain numbers for its figures. Pure functions."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from codedpo.core.records import PairKind
from codedpo.report.run_folder import StageState

PRODUCTS = {
    "seeds": ("seeds",),
    "tasks": ("tasks",),
    "candidates": ("solutions", "tests"),
    "executions": ("executions",),
    "rankings": ("solution_scores", "test_scores"),
    "pairs": ("pairs",),
    "training": ("training_steps",),
    "evaluation": ("samples",),
}
"""The tables whose rows a stage is there to make; its drops are rows that would have been theirs."""
HIDDEN_COUNTERS = ("_tokens", "new_replies", "cached_replies", "recorded_replies")
"""Counters that the table of costs shows."""
BINS = 20


@dataclass(frozen=True, slots=True)
class FunnelRow:
    """What one stage made and dropped."""

    stage: str
    made: dict[str, int]
    dropped: dict[str, int]
    """By reason, most frequent first."""
    kept_share: float
    notes: dict[str, float]
    """Counters of degradations."""
    adopted_from: str


@dataclass(frozen=True, slots=True)
class CostRow:
    """What one stage cost."""

    stage: str
    cpu_seconds: float
    wall_seconds: float
    prompt_tokens: int
    completion_tokens: int
    cached_replies: int
    """Recorded ones among them."""


def _counted(counters: Mapping[str, float], name: str) -> int:
    """Add up what was newly asked and what the cache held."""
    return int(sum(value for key, value in counters.items() if key.endswith(name)))


def funnel(stages: Iterable[StageState]) -> list[FunnelRow]:
    """Return one row for every finished stage that makes rows."""
    rows = []
    for state in stages:
        summary = state.summary
        if summary is None or not summary.rows:
            continue
        products = PRODUCTS.get(state.name, tuple(summary.rows))
        made = {name: summary.rows.get(name, 0) for name in products}
        dropped = dict(sorted(summary.rejects.items(), key=lambda item: (-item[1], item[0])))
        total = sum(made.values()) + sum(dropped.values())
        notes = {
            name: value
            for name, value in summary.counters.items()
            if value and not name.endswith(HIDDEN_COUNTERS)
        }
        rows.append(
            FunnelRow(
                stage=state.name,
                made=made,
                dropped=dropped,
                kept_share=sum(made.values()) / total if total else 0.0,
                notes=notes,
                adopted_from=state.adopted_from,
            )
        )
    return rows


def costs(stages: Iterable[StageState]) -> list[CostRow]:
    """Return CPU time, wall time and tokens of every finished stage."""
    return [
        CostRow(
            stage=state.name,
            cpu_seconds=state.summary.cpu_seconds,
            wall_seconds=state.summary.wall_seconds,
            prompt_tokens=_counted(state.summary.counters, "prompt_tokens"),
            completion_tokens=_counted(state.summary.counters, "completion_tokens"),
            cached_replies=sum(
                _counted(state.summary.counters, f"{origin}_replies") for origin in ("cached", "recorded")
            ),
        )
        for state in stages
        if state.summary is not None
    ]


def binned(values: NDArray[np.float64], low: float = 0.0, high: float = 1.0) -> tuple[list[float], list[int]]:
    """Count values in ``BINS`` equal bins; returns edges (one more) and counts."""
    counts, edges = np.histogram(np.clip(values, low, high), bins=BINS, range=(low, high))
    return edges.tolist(), counts.tolist()


def joined(pieces: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the values of all parts of a table."""
    return np.concatenate([np.empty(0), *pieces])


def scores_of(table: pa.Table, strategy: str) -> NDArray[np.float64]:
    """Return the scores that one strategy gave, from columns of ``SolutionScore`` or ``TestScore``."""
    own = table.filter(pc.equal(table.column("strategy"), strategy))
    return np.asarray(own.column("score").to_numpy(), dtype=np.float64)


def score_gaps(solution_scores: pa.Table, strategy: str) -> NDArray[np.float64]:
    """Return, for each task, its best minus its worst score: 0 is a task that cannot make a pair."""
    own = solution_scores.filter(pc.equal(solution_scores.column("strategy"), strategy))
    extremes = own.group_by("task_id", use_threads=False).aggregate([("score", "max"), ("score", "min")])
    gaps = pc.subtract(extremes.column("score_max"), extremes.column("score_min"))
    return np.asarray(gaps.to_numpy(), dtype=np.float64)


def pass_shares(executions: pa.Table, passed: str) -> NDArray[np.float64]:
    """Return, for each solution, the share of its cells whose outcome is ``passed``."""
    links = pc.cast(pc.equal(executions.column("outcome"), passed), pa.float64())
    cells = pa.table({"solution_id": executions.column("solution_id"), "link": links})
    shares = cells.group_by("solution_id", use_threads=False).aggregate([("link", "mean")])
    return np.asarray(shares.column("link_mean").to_numpy(), dtype=np.float64)


def average_ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return ranks from 1, equal values sharing the mean of their ranks."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[group], dtype=np.float64)


def spearman(first: NDArray[Any], second: NDArray[Any]) -> float | None:
    """Return Spearman's rank correlation, or None where one side does not vary."""
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(average_ranks(first), average_ranks(second))[0, 1])


def strategies_compared(
    solution_ranks: Iterable[pa.Table], strategy: str, pairs: pa.Table, alternatives: pa.Table
) -> list[dict[str, Any]]:
    """Compare each other strategy with the one that made the pairs.

    Args:
        solution_ranks: columns of ``SolutionScore``, in parts of whole tasks. Scores would not do: those of equal
            solutions differ by rounding.
        strategy: the one that made the pairs.
        pairs: columns of the run's ``Pair``; those for efficiency are left out.
        alternatives: columns of ``AlternativePair``: the correctness pairs that the others would have made.

    Returns:
        For each: ``strategy``; ``same_best``, the share of tasks in which it has the same best solution, of equal
        ranks the first, as in pairs; ``spearman``, the mean over tasks where both vary; ``tasks``; ``pairs`` that it
        would make; ``same_pairs``, the share of the run's correctness pairs that are among them, ``same_chosen`` that
        of the run's chosen solutions, both None where the run or the other has none.
    """
    own = _sides(pairs.filter(pc.equal(pairs.column("kind"), PairKind.CORRECTNESS.value)))
    own_chosen = {chosen for chosen, _ in own}
    found: dict[str, tuple[list[bool], list[float]]] = {}
    for ranks in (of_task for table in solution_ranks for of_task in _by_task(table)):
        for other in (name for name in ranks if name != strategy):
            same, correlations = found.setdefault(other, ([], []))
            ids = [key for key in ranks.get(strategy, ()) if key in ranks[other]]
            if not ids:
                continue
            ours, theirs = (np.array([ranks[name][key] for key in ids]) for name in (strategy, other))
            same.append(bool(ours.argmin() == theirs.argmin()))
            correlation = spearman(ours, theirs)
            if correlation is not None:
                correlations.append(correlation)
    rows = []
    for other, (same, correlations) in found.items():
        sides = _sides(alternatives.filter(pc.equal(alternatives.column("strategy"), other)))
        rows.append(
            {
                "strategy": other,
                "same_best": float(np.mean(same)) if same else 0.0,
                "spearman": float(np.mean(correlations)) if correlations else None,
                "tasks": len(same),
                "pairs": len(sides),
                "same_pairs": len(own & sides) / len(own) if own and sides else None,
                "same_chosen": len(own_chosen & {chosen for chosen, _ in sides}) / len(own_chosen)
                if own and sides
                else None,
            }
        )
    return rows


def _by_task(solution_ranks: pa.Table) -> Iterable[Mapping[str, Mapping[str, int]]]:
    """Return strategy -> solution id -> rank of every task."""
    by_task: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    columns = (
        solution_ranks.column(name).to_pylist() for name in ("task_id", "strategy", "solution_id", "rank")
    )
    for task_id, name, solution_id, rank in zip(*columns, strict=True):
        by_task[task_id][name][solution_id] = rank
    return by_task.values()


def _sides(pairs: pa.Table) -> set[tuple[str, str]]:
    columns = (pairs.column(f"{side}_solution_id").to_pylist() for side in ("chosen", "rejected"))
    return set(zip(*columns, strict=True))


def convergence(table: pa.Table) -> list[dict[str, float]]:
    """Return, for each iteration, median, 10% and 90% quantile over tasks of the largest change, and order changes."""
    iterations = table.column("iteration").to_numpy()
    changes = table.column("largest_change").to_numpy()
    moved = table.column("order_changes").to_numpy()
    rows = []
    for iteration in np.unique(iterations):
        here = iterations == iteration
        low, middle, high = np.quantile(changes[here], (0.1, 0.5, 0.9))
        rows.append(
            {
                "iteration": float(iteration),
                "median": float(middle),
                "low": float(low),
                "high": float(high),
                "order_changes": float(moved[here].mean()),
                "tasks_moved": float((moved[here] > 0).mean()),
            }
        )
    return rows

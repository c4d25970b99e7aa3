"""What the page's browser of pass matrices and pairs reads: compact plain data, embedded once as JSON.

A cell of a matrix is one character that names its (outcome, error type) in ``kinds``; texts are stored once,
and pairs refer to solutions by position. 200 tasks of 15 x 15 take about 2 MB, nearly all of it code.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from codedpo.core.records import Pair, Seed, Solution, Task, Test, Timing

FIRST_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def letter(index: int) -> str:
    """Return the character that stands for kind ``index``; never one that JSON or HTML escapes."""
    return FIRST_LETTERS[index] if index < len(FIRST_LETTERS) else chr(0x100 + index)


def evenly(items: Sequence[str], most: int) -> list[str]:
    """Pick at most ``most`` items, spread evenly over the whole."""
    if len(items) <= most:
        return list(items)
    return [items[index * len(items) // most] for index in range(most)]


def shown_tasks(task_ids: Iterable[str], executed: Collection[str], most: int) -> list[str]:
    """Choose at most ``most`` of the tasks that were executed, spread evenly over all of them."""
    known = set(executed)
    return evenly([task_id for task_id in task_ids if task_id in known], most)


def browse(
    *,
    tasks: Sequence[Task],
    seeds: Mapping[str, Seed],
    solutions: Sequence[Solution],
    tests: Sequence[Test],
    executions: pa.Table,
    solution_scores: pa.Table,
    test_scores: pa.Table,
    timings: Sequence[Timing],
    pairs: Sequence[Pair],
    strategy: str,
    total: int,
) -> dict[str, Any]:
    """Join the rows of the tasks that the page shows; each table holds those of these tasks alone.

    Returns:
        ``kinds``: [outcome, error type] by letter position, most frequent first; ``tasks``: see ``_task``;
        ``pairs``: those of the shown tasks; ``total``: number of tasks that were executed.
    """
    outcomes, errors = (executions.column(name).to_pylist() for name in ("outcome", "error_type"))
    kinds = [kind for kind, _ in Counter(zip(outcomes, errors, strict=True)).most_common()]
    letters = {kind: letter(index) for index, kind in enumerate(kinds)}
    by_task: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    ids = (executions.column(name).to_pylist() for name in ("task_id", "solution_id", "test_id"))
    for task_id, solution_id, test_id, outcome, error in zip(*ids, outcomes, errors, strict=True):
        by_task[task_id][solution_id, test_id] = letters[outcome, error]

    solution_score = _scores(solution_scores, "solution_id", strategy)
    test_score = _scores(test_scores, "test_id", strategy)
    samples = {row.solution_id: row for row in timings}
    own_solutions, own_tests = _grouped(solutions), _grouped(tests)
    rows: list[dict[str, Any]] = []
    positions: dict[str, int] = {}
    for task in tasks:
        task_id = task.task_id
        ordered_solutions = sorted(
            own_solutions[task_id], key=lambda row: -solution_score.get(row.solution_id, 0.0)
        )
        ordered_tests = sorted(own_tests[task_id], key=lambda row: -test_score.get(row.test_id, 0.0))
        positions |= {row.solution_id: index for index, row in enumerate(ordered_solutions)}
        grid = by_task[task_id]
        rows.append(
            _about(task, seeds.get(task.seed_id))
            | {
                "solutions": [
                    _solution(row, solution_score.get(row.solution_id), samples.get(row.solution_id))
                    for row in ordered_solutions
                ],
                "tests": [
                    {"id": row.test_id, "code": row.code, "score": _short(test_score.get(row.test_id))}
                    for row in ordered_tests
                ],
                "cells": [
                    "".join(grid[solution.solution_id, test.test_id] for test in ordered_tests)
                    for solution in ordered_solutions
                ],
            }
        )
    place = {task.task_id: index for index, task in enumerate(tasks)}
    return {
        "strategy": strategy,
        "kinds": kinds,
        "total": total,
        "tasks": rows,
        "pairs": [_pair(pair, place[pair.task_id], positions) for pair in pairs],
    }


def _grouped(rows: Sequence[Any]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        groups[row.task_id].append(row)
    return groups


def _scores(table: pa.Table, key: str, strategy: str) -> dict[str, float]:
    own = table.filter(pc.equal(table.column("strategy"), strategy))
    return dict(zip(own.column(key).to_pylist(), own.column("score").to_pylist(), strict=True))


def _short(score: float | None) -> float | None:
    return None if score is None else float(f"{score:.4g}")


def _about(task: Task, seed: Seed | None) -> dict[str, Any]:
    about: dict[str, Any] = {
        "id": task.task_id,
        "name": task.entry_point,
        "prompt": task.prompt,
        "signature": task.signature,
        "concepts": task.concepts,
    }
    if seed is not None:
        lines = f"{seed.first_line}–{seed.last_line}"
        about["seed"] = {
            "where": f"{seed.repo_name}, {seed.path}, lines {lines}, {seed.license}",
            "code": seed.code,
        }
    return about


def _solution(row: Solution, score: float | None, timing: Timing | None) -> dict[str, Any]:
    content: dict[str, Any] = {"id": row.solution_id, "code": row.code, "score": _short(score)}
    if timing is not None and timing.samples_ns:
        content["ns"] = [float(f"{sample:.4g}") for sample in timing.samples_ns]
    return content


def _pair(pair: Pair, task: int, positions: Mapping[str, int]) -> dict[str, Any]:
    return {
        "id": pair.pair_id,
        "task": task,
        "kind": pair.kind,
        "split": pair.split,
        "chosen": positions[pair.chosen_solution_id],
        "rejected": positions[pair.rejected_solution_id],
        "scores": [_short(pair.chosen_score), _short(pair.rejected_score)],
        "ns": [_short(pair.chosen_cpu_ns), _short(pair.rejected_cpu_ns)],
        "ratio": _short(pair.speed_ratio),
        "low": _short(pair.speed_ratio_low),
    }

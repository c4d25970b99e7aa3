"""The tables of the stages before, joined as pairs are made from them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedpo.benchmarks.decontamination import REASONS
from codedpo.context import StageContext
from codedpo.core.errors import DataError
from codedpo.core.matrix import calls_of_tests, matrices
from codedpo.core.records import Execution, Seed, Solution, SolutionScore, Task, Test, Text, TextKind
from codedpo.core.stage import StageFolder
from codedpo.pairs.card import Provenance
from codedpo.pairs.scored import Scored


def provenance(context: StageContext) -> Provenance:
    """Collect what the dataset card says of the stages before."""
    seeds = {seed.seed_id: seed for seed in context.read(Seed)}
    dropped: dict[str, dict[str, int]] = {}
    for stage in ("seeds", "tasks"):
        summary = StageFolder(context.stage_folders[stage]).summary()
        rejects = summary.rejects if summary else {}
        dropped[stage] = {reason: rejects[reason] for reason in REASONS if reason in rejects}
    tasks = context.read(Task)
    return Provenance(
        config=context.config,
        seed_of_task={task.task_id: seeds[task.seed_id] for task in tasks if task.seed_id in seeds},
        seeds=len(seeds),
        decontaminated=dropped,
        source_ids={task.task_id: task.source_id for task in tasks if task.source_id},
    )


def column(context: StageContext, row_type: type[Any], key: str, value: str) -> dict[str, str]:
    """Return two columns of a table as a mapping."""
    table = context.columns(row_type)
    return dict(zip(table.column(key).to_pylist(), table.column(value).to_pylist(), strict=True))


def scores_by_strategy(context: StageContext) -> dict[str, dict[str, SolutionScore]]:
    """Read strategy -> solution id -> score, strategies in the order of the config."""
    found: dict[str, dict[str, SolutionScore]] = {}
    for row in context.read(SolutionScore):
        found.setdefault(row.strategy, {})[row.solution_id] = row
    return found


def scored_tasks(context: StageContext, scores: Mapping[str, SolutionScore]) -> Iterator[Scored]:
    """Join matrix, scores of one strategy, code and prompt of every task that was executed."""
    solutions = {solution.solution_id: solution for solution in context.read(Solution)}
    prompts = _prompts(context)
    calls = calls_of_tests(context.columns(Test))
    for matrix in (matrix for table in context.tables(Execution) for matrix in matrices(table, calls)):
        empty = np.empty(0)
        task = Scored(
            matrix=matrix,
            scores=empty,
            ranks=empty.astype(np.int64),
            codes=tuple(solutions[solution_id].code for solution_id in matrix.solution_ids),
            prompt=user_message(prompts[matrix.task_id], matrix.task_id),
        )
        yield rescored(task, scores)


def _prompts(context: StageContext) -> dict[str, str]:
    """Return task id -> the messages that asked for its solutions, the same for all of them."""
    prompts: dict[str, str] = {}
    for table in context.tables(Text):
        columns = (table.column(name).to_pylist() for name in ("kind", "parent_id", "prompt"))
        for kind, task_id, prompt in zip(*columns, strict=True):
            if kind == TextKind.SOLUTION.value:
                prompts.setdefault(task_id, prompt)
    return prompts


def rescored(task: Scored, scores: Mapping[str, SolutionScore]) -> Scored:
    """Return the task with the scores of another strategy."""
    rows = [scores[solution_id] for solution_id in task.matrix.solution_ids]
    return replace(
        task,
        scores=np.array([row.score for row in rows]),
        ranks=np.array([row.rank for row in rows]),
        probabilities=_probabilities(rows),
    )


def _probabilities(rows: Sequence[SolutionScore]) -> NDArray[np.float64] | None:
    known = np.array([row.probability for row in rows])
    return None if (known < 0).any() else known


def user_message(prompt: str, task_id: str) -> str:
    """Take the user's words out of a stored conversation.

    Raises:
        DataError: the conversation is not a single user message, which a pair could not carry.
    """
    messages = json.loads(prompt)
    if [message["role"] for message in messages] != ["user"]:
        raise DataError(
            f"the solutions of task {task_id} were asked with {len(messages)} messages, but a pair carries one user "
            "message; write the candidates' prompt as one user message"
        )
    return str(messages[0]["content"])

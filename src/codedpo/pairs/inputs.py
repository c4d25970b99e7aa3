"""The tables of the stages before, joined as pairs are made from them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from codedpo.benchmarks.decontamination import REASONS
from codedpo.context import StageContext
from codedpo.core.errors import DataError
from codedpo.core.matrix import CELL, calls_of_tests, matrices
from codedpo.core.records import Execution, Seed, Solution, SolutionScore, Task, Test, Text, TextKind
from codedpo.core.stage import StageFolder
from codedpo.core.tables import to_rows
from codedpo.pairs.card import Origin, Provenance
from codedpo.pairs.scored import Scored


def provenance(context: StageContext) -> Provenance:
    """Collect what the dataset card says of the stages before."""
    seeds = {
        row["seed_id"]: Origin(**row)
        for row in context.columns(Seed, "seed_id", "repo_name", "license").to_pylist()
    }
    dropped: dict[str, dict[str, int]] = {}
    for stage in ("seeds", "tasks"):
        summary = StageFolder(context.stage_folders[stage]).summary()
        rejects = summary.rejects if summary else {}
        dropped[stage] = {reason: rejects[reason] for reason in REASONS if reason in rejects}
    tasks = context.columns(Task, "task_id", "seed_id", "source_id").to_pylist()
    candidates = StageFolder(context.stage_folders["candidates"]).stored_identity() or {}
    return Provenance(
        config=context.config,
        seed_of_task={row["task_id"]: seeds[row["seed_id"]] for row in tasks if row["seed_id"] in seeds},
        seeds=len(seeds),
        decontaminated=dropped,
        source_ids={row["task_id"]: row["source_id"] for row in tasks if row["source_id"]},
        model_identity=candidates.get("model", ""),
    )


def without_probabilities(context: StageContext) -> set[str]:
    """Return the strategies that do not estimate the probability of every solution."""
    found: set[str] = set()
    for table in context.tables(SolutionScore, "strategy", "probability"):
        unknown = table.filter(pc.less(table.column("probability"), 0))
        found.update(unknown.column("strategy").unique().to_pylist())
    return found


@dataclass(frozen=True, slots=True)
class Joined:
    """Some tasks with all that pairs are made from."""

    tasks: list[Scored]
    """Scored by the strategy that makes the pairs."""
    scores: dict[str, dict[str, SolutionScore]]
    """Strategy -> solution id -> score, strategies in the order of the config."""
    calls: dict[str, str]
    """Test id -> call; empty where a test has another form."""


class Inputs:
    """The tables of the stages before, joined for some tasks at a time."""

    def __init__(self, context: StageContext) -> None:
        self._strategy = context.config.rankings.strategy.label
        self._cells = context.by_task(Execution, *CELL)
        self._tests = context.by_task(Test, "task_id", "test_id", "call")
        self._solutions = context.by_task(Solution, "task_id", "solution_id", "code")
        self._scores = context.by_task(SolutionScore)
        self._texts = context.by_task(Text, "kind", "parent_id", "prompt", key="parent_id")
        self.task_ids = self._cells.task_ids
        """Tasks that were executed."""

    def of(self, task_ids: Sequence[str]) -> Joined:
        """Join matrix, scores, code and prompt of some tasks.

        Raises:
            DataError: cells do not fill a matrix, or a prompt is not a single user message.
        """
        tests = self._tests.of(task_ids)
        code_of = _mapping(self._solutions.of(task_ids), "solution_id", "code")
        prompts = self._prompts(task_ids)
        scores: dict[str, dict[str, SolutionScore]] = {}
        for row in to_rows(self._scores.of(task_ids), SolutionScore):
            scores.setdefault(row.strategy, {})[row.solution_id] = row
        tasks = []
        empty = np.empty(0)
        for matrix in matrices(self._cells.of(task_ids), calls_of_tests(tests)):
            task = Scored(
                matrix=matrix,
                scores=empty,
                ranks=empty.astype(np.int64),
                codes=tuple(code_of[solution_id].strip() for solution_id in matrix.solution_ids),
                prompt=user_message(prompts[matrix.task_id], matrix.task_id),
            )
            tasks.append(rescored(task, scores[self._strategy]))
        return Joined(tasks, scores, _mapping(tests, "test_id", "call"))

    def _prompts(self, task_ids: Sequence[str]) -> dict[str, str]:
        """Return task id -> the messages that asked for its solutions, the same for all of them."""
        texts = self._texts.of(task_ids)
        asked = texts.filter(pc.equal(texts.column("kind"), TextKind.SOLUTION.value))
        return _mapping(asked, "parent_id", "prompt")


def _mapping(table: pa.Table, key: str, value: str) -> dict[str, str]:
    """Return two columns of a table as a mapping."""
    return dict(zip(table.column(key).to_pylist(), table.column(value).to_pylist(), strict=True))


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

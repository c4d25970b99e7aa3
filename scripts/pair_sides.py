"""How answers behave beside the two sides of a pair: on the tests that the model wrote for the pair's task."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from run_tables import rows_of

from codedpo.core.records import Outcome, Pair, Task, Test
from codedpo.llm.parse import extract_code
from codedpo.sandbox.base import Cell, Limits, job_of
from codedpo.services import Services


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One answer beside its pair. Programs behave alike where they pass the same tests and return the same values."""

    like_chosen: bool
    like_rejected: bool
    passed: int
    passed_chosen: int
    passed_rejected: int
    tests: int


def behaviours(
    run: Path, services: Services, asked: Sequence[tuple[Pair, Sequence[str]]]
) -> Iterator[list[Behaviour]]:
    """Run answers and the sides of their pair in the sandbox.

    Args:
        run: The run that the pairs' tasks are of.
        services: Those of the run.
        asked: Pairs, each with replies to its prompt; one without a program passes nothing.

    Yields:
        For each pair one behaviour a reply.
    """
    entry_points = {task.task_id: task.entry_point for task in rows_of(run, "tasks", Task)}
    tests: dict[str, list[Test]] = defaultdict(list)
    for test in rows_of(run, "candidates", Test):
        tests[test.task_id].append(test)
    limits = Limits.from_config(services.config.sandbox)
    jobs = []
    for pair, replies in asked:
        texts = (pair.chosen, pair.rejected, *replies)
        codes = [extract_code(text, entry_points[pair.task_id]).code or "" for text in texts]
        jobs.append(job_of(pair.pair_id, codes, tests[pair.task_id], limits))
    for matrix in services.sandbox.run(jobs):
        chosen, rejected, *rows = map(_behaviour, matrix.cells)
        counts = (_passed(chosen), _passed(rejected), len(chosen))
        yield [Behaviour(own == chosen, own == rejected, _passed(own), *counts) for own in rows]


def _behaviour(row: Sequence[Cell]) -> list[tuple[bool, str]]:
    return [(cell.outcome is Outcome.PASSED, cell.value_digest) for cell in row]


def _passed(behaviour: Sequence[tuple[bool, str]]) -> int:
    return sum(passed for passed, _ in behaviour)

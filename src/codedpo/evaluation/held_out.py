"""The run's own held-out tasks as a yardstick that costs no benchmark: how many of their tests the answers pass.

The tests are the model's own, and many are wrong; what counts is the change from the weights before training to those
after it. In the experiment of ``docs/results.md`` it told trainings apart where the loss on held-out pairs did not.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from codedpo.context import StageContext
from codedpo.core.config import Config
from codedpo.core.records import HELD_OUT, TESTS_PASSED, Metric, Outcome, Pair, Task, Test
from codedpo.core.rng import stream
from codedpo.evaluation.answering import request_of
from codedpo.evaluation.metrics import bootstrap_interval, paired_difference
from codedpo.evaluation.scoring import AFTER, BEFORE, DIFFERENCE
from codedpo.llm.base import Reply, Request
from codedpo.llm.parse import extract_code
from codedpo.sandbox.base import Limits, job_of

Replies = Mapping[str, Sequence[Reply]]
"""By request id."""


@dataclass(frozen=True, slots=True)
class HeldOutTask:
    """A task that no training pair is of."""

    task_id: str
    prompt: str
    """The user message of its pairs."""
    entry_point: str
    tests: tuple[Test, ...]

    @property
    def key(self) -> str:
        """Id of the request for it."""
        return f"{HELD_OUT}/{self.task_id}"


def tasks_of(pairs: Sequence[Pair], tasks: Sequence[Task], tests: Sequence[Test]) -> tuple[HeldOutTask, ...]:
    """Return the tasks of validation pairs, in the order of the pairs."""
    entry_points = {task.task_id: task.entry_point for task in tasks}
    tests_of: dict[str, list[Test]] = defaultdict(list)
    for test in tests:
        tests_of[test.task_id].append(test)
    prompts = {pair.task_id: pair.prompt for pair in pairs if pair.split == "validation"}
    return tuple(
        HeldOutTask(task_id, prompt, entry_points[task_id], tuple(tests_of[task_id]))
        for task_id, prompt in prompts.items()
    )


def requests_of(tasks: Sequence[HeldOutTask], config: Config) -> list[Request]:
    """Return one request a task, sampled as the answers to benchmarks are."""
    return [request_of(task.key, task.prompt, config) for task in tasks]


def metrics_of(
    context: StageContext, tasks: Sequence[HeldOutTask], replies: Mapping[str, Replies]
) -> Iterator[Metric]:
    """Run the answers of both models and yield the mean share of tests passed of each, and the paired difference.

    Args:
        context: Runs programs with the limits of the run's own executions.
        tasks: The held-out tasks; without any, there are no figures.
        replies: Of each model.
    """
    if not tasks:
        return
    answers = {
        (model, task.key): [
            extract_code(reply.text, task.entry_point).code or "" for reply in of_model[task.key]
        ]
        for model, of_model in replies.items()
        for task in tasks
    }
    codes = [
        list(dict.fromkeys(code for model in replies for code in answers[model, task.key])) for task in tasks
    ]
    limits = Limits.from_config(context.config.sandbox)
    jobs = (job_of(task.task_id, own, task.tests, limits) for task, own in zip(tasks, codes, strict=True))
    shares: dict[str, list[float]] = defaultdict(list)
    for task, own, matrix in zip(tasks, codes, context.execute(jobs), strict=True):
        passed = {
            code: sum(cell.outcome is Outcome.PASSED for cell in cells) / len(cells)
            for code, cells in zip(own, matrix.cells, strict=True)
        }
        for model in replies:
            found = [passed[code] for code in answers[model, task.key]]
            shares[model].append(sum(found) / len(found))
    seed = context.config.seed
    for model, values in shares.items():
        interval = bootstrap_interval(values, stream(seed, "evaluation", HELD_OUT, model))
        yield Metric(model, HELD_OUT, TESTS_PASSED, sum(values) / len(values), *interval, len(values))
    change = paired_difference(
        shares[BEFORE], shares[AFTER], stream(seed, "evaluation", HELD_OUT, DIFFERENCE)
    )
    yield Metric(DIFFERENCE, HELD_OUT, TESTS_PASSED, change.value, change.low, change.high, change.count)

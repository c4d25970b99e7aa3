"""The run's own held-out tasks as a yardstick that costs no benchmark: how many of their tests the answers pass.

The tests are the model's own, and many are wrong; what counts is the change from the weights before training to those
after it. In the experiment of ``docs/results.md`` it told trainings apart where the loss on held-out pairs did not.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from codedpo.context import StageContext
from codedpo.core.config import Config
from codedpo.core.errors import DataError
from codedpo.core.records import HELD_OUT, TESTS_PASSED, Metric, Outcome, Pair, Task, Test
from codedpo.core.rng import stream
from codedpo.core.split import held_out_tasks
from codedpo.evaluation.answering import request_of
from codedpo.evaluation.metrics import mean_interval, paired_difference
from codedpo.evaluation.scoring import AFTER, BEFORE, DIFFERENCE
from codedpo.llm.base import Reply, Request
from codedpo.llm.parse import extract_code
from codedpo.llm.prompts import conversation
from codedpo.sandbox.base import Limits, job_of

Replies = Mapping[str, Sequence[Reply]]
"""By request id."""


@dataclass(frozen=True, slots=True)
class HeldOutTask:
    """A task that no training pair is of."""

    task_id: str
    prompt: str
    """The user message that asks for it, that of its pairs where it has any."""
    entry_point: str
    tests: tuple[Test, ...]

    @property
    def key(self) -> str:
        """Id of the request for it."""
        return f"{HELD_OUT}/{self.task_id}"


def tasks_of(context: StageContext) -> tuple[HeldOutTask, ...]:
    """Read the held-out tasks that have a test, in the order of all tasks.

    They are the same for every variant of a run, since a ranking does not change them: tasks without a pair are asked
    too, by the message that asked for their solutions.

    Raises:
        DataError: the prompt of a task's pairs is another message.
    """
    task_ids = context.columns(Task, "task_id").column(0).to_pylist()
    share, seed = context.config.pairs.validation_share, context.config.seed
    held_out = sorted(held_out_tasks(task_ids, share, seed))
    tests_of: dict[str, list[Test]] = defaultdict(list)
    for test in context.find(Test, "task_id", held_out):
        tests_of[test.task_id].append(test)
    prompts = {pair.task_id: pair.prompt for pair in context.find(Pair, "task_id", held_out)}
    found = []
    for task in (task for task in context.find(Task, "task_id", held_out) if tests_of[task.task_id]):
        prompt = _prompt(task)
        if prompts.get(task.task_id, prompt) != prompt:
            raise DataError(
                f"held-out task {task.task_id}: the prompt of its pairs is not the message that asks for solutions "
                "now; make the candidates again with --redo candidates."
            )
        found.append(HeldOutTask(task.task_id, prompt, task.entry_point, tuple(tests_of[task.task_id])))
    return tuple(found)


def _prompt(task: Task) -> str:
    """Return the message that asked for the solutions of a task, from the prompt file of the stage candidates."""
    values = {"prompt": task.prompt, "signature": task.signature, "entry_point": task.entry_point}
    (message,) = conversation("codedpo.candidates", "solution.txt", **values)
    return message.content


def requests_of(tasks: Sequence[HeldOutTask], config: Config) -> list[Request]:
    """Return one request a task, sampled as the answers to benchmarks are."""
    return [request_of(task.key, task.prompt, config) for task in tasks]


def _answered(tasks: Sequence[HeldOutTask], replies: Mapping[str, Replies]) -> list[HeldOutTask]:
    """Return the tasks to which every model gave all its answers: one that could not be had is no wrong one."""
    return [
        task
        for task in tasks
        if all(reply.finish_reason != "refused" for of_one in replies.values() for reply in of_one[task.key])
    ]


def metrics_of(
    context: StageContext, tasks: Sequence[HeldOutTask], replies: Mapping[str, Replies]
) -> Iterator[Metric]:
    """Run the answers of both models and yield the mean share of tests passed of each, and the paired difference.

    Args:
        context: Runs programs with the limits of the run's own executions.
        tasks: The held-out tasks. Those that a model did not answer are left out, which is said; without any, there
            are no figures.
        replies: Of each model.
    """
    answered = _answered(tasks, replies)
    if len(answered) < len(tasks):
        left_out = len(tasks) - len(answered)
        context.voice.say(
            f"  {left_out} of {len(tasks)} held-out tasks are left out: a model did not answer them"
        )
    tasks = answered
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
        interval = mean_interval(values, stream(seed, "evaluation", HELD_OUT, model))
        yield Metric(model, HELD_OUT, TESTS_PASSED, sum(values) / len(values), *interval, len(values))
    change = paired_difference(
        shares[BEFORE], shares[AFTER], stream(seed, "evaluation", HELD_OUT, DIFFERENCE)
    )
    yield Metric(DIFFERENCE, HELD_OUT, TESTS_PASSED, change.value, change.low, change.high, change.count)

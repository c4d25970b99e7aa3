"""Stage 2: two calls a seed (concepts, then a task), or given tasks; near-duplicates and benchmark problems out."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from codedpo.benchmarks.decontamination import Decontaminator
from codedpo.context import Part, StageContext
from codedpo.core.config import Config
from codedpo.core.near_duplicates import near_duplicates
from codedpo.core.records import Reject, Seed, Task, Text, TextKind
from codedpo.core.tables import read_rows
from codedpo.llm.base import Reply, Request
from codedpo.llm.prompts import conversation, sampling_of, text_row
from codedpo.services import Services
from codedpo.tasks.given import read_tasks
from codedpo.tasks.parse import NoTask, parse_concepts, parse_task


def concepts_request(seed: Seed, config: Config) -> Request:
    """Ask for the concepts of a seed, after three worked examples of both calls."""
    messages = conversation("codedpo.tasks", "concepts.txt", code=seed.code.strip())
    sampling = sampling_of(config.tasks.concepts_sampling, ("\n\n",))
    return Request(f"{seed.seed_id}/concepts", messages, sampling, seed=config.seed)


def task_request(seed: Seed, concepts: Sequence[str], config: Config) -> Request:
    """Ask, in the same conversation, for a task that needs these concepts: an engine reuses the work on it."""
    before = concepts_request(seed, config).messages
    messages = (*before, *conversation("codedpo.tasks", "task.txt", concepts=", ".join(concepts)))
    sampling = sampling_of(config.tasks.task_sampling)
    return Request(f"{seed.seed_id}/task", messages, sampling, seed=config.seed)


def check(services: Services) -> str:
    """Read the file of given tasks before any work, and say how many there are; nothing where there is no file.

    Raises:
        DataError: it is not what it should be.
    """
    file = services.config.tasks.file
    return f"{len(read_tasks(Path(file)))} tasks in {file}" if file else ""


def run(context: StageContext) -> None:
    """Write texts and tasks, made from seeds or given; every seed that gives no task leaves a reject.

    Raises:
        DataError: the file of given tasks is not what it should be.
        TooManyRejectsError: hardly any reply is a task.
    """
    if context.config.tasks.file:
        for given in context.parts(read_tasks(Path(context.config.tasks.file)), whole=True):
            rejects: list[Reject] = []
            tasks = _checked(given.items, context, rejects)
            given.write({Text: [], Task: tasks}, rejects)
        return
    seeds = context.read(Seed)
    for part in context.parts(seeds, whole=True):
        _run_part(context, part)
    _check_rejects(context)


@dataclass(frozen=True, slots=True)
class _Answer:
    """A reply and what it answers, of which the row that is written repeats the whole conversation."""

    parent_id: str
    kind: TextKind
    request: Request
    reply: Reply

    def row(self) -> Text:
        return text_row(self.request, self.reply, self.kind, self.parent_id)


def _run_part(context: StageContext, part: Part[Seed]) -> None:
    config, seeds = context.config, part.items
    rejects: list[Reject] = []
    listed = _ask(
        context, {seed.seed_id: concepts_request(seed, config) for seed in seeds}, TextKind.CONCEPTS
    )
    concepts = {
        answer.parent_id: parse_concepts(answer.reply.text)
        for answer in listed
        if answer.reply.finish_reason != "refused"
    }
    asked = [seed for seed in seeds if concepts.get(seed.seed_id)]
    rejects.extend(_without_concepts(answer.row()) for answer in listed if not concepts.get(answer.parent_id))
    answers = _ask(
        context,
        {seed.seed_id: task_request(seed, concepts[seed.seed_id], config) for seed in asked},
        TextKind.TASK,
    )
    tasks = _checked(list(_tasks(seeds, concepts, answers, rejects)), context, rejects)
    part.write({Text: (answer.row() for answer in chain(listed, answers)), Task: tasks}, rejects)


def _without_concepts(text: Text) -> Reject:
    if text.finish_reason == "refused":
        return Reject(text.text_id, "refused", text.text[:200])
    return Reject(text.parent_id, "no_concepts", text.text[:200])


def _check_rejects(context: StageContext) -> None:
    """Look at what is written, also by an earlier command: what stopped that one stops this one.

    A reject of a seed or of a reply begins with the seed's id, one of a finished task with the task's.
    """
    rejects = read_rows(context.folder.parts_of(Reject), Reject)
    of_replies = Counter(reject.reason for reject in rejects if reject.row_id.startswith("s"))
    tasks = sum(marker["rows"]["tasks"] for marker in context.folder.part_markers())
    context.check_rejects(
        tasks + len(rejects) - of_replies.total(),
        of_replies,
        context.config.tasks.largest_reject_share,
        f"read the reasons in {context.folder.path / 'rejects'}, and use a stronger model or other seeds",
    )


def _checked(tasks: Sequence[Task], context: StageContext, rejects: list[Reject]) -> list[Task]:
    """Drop tasks that repeat another one, an example of the prompt or a benchmark's problem."""
    config = context.config
    problems = [problem for name in config.kept_out for problem in context.services.problems(name)]
    unlike = _without_repeats(tasks, config.tasks.near_duplicate_threshold, rejects)
    return _without_benchmarks(unlike, Decontaminator(problems), rejects)


def _ask(context: StageContext, requests: Mapping[str, Request], kind: TextKind) -> list[_Answer]:
    """Return the replies in the order of the requests, which is the order of the seeds."""
    by_id = {request.request_id: (parent_id, request) for parent_id, request in requests.items()}
    answers: dict[str, _Answer] = {}
    for reply in context.generate(list(requests.values()), f"{context.name}: {kind.value}"):
        parent_id, request = by_id[reply.request_id]
        answers[parent_id] = _Answer(parent_id, kind, request, reply)
    return [answers[parent_id] for parent_id in requests]


def _tasks(
    seeds: Sequence[Seed],
    concepts: Mapping[str, list[str]],
    answers: Iterable[_Answer],
    rejects: list[Reject],
) -> Iterable[Task]:
    by_id = {seed.seed_id: seed for seed in seeds}
    for answer in answers:
        if answer.reply.finish_reason == "refused":
            rejects.append(Reject(answer.row().text_id, "refused", answer.reply.text[:200]))
            continue
        seed = by_id[answer.parent_id]
        parsed = parse_task(answer.reply.text, seed)
        if isinstance(parsed, NoTask):
            rejects.append(Reject(answer.row().text_id, parsed.reason, parsed.detail))
            continue
        yield Task(
            task_id=f"t{seed.seed_id[1:]}",
            seed_id=seed.seed_id,
            concepts=concepts[seed.seed_id],
            prompt=parsed.prompt,
            signature=parsed.signature,
            entry_point=parsed.entry_point,
        )


def examples() -> list[str]:
    """Return the example tasks of the prompt, which small models like to copy."""
    messages = conversation("codedpo.tasks", "concepts.txt", code="")
    return [message.content for message in messages if message.content.startswith("Task:")]


def _without_repeats(tasks: Sequence[Task], threshold: float, rejects: list[Reject]) -> list[Task]:
    """Drop each task that repeats an earlier one or an example of the prompt."""
    shown = examples()
    texts = [*shown, *(f"Task: {task.prompt}\nSignature: {task.signature}" for task in tasks)]
    kept: list[Task] = []
    for task, original in zip(tasks, near_duplicates(texts, threshold)[len(shown) :], strict=True):
        if original is None:
            kept.append(task)
        elif original < len(shown):
            rejects.append(Reject(task.task_id, "copies_example", task.prompt[:200]))
        else:
            rejects.append(Reject(task.task_id, "near_duplicate", tasks[original - len(shown)].task_id))
    return kept


def _without_benchmarks(
    tasks: Iterable[Task], decontaminator: Decontaminator, rejects: list[Reject]
) -> list[Task]:
    kept: list[Task] = []
    for task in tasks:
        match = decontaminator.match(f"{task.prompt}\n{task.signature}", task.entry_point, None)
        if match is None:
            kept.append(task)
        else:
            rejects.append(Reject(task.task_id, match.reason, f"{match.problem}: {match.evidence}"))
    return kept

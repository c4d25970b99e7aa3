"""Stage 3: solutions and tests of every task, asked for independently; raw replies kept, then parsed."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from codedpo.context import Part, StageContext
from codedpo.core.config import CandidatesConfig
from codedpo.core.records import Reject, Solution, Task, Test, Text, TextKind
from codedpo.llm.base import Request
from codedpo.llm.parse import ExtractedCode, Extraction, extract_code
from codedpo.llm.parse_tests import Dropped, ExtractedTests, extract_tests
from codedpo.llm.prompts import conversation, sampling_of, text_row

_USELESS = ("refused", "no_tests", *(found.value for found in Extraction if found is not Extraction.FOUND))
"""Reasons to reject a whole reply, and not one assertion of it."""

_Sample = tuple[str, int]
"""Request and number of a reply."""


def solution_request(task: Task, config: CandidatesConfig, seed: int) -> Request:
    """Ask for the solutions of a task; the message is also the prompt of the preference pairs."""
    messages = conversation("codedpo.candidates", "solution.txt", **_values(task))
    sampling = sampling_of(config.solution_sampling)
    return Request(f"{task.task_id}/solution", messages, sampling, config.solutions, seed)


def test_request(task: Task, config: CandidatesConfig, seed: int) -> Request:
    """Ask for tests: as many replies of ``tests_per_reply`` assertions as ``tests`` need."""
    messages = conversation("codedpo.candidates", "test.txt", count=config.tests_per_reply, **_values(task))
    count = -(-config.tests // config.tests_per_reply)
    sampling = sampling_of(config.test_sampling)
    return Request(f"{task.task_id}/test", messages, sampling, count, seed)


test_request.__test__ = False  # type: ignore[attr-defined]  # keeps pytest from collecting it


def _values(task: Task) -> dict[str, str]:
    return {"prompt": task.prompt, "signature": task.signature, "entry_point": task.entry_point}


def run(context: StageContext) -> None:
    """Write texts, solutions and tests; every reply and assertion that is not one leaves a reject.

    Raises:
        TooManyRejectsError: hardly any reply holds code.
    """
    for part in context.parts(context.read(Task)):
        _check_rejects(context)
        _run_part(context, part)
    _check_rejects(context)


@dataclass(frozen=True, slots=True)
class _Replies:
    """The replies of a part, and what was found in those that are not refused, by request and sample."""

    texts: dict[_Sample, Text] = field(default_factory=dict)
    codes: dict[_Sample, ExtractedCode] = field(default_factory=dict)
    tests: dict[_Sample, ExtractedTests] = field(default_factory=dict)


def _run_part(context: StageContext, part: Part[Task]) -> None:
    config, seed = context.config.candidates, context.config.seed
    requests = [
        request(task, config, seed) for task in part.items for request in (solution_request, test_request)
    ]
    replies = _replies(context, requests, {task.task_id: task for task in part.items})
    order = [(request.request_id, position) for request in requests for position in range(request.count)]
    rejects: list[Reject] = []
    solutions = list(_solutions(replies, order, rejects))
    tests = list(_tests(replies, order, config, rejects))
    texts = [replies.texts[sample] for sample in order]
    useless = {text.text_id for text in texts} & {reject.row_id for reject in rejects}
    part.count("replies_used", len(texts) - len(useless))
    part.count("replies_without_code", len(useless))
    part.write({Text: texts, Solution: solutions, Test: tests}, rejects)


def _replies(context: StageContext, requests: Sequence[Request], tasks: Mapping[str, Task]) -> _Replies:
    """Ask, and read every reply when it comes: an endpoint goes on meanwhile, and would idle if all were read last."""
    by_id = {request.request_id: request for request in requests}
    replies = _Replies()
    for reply in context.generate(requests):
        task_id, _, kind = reply.request_id.partition("/")
        sample = reply.request_id, reply.position
        replies.texts[sample] = text_row(by_id[reply.request_id], reply, TextKind(kind), task_id)
        if reply.finish_reason == "refused":
            continue
        entry_point = tasks[task_id].entry_point
        if kind == TextKind.SOLUTION.value:
            replies.codes[sample] = extract_code(reply.text, entry_point)
        else:
            limit = context.config.candidates.tests_per_reply
            replies.tests[sample] = extract_tests(reply.text, entry_point, limit)
    return replies


def _solutions(replies: _Replies, order: Sequence[_Sample], rejects: list[Reject]) -> Iterator[Solution]:
    """Yield the solutions in order; equal ones stay, since how often a solution is written counts."""
    for sample in order:
        text, found = replies.texts[sample], replies.codes.get(sample)
        if text.kind != TextKind.SOLUTION.value:
            continue
        if found is None:
            rejects.append(Reject(text.text_id, "refused", text.text[:200]))
        elif found.outcome is Extraction.FOUND:
            solution_id = f"{text.parent_id}/s{text.position:02d}"
            yield Solution(solution_id, text.parent_id, text.text_id, found.code)
        else:
            rejects.append(Reject(text.text_id, found.outcome.value, f"finish_reason {text.finish_reason}"))


def _tests(
    replies: _Replies, order: Sequence[_Sample], config: CandidatesConfig, rejects: list[Reject]
) -> Iterator[Test]:
    """Yield the tests in order, up to ``config.tests`` different ones a task."""
    seen: dict[str, set[str]] = defaultdict(set)
    for sample in order:
        text, found = replies.texts[sample], replies.tests.get(sample)
        if text.kind != TextKind.TEST.value:
            continue
        if found is None:
            rejects.append(Reject(text.text_id, "refused", text.text[:200]))
            continue
        if not found.tests:
            rejects.append(Reject(text.text_id, "no_tests", f"finish_reason {text.finish_reason}"))
        for number, (reason, code) in enumerate(found.dropped):
            rejects.append(Reject(f"{text.text_id}/dropped-{number:02d}", reason.value, code[:200]))
        of_task = seen[text.parent_id]
        for number, test in enumerate(found.tests):
            reason = Dropped.DUPLICATE if test.code in of_task else Dropped.BEYOND_LIMIT
            if test.code in of_task or len(of_task) >= config.tests:
                rejects.append(Reject(f"{text.text_id}/{number:02d}", reason.value, test.code[:200]))
                continue
            test_id = f"{text.parent_id}/a{len(of_task):02d}"
            of_task.add(test.code)
            yield Test(test_id, text.parent_id, text.text_id, test.code, test.call, test.expected)


def _check_rejects(context: StageContext) -> None:
    """Look at all parts that are written, also by an earlier command: what stopped that one stops this one."""
    markers = context.folder.part_markers()
    rejected = {reason: sum(marker["rejects"].get(reason, 0) for marker in markers) for reason in _USELESS}
    context.check_rejects(
        int(sum(marker["counters"].get("replies_used", 0) for marker in markers)),
        rejected,
        context.config.candidates.largest_reject_share,
        "read the texts, and use a stronger model or a larger max_tokens",
    )

"""From problems to judged samples: what a model is asked, and what becomes of its replies."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from codedpo.benchmarks.base import Benchmark, Problem
from codedpo.core.config import Config
from codedpo.core.errors import BackendError
from codedpo.core.progress import Voice
from codedpo.core.records import Outcome, Sample
from codedpo.evaluation.scoring import Answer, Verdict, answer_of, canonical_verdicts, judge_and_time, lacking
from codedpo.llm.base import Generator, Message, Reply, Request, Sampling
from codedpo.llm.parse import Extraction
from codedpo.sandbox.base import Sandbox

Benchmarks = Mapping[str, Benchmark]
"""By the name that the config uses."""
NO_REPLY = "no reply"
"""Why a sample was not run whose reply is ``refused``: the endpoint failed, or the prompt did not fit. ``text`` says
more."""
SandboxFor = Callable[[Benchmark], Sandbox]
"""``Services.sandbox_for``: the sandbox for the answers of a benchmark."""


@dataclass(frozen=True, slots=True)
class Item:
    """One problem for one model."""

    model: str
    benchmark: str
    problem: Problem

    @property
    def key(self) -> str:
        """Name the problem among all benchmarks."""
        return f"{self.benchmark}/{self.problem.problem_id}"


def check_harness(
    sandbox_for: SandboxFor, benchmarks: Benchmarks, items: Sequence[Item], voice: Voice
) -> None:
    """Run the published solutions of the problems before a model is judged.

    Raises:
        BackendError: one does not pass here, so that no model could be judged on it.
    """
    for name, benchmark in benchmarks.items():
        own = dict.fromkeys(item.problem for item in items if item.benchmark == name)
        problems = [problem for problem in own if problem.canonical_solution]
        verdicts = canonical_verdicts(sandbox_for(benchmark), benchmark, problems)
        failing = [
            f"{problem_id} ({f'{verdict.outcome} {verdict.error_type}'.strip()})"
            for problem_id, verdict in voice.follow(f"{name}: published solutions", verdicts, len(problems))
            if verdict.outcome not in (Outcome.PASSED.value, Outcome.NOT_RUN.value)
        ]
        if failing:
            raise BackendError(
                f"{len(failing)} published solutions of {name} do not pass in this sandbox: {', '.join(failing[:5])}; "
                "run `codedpo check`, and again with less work beside it where they time out."
            )


def requests_of(items: Sequence[Item], benchmarks: Benchmarks, config: Config) -> list[Request]:
    """Return the requests of one model's items; equal for every model."""
    return [request_of(item.key, benchmarks[item.benchmark].request(item.problem), config) for item in items]


def request_of(request_id: str, text: str, config: Config) -> Request:
    """Return a request as the config's evaluation samples it."""
    section = config.evaluation
    return Request(
        request_id=request_id,
        messages=(Message("user", text),),
        sampling=Sampling(section.temperature, section.top_p, section.max_tokens),
        count=section.samples,
        seed=config.seed,
    )


def ask(
    generator: Generator, requests: Sequence[Request], voice: Voice, description: str
) -> dict[str, list[Reply]]:
    """Ask a model everything at once, so that its batches are full; return the replies by item key.

    Raises:
        BackendError: the model is unavailable.
    """
    replies: dict[str, list[Reply]] = defaultdict(list)
    try:
        total = sum(request.count for request in requests)
        with voice.progress(description, total) as advance:
            for reply in generator.generate(requests):
                replies[reply.request_id].append(reply)
                advance(1)
    finally:
        generator.close()
    return {key: sorted(found, key=lambda reply: reply.position) for key, found in replies.items()}


def judged_replies(
    sandbox_for: SandboxFor,
    benchmarks: Benchmarks,
    config: Config,
    items: Sequence[Item],
    replies: Mapping[str, Sequence[Reply]],
) -> Iterator[Sample]:
    """Extract the programs of one model's replies, run them, and yield the samples of one benchmark after another.

    A refused reply is no answer, so it is neither right nor wrong: ``NOT_RUN``, which the figures leave out.
    """
    for name in dict.fromkeys(item.benchmark for item in items):
        own = [item for item in items if item.benchmark == name]
        answers = [[_answer(reply, item.problem) for reply in replies[item.key]] for item in own]
        work = [
            (item.problem, [code for answer in found for code in (answer.solution, answer.plain) if code])
            for item, found in zip(own, answers, strict=True)
        ]
        sandbox = sandbox_for(benchmarks[name])
        verdicts = judge_and_time(sandbox, benchmarks[name], work)
        requests = requests_of(own, benchmarks, config)
        for item, request, found, known in zip(own, requests, answers, verdicts, strict=True):
            prompt = json.dumps([asdict(message) for message in request.messages], ensure_ascii=False)
            lack = lacking(sandbox, item.problem)
            for reply, answer in zip(replies[item.key], found, strict=True):
                missing = Verdict(Outcome.NOT_LOADED.value, answer.extraction.value)
                if reply.finish_reason == "refused":
                    missing = Verdict(Outcome.NOT_RUN.value, NO_REPLY)
                elif lack:
                    missing = Verdict(Outcome.NOT_RUN.value, lack)
                verdict = known[answer.solution] if answer.extraction is Extraction.FOUND else missing
                yield Sample(
                    sample_id=f"{item.model}/{item.key}/{reply.position}",
                    model=item.model,
                    benchmark=name,
                    problem_id=item.problem.problem_id,
                    position=reply.position,
                    prompt=prompt,
                    text=reply.text,
                    finish_reason=reply.finish_reason,
                    completion_tokens=reply.completion_tokens,
                    solution=answer.solution,
                    outcome=verdict.outcome,
                    error_type=verdict.error_type,
                    cpu_ns=verdict.cpu_ns,
                    plain_outcome=known.get(answer.plain, missing).outcome,
                    efficiency=verdict.efficiency,
                )


def _answer(reply: Reply, problem: Problem) -> Answer:
    """Read a reply; a refused one holds an error message in the place of an answer."""
    if reply.finish_reason == "refused":
        return Answer("", Extraction.NO_CODE, "")
    return answer_of(reply.text, problem)


def judged_programs(
    sandbox: Sandbox, benchmark: Benchmark, items: Sequence[Item], programs: Sequence[Sequence[str]]
) -> Iterator[Sample]:
    """Run programs that are at hand, some for each item of one benchmark, and yield them as samples.

    They have no prompt, and nothing is extracted: ``plain_outcome`` is empty.
    """
    work = [(item.problem, codes) for item, codes in zip(items, programs, strict=True)]
    for item, codes, known in zip(items, programs, judge_and_time(sandbox, benchmark, work), strict=True):
        for position, code in enumerate(codes):
            verdict = known[code]
            yield Sample(
                sample_id=f"{item.model}/{item.key}/{position}",
                model=item.model,
                benchmark=item.benchmark,
                problem_id=item.problem.problem_id,
                position=position,
                prompt="",
                text="",
                finish_reason="",
                completion_tokens=0,
                solution=code,
                outcome=verdict.outcome,
                error_type=verdict.error_type,
                cpu_ns=verdict.cpu_ns,
                plain_outcome="",
                efficiency=verdict.efficiency,
            )

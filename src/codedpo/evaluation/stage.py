"""Judge the model before and after training: the same prompts, template, stop rule, extraction and sandbox."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from codedpo.benchmarks import load_benchmark
from codedpo.benchmarks.base import Benchmark, Problem
from codedpo.context import Part, StageContext
from codedpo.core.config import ModelConfig
from codedpo.core.errors import BackendError
from codedpo.core.records import Metric, Outcome, Sample
from codedpo.core.registry import load
from codedpo.core.tables import read_rows, write_atomically
from codedpo.evaluation.scoring import AFTER, BEFORE, Verdict, answer_of, failing_canonical, judge, metrics_of
from codedpo.llm.base import Message, Reply, Request, Sampling
from codedpo.llm.cache import CachedGenerator
from codedpo.llm.parse import Extraction
from codedpo.services import GENERATORS


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


def run(context: StageContext) -> None:
    """Write samples and figures of both models, and the samples in the format that evalplus reads."""
    section = context.config.evaluation
    benchmarks = {
        name: load_benchmark(name, context.config.resources.data_folder) for name in section.benchmarks
    }
    problems = {name: benchmark.problems()[: section.limit or None] for name, benchmark in benchmarks.items()}
    items = [
        Item(model, name, problem)
        for model in (BEFORE, AFTER)
        for name, found in problems.items()
        for problem in found
    ]
    replies: dict[str, list[Reply]] = {}
    asked = ""
    for part in context.parts(items):
        if not asked:
            _judge_the_harness(context, benchmarks, problems)
        rows: list[Sample] = []
        for model in dict.fromkeys(item.model for item in part.items):
            own = [item for item in part.items if item.model == model]
            if asked != model:
                replies = _replies(context, part, [item for item in items if item.model == model], benchmarks)
                asked = model
            rows += _judged(context, own, replies, benchmarks)
        for outcome, count in Counter(row.outcome for row in rows).items():
            part.count(outcome, count)
        metrics: list[Metric] = []
        if part.items and part.items[-1] is items[-1]:
            before = read_rows(context.folder.parts_of(Sample), Sample)
            metrics = metrics_of([*before, *rows], context.config.seed)
        part.write({Sample: rows, Metric: metrics})
    _write_samples(context)


def _judge_the_harness(
    context: StageContext, benchmarks: dict[str, Benchmark], problems: dict[str, tuple[Problem, ...]]
) -> None:
    """Run the published solutions before any model is judged.

    Raises:
        BackendError: one does not pass here, so that no model could be judged on it.
    """
    for name, benchmark in benchmarks.items():
        failing = failing_canonical(context.sandbox, benchmark, problems[name])
        if failing:
            first = ", ".join(
                f"{problem_id} ({verdict.outcome} {verdict.error_type})".replace(" )", ")")
                for problem_id, verdict in list(failing.items())[:5]
            )
            raise BackendError(
                f"{len(failing)} published solutions of {name} do not pass in this sandbox: {first}; "
                "run `codedpo check`, and again with less work beside it where they time out."
            )


def requests_of(
    items: Sequence[Item], benchmarks: dict[str, Benchmark], context: StageContext
) -> list[Request]:
    """Return the requests of one model's items; equal for every model."""
    section = context.config.evaluation
    sampling = Sampling(temperature=section.temperature, max_tokens=section.max_tokens)
    return [
        Request(
            request_id=item.key,
            messages=(Message("user", benchmarks[item.benchmark].request(item.problem)),),
            sampling=sampling,
            count=section.samples,
            seed=context.config.seed,
        )
        for item in items
    ]


def _engine(context: StageContext, model: str) -> CachedGenerator:
    """Load the weights of one model behind the run's request cache."""
    kind = context.config.evaluation.engine
    name = context.services.weights.name
    if model == AFTER:
        name = str(context.stage_folders["training"] / "model")
    section = ModelConfig(kind=kind, name=name)
    generator = load(GENERATORS, kind, what="generator").from_config(section, context.config.resources)
    return context.services.cached(generator)


def _replies(
    context: StageContext, part: Part[Item], items: Sequence[Item], benchmarks: dict[str, Benchmark]
) -> dict[str, list[Reply]]:
    """Ask one model everything at once, so that its batches are full; what the cache holds is not asked again."""
    requests = requests_of(items, benchmarks, context)
    replies: dict[str, list[Reply]] = defaultdict(list)
    engine = _engine(context, items[0].model)
    try:
        total = sum(request.count for request in requests)
        with context.progress(f"evaluation: the model {items[0].model} training", total) as advance:
            for reply in engine.generate(requests):
                replies[reply.request_id].append(reply)
                advance(1)
    finally:
        engine.close()
    for name, amount in engine.counters.items():
        part.count(name, amount)
    return {key: sorted(found, key=lambda reply: reply.position) for key, found in replies.items()}


def _judged(
    context: StageContext,
    items: Sequence[Item],
    replies: dict[str, list[Reply]],
    benchmarks: dict[str, Benchmark],
) -> list[Sample]:
    """Extract and run the answers to some problems."""
    rows: list[Sample] = []
    for name in dict.fromkeys(item.benchmark for item in items):
        own = [item for item in items if item.benchmark == name]
        answers = [[answer_of(reply.text, item.problem) for reply in replies[item.key]] for item in own]
        work = [
            (item.problem, [code for answer in found for code in (answer.solution, answer.plain) if code])
            for item, found in zip(own, answers, strict=True)
        ]
        verdicts = judge(context.sandbox, benchmarks[name], work)
        requests = requests_of(own, benchmarks, context)
        for item, request, found, known in zip(own, requests, answers, verdicts, strict=True):
            prompt = json.dumps([asdict(message) for message in request.messages], ensure_ascii=False)
            for reply, answer in zip(replies[item.key], found, strict=True):
                missing = Verdict(Outcome.NOT_LOADED.value, answer.extraction.value)
                verdict = known[answer.solution] if answer.extraction is Extraction.FOUND else missing
                rows.append(
                    Sample(
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
                    )
                )
    return rows


def _write_samples(context: StageContext) -> None:
    """Write ``samples/BENCHMARK-MODEL.jsonl``: task_id and solution, as evalplus reads them."""
    files: dict[str, list[str]] = defaultdict(list)
    for sample in read_rows(context.folder.parts_of(Sample), Sample):
        line = json.dumps({"task_id": sample.problem_id, "solution": sample.solution}, ensure_ascii=False)
        files[f"{sample.benchmark}-{sample.model}.jsonl"].append(f"{line}\n")
    for name, lines in files.items():
        write_atomically(context.folder.path / "samples" / name, "".join(lines).encode())

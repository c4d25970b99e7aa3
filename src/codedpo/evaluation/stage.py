"""Judge the model before and after training: the same prompts, template, stop rule, extraction and sandbox."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence

from codedpo.benchmarks import load_benchmark
from codedpo.context import Part, StageContext
from codedpo.core.config import ModelConfig
from codedpo.core.records import Metric, Sample
from codedpo.core.registry import load
from codedpo.core.tables import read_rows, write_atomically
from codedpo.evaluation.answering import Benchmarks, Item, ask, check_harness, judged_replies, requests_of
from codedpo.evaluation.scoring import AFTER, BEFORE, metrics_of
from codedpo.llm.base import Reply
from codedpo.llm.cache import CachedGenerator
from codedpo.llm.weights import check_engine
from codedpo.services import GENERATORS, Services


def check(services: Services) -> None:
    """See, before any work, that the engine can run the weights: training keeps architecture and tokenizer.

    Raises:
        BackendError: a package is missing.
        DataError: the local engine cannot read them; the sentence names the one that can.
    """
    if services.config.evaluation.engine == "local":
        check_engine(services.weights)


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
            check_harness(context.services.sandbox_for, benchmarks, items)
        rows: list[Sample] = []
        for model in dict.fromkeys(item.model for item in part.items):
            own = [item for item in part.items if item.model == model]
            if asked != model:
                replies = _replies(context, part, [item for item in items if item.model == model], benchmarks)
                asked = model
            rows += judged_replies(context.services.sandbox_for, benchmarks, context.config, own, replies)
        for outcome, count in Counter(row.outcome for row in rows).items():
            part.count(outcome, count)
        metrics: list[Metric] = []
        if part.items and part.items[-1] is items[-1]:
            before = read_rows(context.folder.parts_of(Sample), Sample)
            metrics = metrics_of([*before, *rows], context.config.seed)
        part.write({Sample: rows, Metric: metrics})
    _write_samples(context)


def _engine(context: StageContext, model: str) -> CachedGenerator:
    """Load the weights of one model behind the run's request cache."""
    kind = context.config.evaluation.engine
    name = context.services.weights.name
    if model == AFTER:
        name = str(context.stage_folders["training"] / "model")
    section = ModelConfig(kind=kind, name=name, template=context.config.model.template)
    generator = load(GENERATORS, kind, what="generator").from_config(section, context.config.resources)
    return context.services.cached(generator)


def _replies(
    context: StageContext, part: Part[Item], items: Sequence[Item], benchmarks: Benchmarks
) -> dict[str, list[Reply]]:
    """Ask one model about all its items; what the cache holds is not asked again."""
    requests = requests_of(items, benchmarks, context.config)
    engine = _engine(context, items[0].model)
    replies = ask(engine, requests, context.voice, f"evaluation: the model {items[0].model} training")
    for name, amount in engine.counters.items():
        part.count(name, amount)
    return replies


def _write_samples(context: StageContext) -> None:
    """Write ``samples/BENCHMARK-MODEL.jsonl``: task_id and solution, as evalplus reads them."""
    files: dict[str, list[str]] = defaultdict(list)
    for sample in read_rows(context.folder.parts_of(Sample), Sample):
        line = json.dumps({"task_id": sample.problem_id, "solution": sample.solution}, ensure_ascii=False)
        files[f"{sample.benchmark}-{sample.model}.jsonl"].append(f"{line}\n")
    for name, lines in files.items():
        write_atomically(context.folder.path / "samples" / name, "".join(lines).encode())

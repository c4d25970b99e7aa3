"""Judge the model before and after training: the same prompts, template, stop rule, extraction and sandbox."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from codedpo.benchmarks.base import Problem
from codedpo.context import Part, StageContext
from codedpo.core.config import ModelConfig
from codedpo.core.records import Metric, Sample, Speed
from codedpo.core.registry import load
from codedpo.core.tables import read_rows, write_atomically
from codedpo.evaluation import held_out
from codedpo.evaluation.answering import Benchmarks, Item, ask, check_harness, judged_replies, requests_of
from codedpo.evaluation.efficiency import figures_of, measure, races
from codedpo.evaluation.scoring import AFTER, BEFORE, metrics_of
from codedpo.llm.base import Reply, Request
from codedpo.llm.cache import CachedGenerator
from codedpo.llm.weights import check_engine
from codedpo.sandbox.base import IMPORT_REFUSED
from codedpo.services import GENERATORS, Services


def check(services: Services) -> str:
    """See, before any work, that the engine can run the weights: training keeps architecture and tokenizer.

    Returns:
        Which engine runs them.

    Raises:
        BackendError: a package is missing.
        DataError: the local engine cannot read them; the sentence names the one that can.
    """
    engine = services.config.evaluation.engine
    if engine == "local":
        check_engine(services.weights)
    return f"the engine {engine} runs the weights"


def run(context: StageContext) -> None:
    """Write samples and figures of both models, and the samples in the format that evalplus reads."""
    section = context.config.evaluation
    benchmarks = {name: context.services.benchmark(name) for name in section.benchmarks}
    problems = {name: benchmark.problems()[: section.limit or None] for name, benchmark in benchmarks.items()}
    items = [
        Item(model, name, problem)
        for model in (BEFORE, AFTER)
        for name, found in problems.items()
        for problem in found
    ]
    own_tasks = _held_out_tasks(context)
    own_requests = held_out.requests_of(own_tasks, context.config)
    replies: dict[str, dict[str, list[Reply]]] = {}
    for part in context.parts(items):
        if not replies:
            check_harness(context.services.sandbox_for, benchmarks, items, context.voice)
        rows: list[Sample] = []
        for model in dict.fromkeys(item.model for item in part.items):
            own = [item for item in part.items if item.model == model]
            if model not in replies:
                asked = requests_of(
                    [item for item in items if item.model == model], benchmarks, context.config
                )
                replies[model] = _replies(context, part, model, [*asked, *own_requests])
            judged = judged_replies(
                context.services.sandbox_for, benchmarks, context.config, own, replies[model]
            )
            count = sum(len(replies[model][item.key]) for item in own)
            rows += context.voice.follow(f"evaluation: answers {model} training", judged, count)
        for row in rows:
            part.count(row.outcome)
            if row.error_type.startswith(IMPORT_REFUSED):
                part.count(f"import_refused_{row.error_type.removeprefix(IMPORT_REFUSED)}")
        metrics: list[Metric] = []
        speeds: list[Speed] = []
        # Without benchmarks there is one empty part, which is the last one too.
        if not items or part.items[-1] is items[-1]:
            samples = [*read_rows(context.folder.parts_of(Sample), Sample), *rows]
            metrics = metrics_of(samples, context.config.seed)
            if section.efficiency:
                speeds = _speeds(context, benchmarks, problems, samples)
                metrics += figures_of(speeds, context.config.seed)
                for note, count in Counter(speed.note for speed in speeds if speed.note).items():
                    part.count(f"not_timed_{note}", count)
            if own_tasks:
                # After a resume those of the first model come from the request cache.
                own_replies = {
                    model: replies.get(model) or _replies(context, part, model, own_requests)
                    for model in (BEFORE, AFTER)
                }
                metrics += held_out.metrics_of(context, own_tasks, own_replies)
        part.write({Sample: rows, Speed: speeds, Metric: metrics})
    _write_samples(context)


def _speeds(
    context: StageContext,
    benchmarks: Benchmarks,
    problems: Mapping[str, Sequence[Problem]],
    samples: Sequence[Sample],
) -> list[Speed]:
    """Time the right answers of both models against each other, one benchmark after another."""
    speeds: list[Speed] = []
    for name, benchmark in benchmarks.items():
        entered = races(samples, problems[name], name, BEFORE, AFTER)
        sandbox = context.services.sandbox_for(benchmark)
        speeds += measure(sandbox, benchmark, entered, context.voice)
    return speeds


def _engine(context: StageContext, model: str) -> CachedGenerator:
    """Load the weights of one model behind the run's request cache."""
    kind = context.config.evaluation.engine
    trained = context.stage_folders["training"] / "model"
    name = str(trained) if model == AFTER else context.services.weights.name
    options = {"dtype": _stored_dtype(trained)} if kind == "transformers" else {}
    section = ModelConfig(kind=kind, name=name, template=context.config.model.template, options=options)
    generator = load(GENERATORS, kind, what="generator").from_config(section, context.config.resources)
    return context.services.cached(generator)


def _stored_dtype(folder: Path) -> str:
    """Return the precision of trained weights, in which both models run: greedy answers change with it.

    Merged weights may be stored in float32 although those before training are in bfloat16.
    """
    return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["dtype"])


def _held_out_tasks(context: StageContext) -> tuple[held_out.HeldOutTask, ...]:
    """Return the run's held-out tasks where the config asks for them; where there are none, say so."""
    if not context.config.evaluation.held_out_tasks:
        return ()
    found = held_out.tasks_of(context)
    if not found:
        context.voice.say(
            "evaluation.held_out_tasks: no task with a test was held out, so none is asked; "
            "raise pairs.validation_share."
        )
    return found


def _replies(
    context: StageContext, part: Part[Item], model: str, requests: Sequence[Request]
) -> dict[str, list[Reply]]:
    """Ask one model all its requests; what the cache holds is not asked again."""
    engine = _engine(context, model)
    replies = ask(engine, requests, context.voice, f"evaluation: the model {model} training")
    for name, amount in engine.counters.items():
        part.count(name, amount)
    return replies


def _write_samples(context: StageContext) -> None:
    """Write ``samples/BENCHMARK-MODEL.jsonl``: task_id and solution, as evalplus reads them.

    A sample without a reply has an empty solution: evalplus refuses a file that lacks a problem.
    """
    files: dict[str, list[str]] = defaultdict(list)
    for sample in read_rows(context.folder.parts_of(Sample), Sample):
        line = json.dumps({"task_id": sample.problem_id, "solution": sample.solution}, ensure_ascii=False)
        files[f"{sample.benchmark}-{sample.model}.jsonl"].append(f"{line}\n")
    for name, lines in files.items():
        write_atomically(context.folder.path / "samples" / name, "".join(lines).encode())

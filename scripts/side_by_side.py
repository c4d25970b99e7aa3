"""Several trainings of one run at a time on one GPU: ``pack``, ``train`` (on another machine if need be), ``judge``.

A small model leaves a large GPU waiting for the next kernel most of the time. So processes share it, each with a
training of its own and then its answers; what they do is the stages' own code.

``pack RUN FOLDER``
    For the run's variants: config, pairs, and the requests of the evaluation and of the run's own tasks, in a folder
    that another machine can read.
``train FOLDER WEIGHTS OUTPUT [--processes 4] [--seconds 480] [--only NAME,...]``
    The untrained weights answer, then every training and its answers, in the order of the variants, until time is up.
    ``OUTPUT/results-N.jsonl.gz`` holds what was trained and every reply.
``judge RUN FOLDER RESULTS OUTPUT``
    Runs the answers in the sandbox and writes tables: ``outcomes.csv.gz`` (every benchmark answer), ``figures.csv`` (of
    each model, and its paired difference from the untrained weights), ``trainings.csv`` (steps, seconds, counters) and
    ``validation_steps.csv``.
``own-tasks RUN FOLDER RESULTS OUTPUT``
    Runs greedy answers to the run's own tasks on the tests that the model wrote: ``own_tasks.csv``, a row a task.
"""

import gc
import gzip
import json
import multiprocessing
import os
import shutil
import time
import traceback
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import typer
from pair_sides import behaviours
from run_tables import rows_of, write_table

from codedpo.benchmarks import load_benchmark
from codedpo.benchmarks.data import unpacked
from codedpo.cli import main
from codedpo.core.config import Config
from codedpo.core.errors import ConfigError, DataError
from codedpo.core.fingerprint import file_sha256
from codedpo.core.progress import Voice
from codedpo.core.records import Pair, PairKind, Sample
from codedpo.core.tables import read_rows, write_rows
from codedpo.evaluation.answering import Item, judged_replies, requests_of
from codedpo.evaluation.scoring import DIFFERENCE, metrics_of
from codedpo.llm.base import Message, Reply, Request, Sampling
from codedpo.services import Services

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
BASE = "untrained"
"""Name of the weights that no training has touched."""
GROUPS = {
    "greedy": (("humanevalplus", "humaneval", "mbppplus"), 0.0, 1),
    "mbpp": (("mbpp",), 0.0, 1),
    "at 0.2": (("humanevalplus", "mbppplus"), 0.2, 2),
    "at 0.8": (("humanevalplus", "mbppplus"), 0.8, 3),
}
"""Groups of requests: benchmarks, temperature, samples a problem."""
CHUNK = 6
"""Different answers of one problem that are judged one after the other."""
FIGURES = ("group", "model", "benchmark", "name", "is_difference", "value", "low", "high", "problems")
OWN_TASKS = ("split", "model", "task_id", "like_chosen", "like_rejected", "passed", "tests")
STEPS = ("step", "epoch", "name", "value")

Owner = tuple[str, str, Reply]
"""Group and model that a reply is of."""


@dataclass(frozen=True, slots=True)
class Packed:
    """What one training needs; its pairs lie beside it as ``NAME.parquet``."""

    name: str
    config: dict[str, Any]
    template: str
    base_name: str
    groups: tuple[str, ...]
    """Names of the groups of requests that it answers."""


def _request(row: dict[str, Any]) -> Request:
    messages = tuple(Message(**message) for message in row["messages"])
    sampling = Sampling(**row["sampling"] | {"stop": tuple(row["sampling"]["stop"])})
    return Request(**row | {"messages": messages, "sampling": sampling})


@app.command()
def pack(run: Path, folder: Path, sampled: str = "", own_tasks: str = "") -> None:
    """Put the variants of RUN into FOLDER; those named in SAMPLED draw samples too, those in OWN_TASKS answer tasks.

    Raises:
        ConfigError: RUN does not evaluate on all benchmarks of the requests.
        DataError: a variant would train on held-out tasks of RUN, which all variants are asked.
    """
    config = Config.model_validate_json((run / "config.resolved.json").read_text())
    asked_on = dict.fromkeys(name for names, *_ in GROUPS.values() for name in names)
    if missing := [name for name in asked_on if name not in config.evaluation.benchmarks]:
        raise ConfigError(
            f"{run} is not evaluated on {', '.join(missing)}; add that to evaluation.benchmarks."
        )
    _check_held_out(run, config.variants)
    folder.mkdir(parents=True)
    services = Services(config, run, Voice())
    benchmarks = {
        name: load_benchmark(name, config.resources.data_folder) for name in config.evaluation.benchmarks
    }
    groups: dict[str, list[Request]] = {}
    for group, (names, temperature, count) in GROUPS.items():
        items = [Item("", name, problem) for name in names for problem in benchmarks[name].problems()]
        section = config.evaluation.model_copy(update={"temperature": temperature, "samples": count})
        groups[group] = requests_of(items, benchmarks, config.model_copy(update={"evaluation": section}))
    sampling = groups["greedy"][0].sampling
    prompts = {(pair.split, pair.task_id): pair.prompt for pair in rows_of(run, "pairs", Pair)}
    for split in ("validation", "train"):
        groups[split] = [
            Request(f"{split}/{task_id}", (Message("user", text),), sampling)
            for (of, task_id), text in prompts.items()
            if of == split
        ]
    rows = {name: [asdict(request) for request in requests] for name, requests in groups.items()}
    (folder / "requests.json").write_text(json.dumps(rows))
    order = [BASE, *config.variants]
    for name in order:
        variant = run if name == BASE else run / name
        extra = [group for group in GROUPS if group != "greedy" and name in (BASE, *sampled.split(","))]
        if name in (BASE, *own_tasks.split(",")):
            extra.append("train")
        values = json.loads((variant / "config.resolved.json").read_text())
        asked = ("greedy", "validation", *extra)
        packed = Packed(name, values, services.template.source, services.weights.name, asked)
        (folder / f"{name}.json").write_text(json.dumps(asdict(packed)))
        if name != BASE:
            write_rows(folder / f"{name}.parquet", Pair, rows_of(variant, "pairs", Pair))
    (folder / "order.json").write_text(json.dumps(order))


def _check_held_out(run: Path, variants: Iterable[str]) -> None:
    """See that no variant has a training pair of a task whose pairs are for validation in the run itself."""
    held_out = {pair.task_id for pair in rows_of(run, "pairs", Pair) if pair.split == "validation"}
    for name in variants:
        trained = {pair.task_id for pair in rows_of(run / name, "pairs", Pair) if pair.split == "train"}
        if shared := held_out & trained:
            raise DataError(
                f"the variant {name} would train on {len(shared)} of the {len(held_out)} held-out tasks of {run} "
                f"({min(shared)} is one), so it could not be compared with the others; give it the seed and the "
                "pairs.validation_share of the run and make its pairs again."
            )


def _train(packed: Packed, folder: Path, weights: Path, output: Path) -> dict[str, Any]:
    """Do stage training for one variant; return what is worth knowing of it."""
    from codedpo.training.job import Job, train

    @contextmanager
    def progress(description: str, total: int, done: int) -> Iterator[Any]:
        del description, total, done
        yield lambda _: None

    config = Config.model_validate_json(json.dumps(packed.config))
    pairs = read_rows([folder / f"{packed.name}.parquet"], Pair)
    job = Job(
        str(weights),
        packed.base_name,
        packed.template,
        str(output),
        config.training,
        config.seed if config.training.seed is None else config.training.seed,
        "auto",
    )
    trained = train(job, pairs, progress)
    return {
        "steps": [asdict(step) for step in trained.steps],
        "counters": trained.counters,
        "notes": trained.notes,
        "rejects": len(trained.rejects),
        "adapter": file_sha256(output / "adapter" / "adapter_model.safetensors"),
    }


def _answer(packed: Packed, folder: Path, model: Path, batch: int) -> Iterator[list[dict[str, Any]]]:
    """Yield the replies of a model, greedy ones first; equal requests are asked once."""
    import torch

    from codedpo.llm.transformers import TransformersGenerator
    from codedpo.llm.weights import from_folder

    # Merged weights are stored in float32; so that both sides are computed alike, the untrained ones are too, and
    # products in TF32, whose rounding is an eighth of bfloat16's.
    torch.set_float32_matmul_precision("high")
    generator = TransformersGenerator(from_folder(model, packed.name, ""), batch_size=batch, dtype="float32")
    wanted = json.loads((folder / "requests.json").read_text())
    by_sampling: dict[Sampling, dict[str, Request]] = defaultdict(dict)
    for request in (_request(row) for group in packed.groups for row in wanted[group]):
        by_sampling[request.sampling][request.key] = replace(request, request_id=request.key)
    for requests in by_sampling.values():
        started, rows = time.monotonic(), []
        for reply in generator.generate([*requests.values()]):
            row = {name: value for name, value in asdict(reply).items() if name != "request_id"}
            rows.append({"kind": "reply", "model": packed.name, "key": reply.request_id, **row})
        tokens = sum(row["completion_tokens"] for row in rows)
        told = {"kind": "answers", "model": packed.name, "seconds": round(time.monotonic() - started, 1)}
        yield [*rows, told | {"tokens": tokens}]
    generator.close()


def _one(name: str, folder: Path, weights: Path, scratch: Path, batch: int) -> Iterator[list[dict[str, Any]]]:
    """Yield what there is to tell of one training, part by part."""
    import torch

    values = json.loads((folder / f"{name}.json").read_text())
    packed = Packed(**values | {"groups": tuple(values["groups"])})
    model = weights
    if name != BASE:
        started = time.monotonic()
        torch.cuda.reset_peak_memory_stats()
        told = _train(packed, folder, weights, scratch / name)
        model = scratch / name / "model"
        gc.collect()
        torch.cuda.empty_cache()
        seconds = round(time.monotonic() - started, 1)
        peak = torch.cuda.max_memory_allocated()
        yield [{"kind": "training", "model": name, "seconds": seconds, "peak_bytes": peak, **told}]
    yield from _answer(packed, folder, model, batch)
    shutil.rmtree(scratch / name, ignore_errors=True)


def _worker(
    number: int, names: Any, folder: Path, weights: Path, output: Path, batch: int, started: float
) -> None:
    """Take one training after another; every part is written whole or not at all."""
    voice = os.fdopen(os.dup(1), "w", buffering=1)
    log = os.open(output / f"log-{number}.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    while (name := names.get()) is not None:
        try:
            for rows in _one(name, folder, weights, output / "scratch", batch):
                lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
                with (output / f"results-{number}.jsonl.gz").open("ab") as file:
                    file.write(gzip.compress(lines.encode()))
                last = rows[-1]
                done = f"{time.monotonic() - started:.0f} s: {name}, {last['kind']} in {last['seconds']} s"
                voice.write(f"{done}, {len(rows) - 1} replies\n" if len(rows) > 1 else f"{done}\n")
        except Exception as error:
            traceback.print_exc()
            voice.write(f"{name}: {type(error).__name__}: {error}\n")


@app.command()
def train(
    folder: Path,
    weights: Path,
    output: Path,
    processes: int = 4,
    seconds: float = 480.0,
    batch: int = 580,
    only: str = "",
) -> None:
    """Train and answer what is packed in FOLDER on one GPU, several at a time, until SECONDS are over."""
    started = time.monotonic()
    # Imported before the processes part, so that this is paid for once.
    import peft  # noqa: F401
    from trl import DPOTrainer, KTOTrainer, SFTTrainer  # noqa: F401

    import codedpo.training.job  # noqa: F401

    print(f"imports {time.monotonic() - started:.0f} s", flush=True)
    context = multiprocessing.get_context("fork")
    names = context.Queue()
    for name in only.split(",") if only else json.loads((folder / "order.json").read_text()):
        names.put(name)
    for _ in range(processes):
        names.put(None)
    output.mkdir(parents=True, exist_ok=True)
    arguments = (names, folder.resolve(), weights.resolve(), output.resolve(), batch, started)
    workers = [context.Process(target=_worker, args=(number, *arguments)) for number in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(max(0.0, seconds - (time.monotonic() - started)))
    for worker in workers:
        if worker.is_alive():
            worker.kill()
    shutil.rmtree(output / "scratch", ignore_errors=True)


def _results(folder: Path) -> list[dict[str, Any]]:
    """Read all that the workers wrote.

    Raises:
        DataError: there is nothing, or a file is torn.
    """
    paths = sorted(folder.glob("results-*.jsonl.gz"))
    if not paths:
        raise DataError(f"{folder} has no results-*.jsonl.gz; name the folder that train wrote.")
    return [json.loads(line) for path in paths for line in unpacked(path).decode().split("\n") if line]


def _replies(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, list[Reply]]]:
    """Return replies by the key of their request, then by model."""
    replies: dict[str, dict[str, list[Reply]]] = defaultdict(lambda: defaultdict(list))
    for row in (row for row in rows if row["kind"] == "reply"):
        told = {name: value for name, value in row.items() if name not in ("kind", "model", "key")}
        replies[row["key"]][row["model"]].append(Reply(request_id=row["key"], **told))
    return replies


@app.command()
def judge(run: Path, folder: Path, results: Path, output: Path) -> None:
    """Judge what was answered, of every model at once, so that equal programs run once."""
    rows = _results(results)
    output.mkdir(parents=True, exist_ok=True)
    order = json.loads((folder / "order.json").read_text())
    replies = _replies(rows)
    config = Config.model_validate_json((run / "config.resolved.json").read_text())
    services = Services(config, run, Voice())
    samples = _judged(folder, config, services, replies)
    columns = ("group", "model", "benchmark", "problem_id", "position", "outcome", "completion_tokens")
    write_table(
        output / "outcomes.csv.gz",
        columns,
        sorted((group, *(getattr(one, name) for name in columns[1:])) for group, one in samples),
    )
    write_table(output / "figures.csv", FIGURES, _figures(samples, order, config.seed))
    services.close()
    _write_trainings(output, [row for row in rows if row["kind"] == "training"])


def _write_trainings(output: Path, trained: Sequence[dict[str, Any]]) -> None:
    counters = sorted({name for row in trained for name in row["counters"]})
    write_table(
        output / "trainings.csv",
        ("model", "seconds", "peak_gib", "adapter_sha256", *counters),
        (
            [row["model"], row["seconds"], round(row["peak_bytes"] / 2**30, 1), row["adapter"]]
            + [row["counters"].get(name, "") for name in counters]
            for row in trained
        ),
    )
    steps = [
        (row["model"], step) for row in trained for step in row["steps"] if step["split"] == "validation"
    ]
    values = ([model, *(step[name] for name in STEPS)] for model, step in steps)
    write_table(output / "validation_steps.csv", ("model", *STEPS), values)


def _judged(
    folder: Path, config: Config, services: Services, replies: dict[str, dict[str, list[Reply]]]
) -> list[tuple[str, Sample]]:
    """Return the samples of every group of requests for benchmarks."""
    wanted = json.loads((folder / "requests.json").read_text())
    benchmarks = {
        name: load_benchmark(name, config.resources.data_folder) for name in config.evaluation.benchmarks
    }
    found: list[tuple[str, Sample]] = []
    for name, benchmark in benchmarks.items():
        problems = {problem.problem_id: problem for problem in benchmark.problems()}
        texts: dict[str, dict[str, list[Owner]]] = defaultdict(lambda: defaultdict(list))
        for group in (group for group, (names, *_) in GROUPS.items() if name in names):
            for request in map(_request, wanted[group]):
                benchmark_name, _, problem_id = request.request_id.partition("/")
                if benchmark_name == name:
                    for model, own in replies[request.key].items():
                        for reply in own:
                            texts[problem_id][reply.text].append((group, model, reply))
        # Some answers run for minutes over the further inputs, and those of a problem run one after the other.
        for start in range(0, max(map(len, texts.values()), default=0), CHUNK):
            part = {key: [*by_text.values()][start : start + CHUNK] for key, by_text in texts.items()}
            items = [Item("", name, problems[problem_id]) for problem_id, owners in part.items() if owners]
            asked = {
                item.key: [
                    replace(owners[0][2], position=place)
                    for place, owners in enumerate(part[item.problem.problem_id])
                ]
                for item in items
            }
            for sample in judged_replies(services.sandbox_for, {name: benchmark}, config, items, asked):
                for group, model, reply in part[sample.problem_id][sample.position]:
                    tokens = reply.completion_tokens
                    of_model = replace(sample, model=model, position=reply.position, completion_tokens=tokens)
                    found.append((group, of_model))
            print(f"{name}: {start + CHUNK} answers a problem", flush=True)
    return found


def _figures(
    samples: Sequence[tuple[str, Sample]], order: Sequence[str], seed: int
) -> Iterator[tuple[Any, ...]]:
    """Yield figures of the untrained weights, then of each other model beside them."""
    by_model: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for group, sample in samples:
        by_model[group, sample.model].append(sample)
    for group in GROUPS:
        for model in order:
            own, base = by_model[group, model], by_model[group, BASE]
            if not own:
                continue
            rows = [*base, *own] if model != BASE else own
            tries = (1, GROUPS[group][2])
            for figure in metrics_of(rows, seed, before=BASE, after=model, tries=tries):
                if (figure.model == BASE) == (model == BASE):
                    values = (
                        round(figure.value, 5),
                        round(figure.low, 5),
                        round(figure.high, 5),
                        figure.count,
                    )
                    yield group, model, figure.benchmark, figure.name, figure.model == DIFFERENCE, *values


@app.command()
def own_tasks(run: Path, folder: Path, results: Path, output: Path) -> None:
    """Compare greedy answers to tasks of the run with the best-ranked program and the worst, on the model's tests."""
    order = json.loads((folder / "order.json").read_text())
    replies = _replies(_results(results))
    services = Services(Config.model_validate_json((run / "config.resolved.json").read_text()), run, Voice())
    correctness = [pair for pair in rows_of(run, "pairs", Pair) if pair.kind == PairKind.CORRECTNESS.value]
    pairs = {pair.task_id: pair for pair in sorted(correctness, key=lambda pair: pair.probability)}
    wanted = json.loads((folder / "requests.json").read_text())
    asked = []
    for split in ("validation", "train"):
        for request in map(_request, wanted[split]):
            task_id = request.request_id.partition("/")[2]
            if task_id in pairs:
                asked.append((split, pairs[task_id], replies[request.key]))
    texts = [(pair, [own[0].text for own in by_model.values()]) for _, pair, by_model in asked]
    rows = [
        (split, order.index(model), pair.task_id, one.like_chosen, one.like_rejected, one.passed, one.tests)
        for (split, pair, by_model), found in zip(asked, behaviours(run, services, texts), strict=True)
        for model, one in zip(by_model, found, strict=True)
    ]
    services.close()
    output.mkdir(parents=True, exist_ok=True)
    named = ((split, order[model], *rest) for split, model, *rest in sorted(rows))
    write_table(output / "own_tasks.csv", OWN_TASKS, named)


if __name__ == "__main__":
    main(app)

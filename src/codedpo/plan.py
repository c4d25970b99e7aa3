"""What a run will cost, before it starts (``codedpo run CONFIG --dry-run``).

Calls and executions follow from the config. Lengths, shares and speeds are means of real runs of the embedded model
on two cores (``docs/log.md``), the speeds of the kind of processor that the plan is made on; with another model, or on
a GPU, the hours are a guess and the counts still hold.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from codedpo.core.config import Config
from codedpo.core.config_files import variants_of
from codedpo.core.processor import Processor, this_processor
from codedpo.llm.recorded import replies_by_model
from codedpo.stages import AFTER_DATA, STAGES, Stage, stage_position
from codedpo.tasks.given import read_tasks

TOKENS_PER_REPLY = {"concepts": 13, "task": 56, "solution": 127, "test": 136, "evaluation": 160}
PROMPT_TOKENS = {"concepts": 190, "task": 30, "solution": 117, "test": 151, "evaluation": 125}
"""Tokens of a request that are computed: samples share a prompt, requests that begin alike their beginning."""
TASKS_PER_SEED = 0.95
CORRECTNESS_PAIRS_PER_TASK = 0.65
EFFICIENCY_PAIRS_PER_TASK = 0.6
LOCAL_TOKENS_PER_CPU_SECOND = {True: 160.0, False: 42.0}
"""Of prompts and replies together, by whether the processor multiplies 8-bit integers."""
ENGINE_COST = {"local": 1.0, "transformers": 6.5}
"""Time for the same tokens (``bench.generation``); what an endpoint computes is not counted."""
EXECUTIONS_PER_CPU_SECOND = 3000.0
TIMINGS_PER_CPU_SECOND = 10.0
TRAINING_CPU_SECONDS_PER_PAIR = {True: 7.2, False: 20.0}
"""Reference and validation included, by whether the processor multiplies bfloat16."""
PROBLEMS = {
    "humaneval": 164,
    "humanevalplus": 164,
    "mbpp": 427,
    "mbpp_full": 974,
    "mbppplus": 378,
    "ds1000": 1000,
    "enamel": 142,
    "livecodebench": 742,
}


@dataclass(frozen=True, slots=True)
class PlanLine:
    """The estimate of one stage."""

    stage: str
    calls: int = 0
    """Replies asked of the model."""
    tokens: int = 0
    """New tokens."""
    executions: int = 0
    """Solution x test runs."""
    pairs: int = 0
    cpu_hours: float = 0.0
    """On this machine."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The estimate of a run."""

    name: str
    lines: tuple[PlanLine, ...]
    notes: tuple[str, ...] = ()
    """What the figures rest on."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "name": self.name,
            "stages": [asdict(line) for line in self.lines],
            "total": asdict(self.total),
            "notes": self.notes,
        }

    @property
    def total(self) -> PlanLine:
        """The sum over stages."""
        sums = {
            key: sum(getattr(line, key) for line in self.lines)
            for key in ("calls", "tokens", "executions", "pairs", "cpu_hours")
        }
        return PlanLine("total", **sums)


def plan_of(config: Config, processor: Processor | None = None, until: str = "report") -> Plan:
    """Estimate calls, tokens, executions, pairs and CPU-hours of what a run does itself.

    Args:
        config: The whole config. Stages that it adopts from an existing base run are left out.
        processor: The kind that it will run on; this machine's where none is given.
        until: The last stage that it will run.

    Raises:
        ConfigError: there is no stage of that name.
        DataError: the file of given tasks, or the recording, cannot be read.
    """
    processor = processor or this_processor()
    own: Iterable[PlanLine] = _lines(config, processor)
    notes = [_basis(processor), *_recorded(config)]
    base = Path(config.base_run) / "config.resolved.json"
    if config.base_run and base.is_file():
        try:
            adopted = Config.model_validate_json(base.read_text())
        except ValidationError:
            notes.append(f"The config of {config.base_run} is of another version: its stages are counted.")
        else:
            own = _not_adopted(adopted, config, own)
            notes.append(f"What {config.base_run} has made or will make is not counted.")
    elif config.base_run:
        notes.append(
            f"{config.base_run}, on which this run is based, does not exist yet: its stages are counted."
        )
    last = stage_position(until)
    lines = tuple(line for line in own if stage_position(line.stage) <= last)
    variants = tuple(
        line
        for variant in variants_of(config).values()
        for line in _not_adopted(config, variant, _lines(variant, processor))
        if stage_position(line.stage) <= last
    )
    together = (replace(Plan("", variants).total, stage="variants"),) if variants else ()
    return Plan(config.name, lines + together, tuple(notes))


def _basis(processor: Processor) -> str:
    """Say whose speed the hours are."""
    of_bytes, of_bfloat16 = (
        "with" if has else "without" for has in (processor.multiplies_bytes, processor.multiplies_bfloat16)
    )
    return (
        "Counts follow from the config; lengths, yields and hours are means of the embedded model of 0.5B on two cores "
        f"{of_bytes} fast 8-bit products (VNNI, AMX) for generation and {of_bfloat16} fast bfloat16 products "
        f"(AVX-512 BF16, AMX) for training, like this {processor.name}."
    )


def _recorded(config: Config) -> Iterator[str]:
    """Say what a recording holds; whether it fits is known once the weights are there, which a plan does not get."""
    path = config.model.recording
    if path:
        held = ", ".join(f"{count:,} of {name}" for name, count in replies_by_model(Path(path)).items())
        yield (
            f"Replies in {path} ({held or 'none'}) are counted, but not asked for again where their model runs; where "
            "another one does, the run is refused, as codedpo check tells."
        )


def _lines(config: Config, processor: Processor) -> tuple[PlanLine, ...]:
    """Estimate every stage, as if nothing were adopted."""

    def generation(stage: str, engine: str, *asked: tuple[str, int, int]) -> PlanLine:
        """Estimate requests of a kind, each with some samples."""
        calls = sum(requests * samples for _, requests, samples in asked)
        tokens = sum(requests * samples * TOKENS_PER_REPLY[kind] for kind, requests, samples in asked)
        computed = tokens + sum(requests * PROMPT_TOKENS[kind] for kind, requests, _ in asked)
        seconds = (
            computed * ENGINE_COST.get(engine, 0) / LOCAL_TOKENS_PER_CPU_SECOND[processor.multiplies_bytes]
        )
        return PlanLine(stage, calls=calls, tokens=tokens, cpu_hours=seconds / 3600)

    candidates = config.candidates
    seeds = 0 if config.tasks.file else config.seeds.count
    given = read_tasks(Path(config.tasks.file)) if config.tasks.file else []
    tasks = len(given) or round(seeds * TASKS_PER_SEED)
    test_replies = -(-candidates.tests // candidates.tests_per_reply)
    executions = tasks * candidates.solutions * candidates.tests
    made = {
        "correctness": round(tasks * CORRECTNESS_PAIRS_PER_TASK * config.pairs.pairs_per_task),
        "efficiency": round(tasks * EFFICIENCY_PAIRS_PER_TASK),
    }
    timings = tasks * candidates.solutions if "efficiency" in config.pairs.kinds else 0
    trained = sum(made[kind] for kind in config.training.kinds if kind in config.pairs.kinds)
    trained = min(trained, config.training.most_pairs or trained)
    seconds_per_pair = TRAINING_CPU_SECONDS_PER_PAIR[processor.multiplies_bfloat16]
    problems = sum(
        min(PROBLEMS.get(name, 200), config.evaluation.limit or 10**9)
        for name in config.evaluation.benchmarks
    )
    if config.evaluation.held_out_tasks:
        problems += round(tasks * config.pairs.validation_share)
    lines = (
        generation("tasks", config.model.kind, ("concepts", seeds, 1), ("task", seeds, 1)),
        generation(
            "candidates",
            config.model.kind,
            ("solution", tasks, candidates.solutions),
            ("test", tasks, test_replies),
        ),
        PlanLine(
            "executions", executions=executions, cpu_hours=executions / EXECUTIONS_PER_CPU_SECOND / 3600
        ),
        PlanLine(
            "pairs",
            pairs=sum(made[kind] for kind in config.pairs.kinds),
            cpu_hours=timings / TIMINGS_PER_CPU_SECOND / 3600,
        ),
        PlanLine("training", cpu_hours=trained * config.training.epochs * seconds_per_pair / 3600),
        generation(
            "evaluation", config.evaluation.engine, ("evaluation", 2 * problems, config.evaluation.samples)
        ),
    )
    left_out = AFTER_DATA if config.data_only else ()
    return tuple(line for line in lines if line.stage not in left_out)


def _not_adopted(base: Config, config: Config, lines: Iterable[PlanLine]) -> Iterator[PlanLine]:
    """Yield what a run does itself: the stages from the first one on whose settings differ from its base's."""

    def basis(of: Config, stage: Stage) -> list[object]:
        """Collect what the stage's identity holds of a config."""
        services = {
            "model": of.model,
            "weights": (of.training.model, of.model.name, of.model.template),
            "benchmarks": of.kept_out,
        }
        return [
            of.seed,
            of.shard_size,
            *(getattr(of, section) for section in stage.sections),
            *(services.get(service) for service in stage.services),
        ]

    changed = [stage.name for stage in STAGES if basis(base, stage) != basis(config, stage)]
    first = min(map(stage_position, changed), default=len(STAGES))
    for line in lines:
        if stage_position(line.stage) >= first:
            # The weights before training answered for the base already.
            half = line.stage == "evaluation" and line.stage not in changed
            yield (
                replace(line, calls=line.calls // 2, tokens=line.tokens // 2, cpu_hours=line.cpu_hours / 2)
                if half
                else line
            )


def outlook(config: Config, until: str) -> str:
    """Say in one line how long a run that begins will take; empty where replies come from a recording."""
    if config.model.recording:
        return ""
    hours = plan_of(config, until=until).total.cpu_hours
    name = this_processor().name
    return (
        f"about {hours:.1f} CPU-hours on this {name}; --dry-run says where they go" if hours >= 0.05 else ""
    )


def print_plan(plan: Plan) -> None:
    """Print a plan for a person; brackets in names are no markup."""
    table = Table(box=None, pad_edge=False, title=f"plan of {plan.name}", title_justify="left")
    table.add_column("stage")
    for column in ("replies", "new tokens", "executions", "pairs", "CPU-hours"):
        table.add_column(column, justify="right")
    for line in (*plan.lines, plan.total):
        numbers = (line.calls, line.tokens, line.executions, line.pairs)
        table.add_row(
            line.stage,
            *(f"{number:,}" if number else "-" for number in numbers),
            f"{line.cpu_hours:.2f}" if line.cpu_hours else "-",
            style="bold" if line.stage == "total" else "",
        )
    console = Console(highlight=False, markup=False, emoji=False)
    console.print(table)
    for note in plan.notes:
        console.print(note, style="dim")

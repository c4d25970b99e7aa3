"""What a run will cost, before it starts (``codedpo run CONFIG --dry-run``).

Calls and executions follow from the config. Lengths, shares and speeds are means of real runs of the embedded model
on two cores (``docs/log.md``); with another model or machine the hours are a guess and the counts still hold.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from codedpo.core.config import Config
from codedpo.core.config_files import variants_of
from codedpo.stages import AFTER_DATA, STAGE_NAMES, stage_position
from codedpo.tasks.given import read_tasks

TOKENS_PER_REPLY = {"concepts": 13, "task": 60, "solution": 125, "test": 145, "evaluation": 170}
TASKS_PER_SEED = 0.95
CORRECTNESS_PAIRS_PER_TASK = 0.65
EFFICIENCY_PAIRS_PER_TASK = 0.6
LOCAL_TOKENS_PER_CPU_SECOND = 150.0
EXECUTIONS_PER_CPU_SECOND = 3000.0
TIMINGS_PER_CPU_SECOND = 10.0
TRAINING_CPU_SECONDS_PER_PAIR = 8.0
PROBLEMS = {
    "humaneval": 164,
    "humanevalplus": 164,
    "mbpp": 427,
    "mbppplus": 378,
    "ds1000": 1000,
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
    """On this machine; what an endpoint computes is not counted."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The estimate of a run."""

    name: str
    lines: tuple[PlanLine, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "name": self.name,
            "stages": [asdict(line) for line in self.lines],
            "total": asdict(self.total),
        }

    @property
    def total(self) -> PlanLine:
        """The sum over stages."""
        sums = {
            key: sum(getattr(line, key) for line in self.lines)
            for key in ("calls", "tokens", "executions", "pairs", "cpu_hours")
        }
        return PlanLine("total", **sums)


def plan_of(config: Config) -> Plan:
    """Estimate calls, tokens, executions, pairs and CPU-hours of a run."""

    def generation(stage: str, replies: dict[str, int], *, here: bool) -> PlanLine:
        tokens = sum(count * TOKENS_PER_REPLY[kind] for kind, count in replies.items())
        hours = tokens / LOCAL_TOKENS_PER_CPU_SECOND / 3600 if here else 0.0
        return PlanLine(stage, calls=sum(replies.values()), tokens=tokens, cpu_hours=hours)

    here = config.model.kind in ("local", "transformers")
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
    problems = sum(
        min(PROBLEMS.get(name, 200), config.evaluation.limit or 10**9)
        for name in config.evaluation.benchmarks
    )
    if config.evaluation.held_out_tasks:
        problems += round(tasks * config.pairs.validation_share)
    answers = 2 * problems * config.evaluation.samples
    lines = (
        generation("tasks", {"concepts": seeds, "task": seeds}, here=here),
        generation(
            "candidates", {"solution": tasks * candidates.solutions, "test": tasks * test_replies}, here=here
        ),
        PlanLine(
            "executions", executions=executions, cpu_hours=executions / EXECUTIONS_PER_CPU_SECOND / 3600
        ),
        PlanLine(
            "pairs",
            pairs=sum(made[kind] for kind in config.pairs.kinds),
            cpu_hours=timings / TIMINGS_PER_CPU_SECOND / 3600,
        ),
        PlanLine(
            "training", cpu_hours=trained * config.training.epochs * TRAINING_CPU_SECONDS_PER_PAIR / 3600
        ),
        generation("evaluation", {"evaluation": answers}, here=True),
    )
    left_out = AFTER_DATA if config.data_only else ()
    own = tuple(line for line in lines if line.stage not in left_out)
    variants = [
        line
        for variant in variants_of(config).values()
        for line in _not_adopted(config, variant, plan_of(variant))
    ]
    return Plan(
        config.name, (*own, replace(Plan("", tuple(variants)).total, stage="variants")) if variants else own
    )


def _not_adopted(config: Config, variant: Config, plan: Plan) -> Iterator[PlanLine]:
    """Yield what a variant does itself: the stages from the first one on whose section differs."""
    sections = [name for name in STAGE_NAMES if getattr(config, name, None) != getattr(variant, name, None)]
    first = min(map(stage_position, sections), default=len(STAGE_NAMES))
    for line in plan.lines:
        if stage_position(line.stage) >= first:
            # The weights before training answered for the run itself.
            half = line.stage == "evaluation" and "evaluation" not in sections
            yield (
                replace(line, calls=line.calls // 2, tokens=line.tokens // 2, cpu_hours=line.cpu_hours / 2)
                if half
                else line
            )


def print_plan(plan: Plan) -> None:
    """Print a plan for a person."""
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
    console = Console(highlight=False)
    console.print(table)
    console.print(
        "Counts follow from the config; lengths, yields and hours are means of the embedded model on two cores.",
        style="dim",
    )

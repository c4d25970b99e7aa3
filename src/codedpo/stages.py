"""The nine stages: their order, the tables that each reads and writes, and what its rows depend on."""

from dataclasses import dataclass
from pathlib import Path

from codedpo.core.config import Config
from codedpo.core.errors import ConfigError
from codedpo.core.records import (
    AlternativePair,
    Convergence,
    Execution,
    Metric,
    Pair,
    Sample,
    Seed,
    Solution,
    SolutionScore,
    Speed,
    Task,
    Test,
    TestScore,
    Text,
    Timing,
    TrainingStep,
)
from codedpo.core.stage import StageFolder


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage. ``reads`` and ``writes`` are tables; everything that can change its rows is its identity."""

    name: str
    version: int
    """Raised when the code changes what the stage writes for equal inputs."""
    sections: tuple[str, ...]
    """Parts of the config that its rows depend on."""
    reads: tuple[type, ...]
    writes: tuple[type, ...]
    services: tuple[str, ...] = ()
    """Which of model, sandbox, weights, benchmarks, given tasks its rows depend on."""


STAGES = (
    Stage("seeds", 3, ("seeds",), (), (Seed,), ("benchmarks",)),
    Stage("tasks", 2, ("tasks",), (Seed,), (Text, Task), ("model", "benchmarks", "given tasks")),
    Stage("candidates", 4, ("candidates",), (Task,), (Text, Solution, Test), ("model",)),
    Stage("executions", 2, ("sandbox",), (Task, Solution, Test), (Execution,), ("sandbox",)),
    Stage(
        "rankings",
        1,
        ("rankings",),
        (Test, Execution),
        (SolutionScore, TestScore, Convergence),
    ),
    Stage(
        "pairs",
        5,
        ("pairs", "sandbox"),
        (Seed, Text, Task, Solution, Test, Execution, SolutionScore),
        (Pair, AlternativePair, Timing),
        ("sandbox",),
    ),
    Stage("training", 3, ("training",), (Pair,), (TrainingStep,), ("weights",)),
    Stage(
        "evaluation",
        6,
        ("evaluation", "sandbox"),
        (Task, Test, Pair, TrainingStep),
        (Sample, Speed, Metric),
        ("weights", "sandbox"),
    ),
    Stage(
        "report",
        3,
        ("report", "description", "variants"),
        (
            Seed,
            Text,
            Task,
            Solution,
            Test,
            Execution,
            SolutionScore,
            TestScore,
            Convergence,
            Timing,
            Pair,
            AlternativePair,
            TrainingStep,
            Sample,
            Speed,
            Metric,
        ),
        (),
    ),
)
AFTER_DATA = ("training", "evaluation")
"""Stages that ``data_only`` leaves out."""
STAGE_NAMES = tuple(stage.name for stage in STAGES)


def stage_position(name: str) -> int:
    """Return the index of a stage by its name.

    Raises:
        ConfigError: there is no such stage.
    """
    if name not in STAGE_NAMES:
        raise ConfigError(f"there is no stage {name}; the stages are {', '.join(STAGE_NAMES)}.")
    return STAGE_NAMES.index(name)


def own_path(run_folder: Path, name: str) -> Path:
    """Return where a run keeps a stage that it did not adopt."""
    return run_folder / f"{stage_position(name) + 1}-{name}"


def stage_path(run_folder: Path, name: str) -> Path:
    """Return the folder of a stage in a run, following an adoption from a base run."""
    return StageFolder.of(own_path(run_folder, name)).path


def stages_until(until: str, config: Config) -> list[Stage]:
    """Return the stages of a run up to and with one of them.

    Raises:
        ConfigError: there is no stage of that name.
    """
    left_out = AFTER_DATA if config.data_only else ()
    return [stage for stage in STAGES[: stage_position(until) + 1] if stage.name not in left_out]

"""The nine stages: their order, what each reads and writes, and when a stored result may be used again."""

import fcntl
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata, resources
from pathlib import Path
from types import ModuleType
from typing import Any

from codedpo.context import StageContext
from codedpo.core.config import Config
from codedpo.core.config_files import variants_of
from codedpo.core.errors import BackendError, ConfigError
from codedpo.core.fingerprint import digest_of
from codedpo.core.progress import Voice
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
from codedpo.core.stage import StageFolder, StageSummary, write_json
from codedpo.services import Services


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
    """Which of model, sandbox, weights, benchmarks its rows depend on."""


STAGES = (
    Stage("seeds", 1, ("seeds",), (), (Seed,), ("benchmarks",)),
    Stage("tasks", 1, ("tasks",), (Seed,), (Text, Task), ("model", "benchmarks")),
    Stage("candidates", 1, ("candidates",), (Task,), (Text, Solution, Test), ("model",)),
    Stage("executions", 1, ("sandbox",), (Task, Solution, Test), (Execution,), ("sandbox",)),
    Stage(
        "rankings",
        1,
        ("rankings",),
        (Test, Execution),
        (SolutionScore, TestScore, Convergence),
    ),
    Stage(
        "pairs",
        2,
        ("pairs", "sandbox"),
        (Seed, Text, Task, Solution, Test, Execution, SolutionScore),
        (Pair, AlternativePair, Timing),
        ("sandbox",),
    ),
    Stage("training", 2, ("training",), (Pair,), (TrainingStep,), ("weights",)),
    Stage(
        "evaluation",
        2,
        ("evaluation", "sandbox"),
        (TrainingStep,),
        (Sample, Speed, Metric),
        ("weights", "sandbox"),
    ),
    Stage(
        "report",
        2,
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


def stage_path(run_folder: Path, name: str) -> Path:
    """Return the folder of a stage in a run, following an adoption from a base run."""
    own = run_folder / f"{stage_position(name) + 1}-{name}"
    adopted = own / "adopted.json"
    return Path(json.loads(adopted.read_text())["path"]) if adopted.exists() else own


def _prompts_digest(name: str) -> str:
    """Digest the prompt files beside a stage's code; empty where it has none."""
    folder = resources.files(f"codedpo.{name}") / "prompts"
    if not folder.is_dir():
        return ""
    return digest_of({item.name: item.read_text("utf-8") for item in folder.iterdir() if item.is_file()})


def identity_of(
    stage: Stage, config: Config, services: Services, summaries: dict[str, StageSummary]
) -> dict[str, Any]:
    """Collect all that a stage's rows depend on."""
    plain = config.model_dump(mode="json")
    settings = {section: plain[section] for section in stage.sections}
    identity = {
        "stage": stage.name,
        "version": stage.version,
        "seed": config.seed,
        "shard_size": config.shard_size,
        "config": settings,
        "prompts": _prompts_digest(stage.name),
        "inputs": {
            other.name: summaries[other.name].fingerprint
            for other in STAGES
            if other.name in summaries and set(other.writes) & set(stage.reads)
        },
    }
    if "benchmarks" in stage.services:
        identity["benchmarks"] = config.kept_out
    if "model" in stage.services:
        identity["model"] = services.generator.identity
    if "weights" in stage.services:
        identity["weights"] = services.weights.digest
        identity["template"] = digest_of(services.template)
    if "sandbox" in stage.services:
        identity["sandbox"] = services.sandbox.identity
    if "variants" in stage.sections:
        identity["variants"] = {name: _results_digest(config.run_folder / name) for name in config.variants}
    return identity


def _results_digest(run_folder: Path) -> str:
    """Digest what a variant has made so far, report apart."""
    folders = [StageFolder(stage_path(run_folder, stage.name)).summary() for stage in STAGES[:-1]]
    return digest_of([summary.fingerprint for summary in folders if summary])


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep two processes out of one run folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BackendError(
                f"another process works on {folder}; wait for it or name another run."
            ) from error
        yield


def _packages() -> dict[str, str]:
    names = (
        "codedpo",
        "numpy",
        "pyarrow",
        "openvino-genai",
        "torch",
        "transformers",
        "trl",
        "peft",
        "openai",
        "gguf",
    )
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    """Return the commit of a checkout that the package runs from; empty for an installed package."""
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def _record_attempt(config: Config, folder: Path, services: Services) -> None:
    """Add this command to ``run.json`` and store the resolved config."""
    path = folder / "run.json"
    manifest: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"attempts": []}
    manifest["attempts"].append(
        {
            "argv": sys.argv[1:],
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": _commit(),
            "packages": _packages(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "cpu": f"{_processor()}, {os.cpu_count()} cores",
        }
    )
    write_json(path, manifest | {"weights": services.origins})
    write_json(folder / "config.resolved.json", config.model_dump(mode="json"))


def _note_origins(folder: Path, services: Services, voice: Voice) -> None:
    """Say, once each, where weights came from, and keep it in ``run.json``."""
    path = folder / "run.json"
    manifest: dict[str, Any] = json.loads(path.read_text())
    new = {key: text for key, text in services.origins.items() if manifest["weights"].get(key) != text}
    for key, text in new.items():
        if key != "digest":
            voice.say(f"{key}: {text}", event="weights", style="dim", role=key, weights=text)
    if new:
        write_json(path, manifest | {"weights": manifest["weights"] | new})


def _adopt(config: Config, stage: Stage, identity: dict[str, Any]) -> bool:
    """Use the base run's stage where its identity is equal; say so in ``adopted.json``."""
    if not config.base_run or stage.name == "report":
        return False
    base = StageFolder(stage_path(Path(config.base_run), stage.name))
    if base.summary() is None or base.stored_identity() != json.loads(json.dumps(identity)):
        return False
    own = config.run_folder / f"{stage_position(stage.name) + 1}-{stage.name}"
    write_json(own / "adopted.json", {"path": str(base.path.resolve()), "base_run": config.base_run})
    return True


def _module_of(stage: Stage) -> ModuleType:
    """Import a stage: ``run(context)`` and, where something can be seen to be missing early, ``check(services)``."""
    return importlib.import_module(f"codedpo.{stage.name}.stage")


def _inputs(stage: Stage, run_folder: Path) -> dict[type, Sequence[Path]]:
    """Collect the parts of every table that a stage reads, in the order of the stages that wrote them."""
    inputs: dict[type, Sequence[Path]] = {}
    for row_type in stage.reads:
        writers = [other for other in STAGES[: stage_position(stage.name)] if row_type in other.writes]
        folders = [StageFolder(stage_path(run_folder, writer.name)) for writer in writers]
        inputs[row_type] = [path for folder in folders for path in folder.parts_of(row_type)]
    return inputs


def _run_stage(
    stage: Stage,
    config: Config,
    services: Services,
    voice: Voice,
    summaries: dict[str, StageSummary],
    *,
    may_adopt: bool,
) -> StageSummary:
    """Run, resume or reuse one stage; one that is to be redone is not adopted."""
    identity = identity_of(stage, config, services, summaries)
    _note_origins(config.run_folder, services, voice)
    own = config.run_folder / f"{stage_position(stage.name) + 1}-{stage.name}"
    if may_adopt and not own.exists() and _adopt(config, stage, identity):
        voice.say(
            f"{stage.name}: adopted from {config.base_run}",
            style="dim",
            event="stage_adopted",
            stage=stage.name,
        )
    folder = StageFolder(stage_path(config.run_folder, stage.name)).open(identity)
    summary = folder.summary()
    if summary is not None:
        voice.say(
            f"{stage.name}: {_counts(summary)} (done before)",
            style="dim",
            event="stage_reused",
            stage=stage.name,
        )
        return summary
    voice.say(stage.name, event="stage_started", style="bold", stage=stage.name)
    if "model" not in stage.services:
        services.release_generator()
    folders = {
        other.name: stage_path(config.run_folder, other.name)
        for other in STAGES[: stage_position(stage.name)]
    }
    context = StageContext(
        stage.name, config, folder, _inputs(stage, config.run_folder), folders, services, voice
    )
    start = time.monotonic()
    _module_of(stage).run(context)
    summary = folder.finish()
    seconds = time.monotonic() - start
    voice.say(
        f"  {_counts(summary)} in {seconds:.0f} s",
        event="stage_finished",
        stage=stage.name,
        rows=summary.rows,
        rejects=summary.rejects,
        counters=summary.counters,
        seconds=round(seconds, 1),
    )
    return summary


def _counts(summary: StageSummary) -> str:
    rows = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in summary.rows.items()) or "done"
    rejected = sum(summary.rejects.values())
    return f"{rows}; {rejected:,} rejected" if rejected else rows


def run(config: Config, voice: Voice, *, until: str = "report", redo: str = "") -> dict[str, StageSummary]:
    """Do what is missing of a run and of its variants, up to and with the stage ``until``.

    The report comes last, since it compares the run with its variants.

    Args:
        config: The whole config.
        voice: Says what happens.
        until: Last stage to run.
        redo: Delete this stage and all after it first.

    Returns:
        The summary of each stage of the run itself, in order.

    Raises:
        CodedpoError: what a person has to mend; everything finished before is kept.
    """
    variants = variants_of(config)
    if not variants:
        return run_one(config, voice, until=until, redo=redo)
    before_report = min(until, STAGE_NAMES[-2], key=stage_position)
    summaries = run_one(config, voice, until=before_report, redo=redo)
    for name, variant in variants.items():
        voice.say(f"variant {name}", event="variant_started", style="bold", variant=name)
        run_one(variant, voice, until=until, redo=redo)
    return summaries if until == before_report else run_one(config, voice, until=until)


def run_one(
    config: Config, voice: Voice, *, until: str = "report", redo: str = ""
) -> dict[str, StageSummary]:
    """Do what ``run`` does, without the variants."""
    last = stage_position(until)
    first_redone = stage_position(redo) if redo else len(STAGES)
    folder = config.run_folder
    if config.base_run and not (Path(config.base_run) / "run.json").exists():
        raise ConfigError(
            f"base_run {config.base_run} is not a run folder; name one such as runs/quickstart."
        )
    services = Services(config, folder, voice)
    summaries: dict[str, StageSummary] = {}
    with _locked(folder):
        try:
            for position in range(first_redone, len(STAGES)):
                StageFolder(folder / f"{position + 1}-{STAGES[position].name}").remove()
            _record_attempt(config, folder, services)
            left_out = AFTER_DATA if config.data_only else ()
            stages = [stage for stage in STAGES[: last + 1] if stage.name not in left_out]
            for stage in stages:
                check = getattr(_module_of(stage), "check", None)
                if check is not None:
                    check(services)
            for stage in stages:
                may_adopt = stage_position(stage.name) < first_redone
                summaries[stage.name] = _run_stage(
                    stage, config, services, voice, summaries, may_adopt=may_adopt
                )
        finally:
            services.close()
    return summaries

"""Running the stages: when a stored result may be used again, and what is done where there is none."""

import fcntl
import importlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

from codedpo.context import StageContext
from codedpo.core.config import Config
from codedpo.core.config_files import variants_of
from codedpo.core.errors import BackendError, CodedpoError, StaleError
from codedpo.core.fingerprint import digest_of
from codedpo.core.progress import Voice
from codedpo.core.stage import StageFolder, StageSummary
from codedpo.manifest import note_origins, record_attempt
from codedpo.plan import outlook
from codedpo.seeds.sources import check_source, source_digest
from codedpo.services import Services
from codedpo.settings import check_settings
from codedpo.stages import STAGE_NAMES, STAGES, Stage, own_path, stage_path, stage_position, stages_until
from codedpo.tasks.given import read_tasks

DEFAULTS: dict[str, Any] = json.loads(Config(name="defaults").model_dump_json())


def _prompts_digest(name: str) -> str:
    """Digest the prompt files beside a stage's code; empty where it has none."""
    folder = resources.files(f"codedpo.{name}") / "prompts"
    if not folder.is_dir():
        return ""
    return digest_of({item.name: item.read_text("utf-8") for item in folder.iterdir() if item.is_file()})


def identity_of(
    stage: Stage,
    config: Config,
    services: Services,
    summaries: dict[str, StageSummary],
    stored: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Collect all that a stage's rows depend on; ``stored`` is the identity of a result that may be used again."""
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
    if "seeds" in stage.sections and (sources := _sources(config, stored or {})):
        identity["sources"] = sources
    if "benchmarks" in stage.services:
        identity["benchmarks"] = config.kept_out
    if "given tasks" in stage.services and config.tasks.file:
        identity["tasks"] = digest_of(read_tasks(Path(config.tasks.file)))
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


def _sources(config: Config, stored: Mapping[str, Any]) -> dict[str, str]:
    """Digest each folder and table of seeds; one that is not on this machine counts as unchanged."""
    noted = stored.get("sources", {})
    sources = [source for source in config.seeds.sources if source.path]
    return {source.path: source_digest(source) or noted.get(source.path, "") for source in sources}


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


def _adopt(config: Config, stage: Stage, identity: dict[str, Any]) -> bool:
    """Use the base run's stage where its identity is equal."""
    if not config.base_run or stage.name == "report":
        return False
    base = StageFolder(stage_path(Path(config.base_run), stage.name))
    if base.summary() is None or base.differences(identity, DEFAULTS):
        return False
    base.lend(own_path(config.run_folder, stage.name), config.base_run)
    return True


def _check_adopted(folder: StageFolder, stage: Stage, config: Config, identity: dict[str, Any]) -> None:
    """Make sure that an adopted stage can be used as it is: only the run that it belongs to may write it.

    Raises:
        StaleError: that run has begun it anew and not finished it, or has made it with other settings.
    """
    if folder.summary() is None:
        raise StaleError(
            f"base_run {config.base_run} has not finished {stage.name}, which {config.run_folder} adopted "
            f"({folder.path}); finish it there, or make it here with --redo {stage.name}."
        )
    folder.check(identity, DEFAULTS)


def _module_of(stage: Stage) -> ModuleType:
    """Import a stage: ``run(context)`` and, where something can be seen to be missing early, ``check(services)``."""
    return importlib.import_module(f"codedpo.{stage.name}.stage")


def stage_checks(config: Config, until: str, redo: str = "") -> dict[str, Callable[[Services], str]]:
    """Return what the stages of a run look for before any work.

    A stage that is done and not redone needs its device, packages and tracker no more: a run that was trained on a GPU
    goes on, and is reported, on a machine without one. The sandbox of ``executions`` serves the evaluation too.

    Returns:
        Stage -> its ``check(services)``, which says in words what it found and raises what a person has to mend.
    """
    first_redone = stage_position(redo) if redo else len(STAGES)
    found: dict[str, Callable[[Services], str]] = {}
    for stage in stages_until(until, config):
        # What is to be redone is not read: it may be torn.
        is_needed = (
            stage.name == "executions"
            or stage_position(stage.name) >= first_redone
            or StageFolder(stage_path(config.run_folder, stage.name)).summary() is None
        )
        if is_needed and hasattr(module := _module_of(stage), "check"):
            found[stage.name] = module.check
    return found


def check_variant(name: str, config: Config, variant: Config, until: str, redo: str = "") -> None:
    """Make the checks of a variant's stages, hours before its turn comes.

    Raises:
        CodedpoError: what a person has to mend, with the variant's name.
    """
    services = Services(variant, variant.run_folder, Voice(quiet=True))
    asks = any("model" in stage.services for stage in stages_until(until, variant))
    try:
        if asks and variant.model != config.model:  # The run sees to its own.
            services.check_recording()
        for stage, check in stage_checks(variant, until, redo).items():
            if stage != "executions" or variant.sandbox != config.sandbox:  # a cluster takes long to start
                check(services)
    except CodedpoError as error:
        raise type(error)(f"variant {name}: {error}") from error
    finally:
        services.close()


def _inputs(stage: Stage, run_folder: Path) -> dict[type, Sequence[Path]]:
    """Collect the parts of every table that a stage reads, in the order of the stages that wrote them."""
    inputs: dict[type, Sequence[Path]] = {}
    for row_type in stage.reads:
        writers = [other for other in STAGES[: stage_position(stage.name)] if row_type in other.writes]
        folders = [StageFolder(stage_path(run_folder, writer.name)) for writer in writers]
        inputs[row_type] = [path for folder in folders for path in folder.parts_of(row_type)]
    return inputs


def _places(stage: Stage, config: Config, *, may_adopt: bool, is_redone: bool = False) -> list[StageFolder]:
    """Return where a result may be that can be used again: in the run, and in the base run that it may adopt from."""
    runs = [] if is_redone else [config.run_folder]
    if config.base_run and may_adopt:
        runs.append(Path(config.base_run))
    return [StageFolder(stage_path(run, stage.name)) for run in runs]


def _check_model(work: Sequence[Stage], services: Services) -> None:
    """Reach the model before hours go into a stage that does not ask it; one that does notices by itself."""
    if work and "model" not in work[0].services and any("model" in stage.services for stage in work):
        services.reach_model()


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
    stored = map(StageFolder.stored_identity, _places(stage, config, may_adopt=may_adopt))
    identity = identity_of(stage, config, services, summaries, next(filter(None, stored), None))
    note_origins(config.run_folder, services, voice)
    own = own_path(config.run_folder, stage.name)
    # A folder that was adopted is gone where one of the two runs was moved alone.
    if may_adopt and not StageFolder.of(own).path.exists() and _adopt(config, stage, identity):
        voice.say(
            f"{stage.name}: adopted from {config.base_run}",
            style="dim",
            event="stage_adopted",
            stage=stage.name,
        )
    folder = StageFolder(stage_path(config.run_folder, stage.name))
    if folder.path == own:
        folder.open(identity, DEFAULTS)
    else:
        _check_adopted(folder, stage, config, identity)
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
    replies = _replies(summary) if config.model.recording and "model" in stage.services else ""
    voice.say(
        f"  {_counts(summary)}{replies} in {seconds:.0f} s",
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


def _replies(summary: StageSummary) -> str:
    recorded, new = (int(summary.counters.get(f"{origin}_replies", 0)) for origin in ("recorded", "new"))
    return f"; {recorded:,} replies recorded, {new:,} new"


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
    check_settings(config, until)
    variants = variants_of(config)
    for name, variant in variants.items():
        check_variant(name, config, variant, until, redo)
    if not variants:
        return run_one(config, voice, until=until, redo=redo)
    before_report = min(until, STAGE_NAMES[-2], key=stage_position)
    summaries = run_one(config, voice, until=before_report, redo=redo)
    for name, variant in variants.items():
        voice.say(f"variant {name}", event="variant_started", style="bold", variant=name)
        run_one(variant, voice, until=until, redo=redo, is_variant=True)
    return summaries if until == before_report else run_one(config, voice, until=until)


def run_one(
    config: Config, voice: Voice, *, until: str = "report", redo: str = "", is_variant: bool = False
) -> dict[str, StageSummary]:
    """Do what ``run`` does, without the variants; one of them adopts what its run has just redone."""
    first_redone = stage_position(redo) if redo else len(STAGES)
    folder = config.run_folder
    is_new = not folder.exists()
    services = Services(config, folder, voice)
    summaries: dict[str, StageSummary] = {}
    with _locked(folder):
        try:
            record_attempt(config, folder, services)
            for check in stage_checks(config, until, redo).values():
                check(services)
            stages = stages_until(until, config)
            redone = STAGES[first_redone:]
            may_adopt = {stage: is_variant or stage not in redone for stage in stages}
            places = {
                stage: _places(stage, config, may_adopt=may_adopt[stage], is_redone=stage in redone)
                for stage in stages
            }
            _check_model(
                [stage for stage in stages if not any(map(StageFolder.summary, places[stage]))], services
            )
            if first_redone == 0:  # else a source that is gone counts as unchanged
                for source in config.seeds.sources:
                    check_source(source)
            for stage in redone:  # only now, so that a run which cannot begin deletes nothing
                StageFolder(own_path(folder, stage.name)).remove()
            if is_new and (line := outlook(config, until)):
                voice.say(line, event="outlook", style="dim")
            for stage in stages:
                summaries[stage.name] = _run_stage(
                    stage, config, services, voice, summaries, may_adopt=may_adopt[stage]
                )
        finally:
            services.close()
    return summaries

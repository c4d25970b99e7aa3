"""One training, from base weights and pairs to an adapter, merged weights and curves."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codedpo.core.config import TrainingConfig
from codedpo.core.errors import DataError
from codedpo.core.fingerprint import digest_of
from codedpo.core.progress import Advance, followed
from codedpo.core.records import Pair, Reject, TrainingStep
from codedpo.core.unpaired import unpaired
from codedpo.llm.device import choose_device
from codedpo.training import callbacks, data, guards, merge, processes, trainers
from codedpo.training.card import model_card
from codedpo.training.curves import steps_of
from codedpo.training.loading import load_model, load_tokenizer, tokenize_with
from codedpo.training.probe import Probe
from codedpo.training.reference import REFERENCE, ReferenceStore

ShowProgress = Callable[[str, int, int], AbstractContextManager[Advance]]
"""``progress(description, total, done)``."""


@dataclass(frozen=True, slots=True)
class Job:
    """All that a training needs; who calls ``train`` reads the pairs."""

    base: str
    """Hugging Face folder of the base weights."""
    base_name: str
    template: str
    """Jinja source of the template that generation and evaluation use too."""
    output: str
    """Folder that gets ``adapter``, ``model`` and, while it runs, ``checkpoints``."""
    config: TrainingConfig
    seed: int
    device: str
    weights_digest: str = ""
    references: tuple[str, ...] = ()
    """Files of reference log-probabilities of the runs that this one is based on."""
    pairs: tuple[str, ...] = ()
    """Parts of the table of pairs."""

    def to_json(self) -> str:
        """Return the job as JSON."""
        return json.dumps(asdict(self) | {"config": self.config.model_dump(mode="json")})

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """Read a job from JSON."""
        values = json.loads(text)
        config = TrainingConfig.model_validate_json(json.dumps(values["config"]))
        files = {name: tuple(values[name]) for name in ("references", "pairs")}
        return cls(**values | files | {"config": config})


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training gives beside its files."""

    steps: list[TrainingStep]
    rejects: list[Reject]
    counters: dict[str, float]
    notes: list[str]
    """Sentences that a person should read."""


def _reject_sentence(pairs: int, rejects: Sequence[Reject]) -> str:
    reasons = sorted({reject.reason for reject in rejects})
    counts = ", ".join(f"{reason} {sum(r.reason == reason for r in rejects)}" for reason in reasons)
    return f"{len(rejects)} of {pairs} pairs cannot be trained on ({counts})"


def prepare(
    job: Job, pairs: Sequence[Pair], tokenizer: Any, progress: ShowProgress
) -> tuple[list[Pair], list[Reject]]:
    """Select and check the pairs of a job.

    Raises:
        DataError: none is left.
    """
    selected = data.select(pairs, job.config, job.seed)
    with progress("checking pairs", len(selected), 0) as advance:
        kept, rejects = data.check_pairs(
            followed(selected, advance),
            tokenize_with(tokenizer),
            job.config.max_length,
            {tokenizer.eos_token_id},
        )
    if not any(pair.split == "train" for pair in kept):
        if any(pair.split == "train" for pair in selected):
            found, remedy = _reject_sentence(len(selected), rejects), "raise training.max_length"
        elif pairs:
            found = f"training.kinds, training.balance_length and the split leave none of {len(pairs)}"
            remedy = "loosen them"
        else:
            found, remedy = "the stage pairs made none", "loosen the options of pairs"
        raise DataError(f"there is no pair to train on: {found}; {remedy} or make more pairs.")
    return kept, rejects


def train(job: Job, pairs: Sequence[Pair], progress: ShowProgress) -> Trained:
    """Train, or go on from the last whole checkpoint, and write adapter and merged weights.

    Raises:
        ConfigError: the tracker is unknown or not installed.
        DataError: no pair can be trained on, the tokenizer has no end token, or the loss is no number.
        BackendError: the device is not there.
    """
    import torch

    config, output = job.config, Path(job.output)
    device = choose_device(job.device)
    trainers.check_tracker(config.tracker)
    tokenizer = load_tokenizer(job.base, job.template)
    kept, rejects = prepare(job, pairs, tokenizer, progress)
    rows = data.rows_of(kept, config, job.seed)
    own = config.model_copy(
        update={"gradient_accumulation": config.gradient_accumulation // processes.count()}
    )
    schedule = trainers.Schedule.of(len(rows["train"]), trainers.batch_size(config) * processes.count(), own)
    checkpoint = callbacks.last_checkpoint(output / "checkpoints")
    model, dtype, bfloat16 = load_model(job.base, config, device)
    options = trainers.trainer_options(
        own, schedule, output / "checkpoints", seed=job.seed, cpu=device == "cpu", bfloat16=bfloat16
    )
    if rows["validation"]:
        options = trainers.with_validation(options, schedule, resumed=checkpoint is not None)
    trainer = _train(
        job, model, tokenizer, rows, options, schedule, Probe.of(kept, tokenize_with(tokenizer)), progress
    )
    steps = steps_of(trainer.state.log_history)
    counters, notes = _told(trainer, kept, rejects, steps, config)
    counters |= {f"{split} rows": float(len(items)) for split, items in rows.items()}
    model = merge.on_full_weights(trainer.model, job.base, dtype) if config.four_bit else trainer.model
    if config.lora:
        share = merge.kept_share(model)
        counters["update kept at the base precision"] = round(share, 4)
        if share < merge.LEAST_KEPT:
            notes.append(
                f"the merged weights are stored in float32: at the precision of the base only {share:.0%} of the "
                "update would outlive rounding."
            )
            model.to(device="cpu", dtype=torch.float32)
    if processes.is_first():
        merge.save(
            model, tokenizer, output, model_card(job.base_name, config, steps, len(kept)), job.base_name
        )
    return Trained(steps, rejects, counters, notes)


def _told(
    trainer: Any,
    pairs: Sequence[Pair],
    rejects: Sequence[Reject],
    steps: Sequence[TrainingStep],
    config: TrainingConfig,
) -> tuple[dict[str, float], list[str]]:
    """Return what to count and what to say of a finished training and its pairs."""
    counters = {
        "steps": float(trainer.state.global_step),
        "best step": float(trainer.state.best_global_step or 0),
    }
    notes = [f"{_reject_sentence(len(pairs) + len(rejects), rejects)}."] if rejects else []
    if config.confidence_weighted:
        trained = [pair for pair in pairs if pair.split == "train"]
        unknown = sum(pair.probability < 0 for pair in trained)
        counters["pairs without probability"] = float(unknown)
        if unknown:
            notes.append(
                f"{unknown} of {len(trained)} training pairs have no estimated probability and weigh 1."
            )
    if config.method == "kto":
        answers = unpaired(pair for pair in pairs if pair.split == "train")
        counters |= {f"sides left out, {reason}": float(count) for reason, count in answers.left_out.items()}
        undesirable = len(answers.answers) - len(answers.desirable)
        reasons = ", ".join(f"{reason} {count}" for reason, count in answers.left_out.items())
        notes.append(
            f"KTO had {len(answers.desirable)} desirable and {undesirable} undesirable answers; of the sides of "
            f"training pairs were left out: {reasons}."
        )
    if not any(pair.split == "validation" for pair in pairs):
        notes.append(
            "there is no validation pair, so the last weights are the result, not the best by validation loss."
        )
    for warned in guards.warnings_of(steps, config):
        notes.append(warned.sentence)
        counters[f"guard {warned.reason}"] = 1.0
    return counters, notes


def _reference_store(job: Job, model: Any, options: Mapping[str, Any]) -> ReferenceStore:
    """Open the store of reference log-probabilities; tokens tell prompts, template and answers.

    Args:
        job: The training.
        model: The loaded weights, by whose precision results are rounded.
        options: Of the trainer: where and in which precision products are computed.
    """
    config = job.config
    numerics = (str(model.dtype), config.four_bit, options["use_cpu"], options["bf16"])
    changed_by = (config.method, config.confidence_weighted)
    focus = config.focus.model_dump() if config.focus else None
    identity = digest_of([job.weights_digest, *numerics, *changed_by, focus])
    return ReferenceStore(Path(job.output) / REFERENCE, identity, map(Path, job.references))


def _train(
    job: Job,
    model: Any,
    tokenizer: Any,
    rows: dict[str, list[data.TrainingRow]],
    options: dict[str, Any],
    schedule: trainers.Schedule,
    probe: Probe,
    progress: ShowProgress,
) -> Any:
    """Take the reference, then train to the end of the schedule; return the trainer with its best weights."""
    config, size = job.config, trainers.batch_size(job.config) * processes.count()
    checkpoint = callbacks.last_checkpoint(Path(options["output_dir"]))
    if processes.is_first():
        callbacks.delete_torn(Path(options["output_dir"]))
    batches = sum(math.ceil(len(items) / size) for items in rows.values()) if config.method != "sft" else 0
    store = _reference_store(job, model, options)
    with progress("training: reference log-probabilities", batches, 0) as advance:
        trainer = trainers.build_trainer(
            config, model, tokenizer, rows, options, store=store, reference_step=lambda: advance(1)
        )
    trainer.probe = probe
    done = int(checkpoint.name.partition("-")[2]) * schedule.batches // schedule.steps if checkpoint else 0
    with progress("training: batches", schedule.batches, done) as advance:
        trainer.add_callback(callbacks.scheduled(schedule, advance, validate=bool(rows["validation"])))
        trainer.add_callback(callbacks.watching(guards.check_finite))
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return trainer

"""One training, from base weights and pairs to an adapter, merged weights and curves."""

import json
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codedpo.core.config import TrainingConfig
from codedpo.core.errors import DataError
from codedpo.core.progress import Advance
from codedpo.core.records import Pair, Reject, TrainingStep
from codedpo.llm.device import choose_device
from codedpo.llm.template import PLAIN
from codedpo.training import callbacks, data, guards, merge, trainers
from codedpo.training.card import model_card
from codedpo.training.curves import steps_of
from codedpo.training.probe import Probe

ShowProgress = Callable[[str, int, int], AbstractContextManager[Advance]]
"""``progress(description, total, done)``."""


@dataclass(frozen=True, slots=True)
class Job:
    """All that a training needs but the pairs."""

    base: str
    """Hugging Face folder of the base weights."""
    base_name: str
    output: str
    """Folder that gets ``adapter``, ``model`` and, while it runs, ``checkpoints``."""
    config: TrainingConfig
    seed: int
    device: str

    def to_json(self) -> str:
        """Return the job as JSON."""
        return json.dumps(asdict(self) | {"config": self.config.model_dump(mode="json")})

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """Read a job from JSON."""
        values = json.loads(text)
        return cls(**values | {"config": TrainingConfig.model_validate_json(json.dumps(values["config"]))})


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training gives beside its files."""

    steps: list[TrainingStep]
    rejects: list[Reject]
    counters: dict[str, float]
    notes: list[str]
    """Sentences that a person should read."""


def load_tokenizer(folder: str) -> Any:
    """Load a tokenizer; without chat template (base models) contents stand alone and answers end with its end token.

    Raises:
        DataError: there is no end token, so the model would never learn to stop.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.eos_token is None:
        raise DataError(f"the tokenizer of {folder} has no end token; name one in its tokenizer_config.json.")
    if not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN.replace(
            "{% endfor %}", "{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
        )
    return tokenizer


def tokenize_with(tokenizer: Any) -> Callable[[Sequence[dict[str, str]], bool], list[int]]:
    """Return the tokenize function that the checks of pairs ask for."""

    def tokenize(messages: Sequence[dict[str, str]], add_generation_prompt: bool) -> list[int]:
        ids = tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=add_generation_prompt, tokenize=True, return_dict=False
        )
        return list(ids)

    return tokenize


def multiplies_bfloat16(device: str) -> bool:
    """Whether matrix products in bfloat16 are faster than in float32 on this device.

    Without AVX512-BF16 or AMX they are emulated: on an AVX2 core 9 instead of 57 GFLOP/s forward, and 1 backward.
    """
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))


def _reject_sentence(pairs: int, rejects: Sequence[Reject]) -> str:
    reasons = sorted({reject.reason for reject in rejects})
    counts = ", ".join(f"{reason} {sum(r.reason == reason for r in rejects)}" for reason in reasons)
    return f"{len(rejects)} of {pairs} pairs cannot be trained on ({counts})"


def prepare(job: Job, pairs: Sequence[Pair], tokenizer: Any) -> tuple[list[Pair], list[Reject]]:
    """Select and check the pairs of a job.

    Raises:
        DataError: none is left.
    """
    selected = data.select(pairs, job.config, job.seed)
    kept, rejects = data.check_pairs(
        selected, tokenize_with(tokenizer), job.config.max_length, {tokenizer.eos_token_id}
    )
    if not any(pair.split == "train" for pair in kept):
        found = _reject_sentence(len(selected), rejects) if rejects else "the stage pairs made none"
        raise DataError(
            f"there is no pair to train on: {found}; raise training.max_length or make more pairs."
        )
    return kept, rejects


def train(job: Job, pairs: Sequence[Pair], progress: ShowProgress) -> Trained:
    """Train, or go on from the last whole checkpoint, and write adapter and merged weights.

    Raises:
        ConfigError: the tracker is unknown or not installed.
        DataError: no pair can be trained on, the tokenizer has no end token, or the loss is no number.
        BackendError: the device is not there.
    """
    import torch
    from transformers import AutoModelForCausalLM

    config, output = job.config, Path(job.output)
    device = choose_device(job.device)
    trainers.check_tracker(config.tracker)
    tokenizer = load_tokenizer(job.base)
    kept, rejects = prepare(job, pairs, tokenizer)
    view = data.VIEWS[config.method]
    rows = {
        split: view([pair for pair in kept if pair.split == split], job.seed)
        for split in ("train", "validation")
    }
    bfloat16 = config.dtype == "bfloat16" or (config.dtype == "auto" and multiplies_bfloat16(device))
    schedule = trainers.Schedule.of(len(rows["train"]), trainers.batch_size(config), config)
    checkpoint = callbacks.last_checkpoint(output / "checkpoints")
    options = trainers.trainer_options(
        config, schedule, output / "checkpoints", seed=job.seed, cpu=device == "cpu", bfloat16=bfloat16
    )
    if rows["validation"]:
        options = trainers.with_validation(options, schedule, resumed=checkpoint is not None)
    # Frozen weights may be stored in bfloat16; weights that are trained need float32 for small updates.
    dtype = torch.bfloat16 if bfloat16 and config.lora else torch.float32
    model = AutoModelForCausalLM.from_pretrained(job.base, dtype=dtype, attn_implementation="sdpa")
    trainer = _train(
        job, model, tokenizer, rows, options, schedule, Probe.of(kept, tokenize_with(tokenizer)), progress
    )
    counters = {f"{split} rows": float(len(items)) for split, items in rows.items()}
    counters |= {
        "steps": float(trainer.state.global_step),
        "best step": float(trainer.state.best_global_step or 0),
    }
    notes = [f"{_reject_sentence(len(kept) + len(rejects), rejects)}."] if rejects else []
    if not rows["validation"]:
        notes.append(
            "there is no validation pair, so the last weights are the result, not the best by validation loss."
        )
    steps = steps_of(trainer.state.log_history)
    for warned in guards.warnings_of(steps, config):
        notes.append(warned.sentence)
        counters[f"guard {warned.reason}"] = 1.0
    card = model_card(job.base_name, config, steps, len(kept))
    if config.lora:
        share = merge.kept_share(trainer.model)
        counters["update kept at the base precision"] = round(share, 4)
        if share < merge.LEAST_KEPT:
            notes.append(
                f"the merged weights are stored in float32: at the precision of the base only {share:.0%} of the "
                "update would outlive rounding."
            )
            trainer.model.to(device="cpu", dtype=torch.float32)
    merge.save(trainer.model, tokenizer, output, card)
    return Trained(steps, rejects, counters, notes)


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
    config, size = job.config, trainers.batch_size(job.config)
    checkpoint = callbacks.last_checkpoint(Path(options["output_dir"]))
    batches = sum(math.ceil(len(items) / size) for items in rows.values()) if config.method != "sft" else 0
    with progress("training: reference log-probabilities", batches, 0) as advance:
        trainer = trainers.build_trainer(
            config.method, model, tokenizer, rows, options, config.lora, reference_step=lambda: advance(1)
        )
    trainer.probe = probe
    done = int(checkpoint.name.partition("-")[2]) * schedule.batches // schedule.steps if checkpoint else 0
    with progress("training: batches", schedule.batches, done) as advance:
        trainer.add_callback(callbacks.scheduled(schedule, advance, validate=bool(rows["validation"])))
        trainer.add_callback(callbacks.watching(guards.check_finite))
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return trainer

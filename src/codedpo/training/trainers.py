"""One table: method -> TRL's trainer, its config, and the options that this method alone has."""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codedpo.core.config import LoraConfig, TrainingConfig
from codedpo.core.errors import ConfigError
from codedpo.training.data import TrainingRow
from codedpo.training.fast_loss import fast
from codedpo.training.reference import ReferenceStore
from codedpo.training.weighting import weighted


@dataclass(frozen=True, slots=True)
class Method:
    """How one method maps to TRL."""

    trainer: str
    config: str
    options: Callable[[TrainingConfig], dict[str, Any]]


def _dpo(config: TrainingConfig) -> dict[str, Any]:
    """DPO (arXiv 2305.18290, equation 7) plus the weighted negative log-likelihood of the chosen side (RPO form).

    TRL's ``sft`` term is the mean over the chosen tokens of a batch.
    """
    losses, weights = ["sigmoid_norm" if config.length_normalised else "sigmoid"], [1.0]
    if config.nll_weight:
        losses, weights = [*losses, "sft"], [*weights, config.nll_weight]
    return {
        "loss_type": losses,
        "loss_weights": weights,
        "beta": config.beta,
        "precompute_ref_log_probs": True,
    }


def _kto(config: TrainingConfig) -> dict[str, Any]:
    """KTO (arXiv 2402.01306, equation 7); its KL term needs at least two rows a batch."""
    return {
        "beta": config.beta,
        "precompute_ref_log_probs": True,
        "per_device_train_batch_size": max(2, config.batch_size),
        "per_device_eval_batch_size": max(2, config.batch_size),
    }


def _sft(config: TrainingConfig) -> dict[str, Any]:
    """Supervised training on the chosen answers, loss on the answers alone."""
    del config
    return {"completion_only_loss": True}


METHODS: Mapping[str, Method] = {
    "dpo": Method("DPOTrainer", "DPOConfig", _dpo),
    "kto": Method("KTOTrainer", "KTOConfig", _kto),
    "sft": Method("SFTTrainer", "SFTConfig", _sft),
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """Update steps of a run, and after which of them validation loss is taken and a checkpoint kept."""

    steps: int
    batches: int
    """Forward passes of all steps."""
    points: tuple[int, ...]

    @classmethod
    def of(cls, rows: int, batch_size: int, config: TrainingConfig) -> "Schedule":
        """Count the update steps as transformers does: the last batch of an epoch may be smaller."""
        batches = math.ceil(rows / batch_size)
        updates = math.ceil(batches / config.gradient_accumulation)
        steps = max(1, math.ceil(config.epochs * updates))
        points = {math.ceil(steps * part / config.evaluations) for part in range(1, config.evaluations + 1)}
        return cls(steps, math.ceil(steps / updates * batches), tuple(sorted(points)))


def lora_options(lora: LoraConfig, layers: int, linear: Collection[str]) -> dict[str, Any]:
    """Return PEFT's options for adapters on every linear layer but the output head, in the last ``lora.layers``.

    Args:
        lora: The adapters.
        layers: Layers of the model.
        linear: Names of the linear parts of a layer (``q_proj``, ...), as ``linear_parts`` returns them.

    Raises:
        ConfigError: the model has fewer layers.
    """
    if lora.layers > layers:
        raise ConfigError(
            f"training.lora.layers is {lora.layers}, but the model has {layers} layers; lower it."
        )
    adapted = range(layers - lora.layers, layers) if lora.layers else range(layers)
    return {
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "target_modules": sorted(linear),
        "layers_to_transform": list(adapted),
        "task_type": "CAUSAL_LM",
    }


def adapters(lora: LoraConfig, model: Any) -> dict[str, Any]:
    """Return PEFT's options for the adapters of a model, of which the weights need not be there.

    Raises:
        ConfigError: adapters have no place in it, or it has fewer layers than are to have them.
    """
    layers = getattr(model.config, "num_hidden_layers", 0)
    if not layers:
        raise ConfigError(
            f"training.lora: the config of a model of type {model.config.model_type} does not say how many layers an "
            "adapter could go to; set training.lora to null to train all weights."
        )
    return lora_options(lora, layers, linear_parts(model))


def linear_parts(model: Any) -> set[str]:
    """Return the names of the linear parts of a model's numbered layers (``model.layers.0``, ``transformer.h.0``).

    The output head is in no numbered layer.

    Raises:
        ConfigError: there is none, so that adapters have no place.
    """
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    inside = re.compile(r"\.\d+\.")
    names = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, Linear | Conv1D) and inside.search(name)
    }
    if not names:
        raise ConfigError(
            f"training.lora: a model of type {model.config.model_type} has no linear part in a numbered layer that an "
            "adapter could go to; set training.lora to null to train all weights."
        )
    return names


def batch_size(config: TrainingConfig) -> int:
    """Return the rows of one forward pass, which a method may raise."""
    options = METHODS[config.method].options(config)
    return int(options.get("per_device_train_batch_size", config.batch_size))


def trainer_options(
    config: TrainingConfig, schedule: Schedule, output: Path, *, seed: int, cpu: bool, bfloat16: bool
) -> dict[str, Any]:
    """Return the keyword arguments of the TRL config: schedule, checkpoints, precision, no tracker.

    Args:
        config: The training section.
        schedule: The steps of this run.
        output: Folder for checkpoints.
        seed: Seed of adapter initialisation and data order.
        cpu: Whether training runs on the CPU.
        bfloat16: Whether matrix products run in bfloat16.
    """
    common = {
        "output_dir": str(output),
        "num_train_epochs": config.epochs,
        "per_device_train_batch_size": config.batch_size,
        "per_device_eval_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": "linear",
        # rounded down: a warm-up of one step would be a step at learning rate 0
        "warmup_steps": int(config.warmup_share * schedule.steps),
        "logging_steps": max(1, schedule.steps // 200),
        "save_strategy": "steps",
        "save_steps": schedule.steps,
        "save_total_limit": 2,
        "max_length": config.max_length,
        "seed": seed,
        "data_seed": seed,
        "use_cpu": cpu,
        "bf16": bfloat16,
        "activation_checkpointing": config.activation_checkpointing,
        "ddp_find_unused_parameters": False,
        "report_to": config.tracker,
        "disable_tqdm": True,
    }
    return common | METHODS[config.method].options(config)


def with_validation(options: dict[str, Any], schedule: Schedule, *, resumed: bool) -> dict[str, Any]:
    """Add validation: at the start, at every point of the schedule, and the best checkpoint at the end."""
    return options | {
        "eval_strategy": "steps",
        "eval_steps": schedule.steps,
        "eval_on_start": not resumed,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
    }


def check_tracker(name: str) -> None:
    """Make sure that the trainer can log to a tracker before any work is done.

    Raises:
        ConfigError: transformers does not know it, or its package is missing.
    """
    from transformers.integrations import get_reporting_integration_callbacks

    try:
        for callback in get_reporting_integration_callbacks(name):
            callback()
    except (ImportError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"training.tracker {name} cannot be used ({error}); install its package, or set it to none."
        ) from error


def build_trainer(
    config: TrainingConfig,
    model: Any,
    tokenizer: Any,
    rows: Mapping[str, Sequence[TrainingRow]],
    options: Mapping[str, Any],
    callbacks: Sequence[Any] = (),
    *,
    plain: bool = False,
    store: ReferenceStore | None = None,
    reference_step: Callable[[], None] = lambda: None,
) -> Any:
    """Build the trainer of a method.

    Args:
        config: The training section: method, adapters and weights of pairs and tokens are taken from it.
        model: The loaded base weights.
        tokenizer: Its tokenizer, with the chat template that generation uses too.
        rows: Rows of ``train`` and ``validation`` in the method's form; validation may be empty.
        options: Keyword arguments of the TRL config.
        callbacks: Callbacks of transformers.
        plain: Use TRL's own forward pass, to compare with.
        store: Knows reference log-probabilities, and is told new ones.
        reference_step: Called after every batch of reference log-probabilities.
    """
    import trl
    from peft import LoraConfig as PeftLoraConfig

    entry, lora = METHODS[config.method], config.lora
    arguments = getattr(trl, entry.config)(**options)
    train, validation = (_dataset(rows[split], split, arguments) for split in ("train", "validation"))
    trainer = getattr(trl, entry.trainer)
    if config.confidence_weighted or config.focus:
        trainer = weighted(trainer, config)
    return (trainer if plain else fast(trainer, store, reference_step))(
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=validation,
        processing_class=tokenizer,
        peft_config=PeftLoraConfig(**adapters(lora, model)) if lora else None,
        callbacks=list(callbacks),
    )


def _dataset(rows: Sequence[TrainingRow], split: str, arguments: Any) -> Any:
    """Return rows as a dataset on disk, where all processes find what TRL adds to it; None where there are none."""
    from datasets import Dataset

    if not rows:
        return None
    folder = str(Path(arguments.output_dir) / f"rows-{split}")
    with arguments.main_process_first():
        if arguments.process_index == 0:
            Dataset.from_list(list(rows)).save_to_disk(folder)
        return Dataset.load_from_disk(folder)

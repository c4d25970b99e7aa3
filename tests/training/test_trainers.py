from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from codedpo.core.config import LoraConfig, TrainingConfig
from codedpo.core.errors import ConfigError
from codedpo.core.records import Pair
from codedpo.training import data
from codedpo.training.trainers import (
    METHODS,
    Schedule,
    batch_size,
    build_trainer,
    linear_parts,
    lora_options,
    trainer_options,
)


def options_of(**values: Any) -> dict[str, Any]:
    config = TrainingConfig(**values)
    return trainer_options(config, Schedule.of(40, 1, config), Path("out"), seed=1, cpu=True, bfloat16=False)


def test_the_schedule_counts_steps_as_transformers_does() -> None:
    config = TrainingConfig(epochs=2.0, gradient_accumulation=4, evaluations=3)
    assert Schedule.of(10, 2, config) == Schedule(4, 10, (2, 3, 4))
    assert Schedule.of(1, 1, config) == Schedule(2, 2, (1, 2))


@pytest.mark.parametrize(
    ("key", "value", "name", "expected"),
    [
        ("learning_rate", 3e-4, "learning_rate", 3e-4),
        ("epochs", 4.0, "num_train_epochs", 4.0),
        ("batch_size", 3, "per_device_train_batch_size", 3),
        ("gradient_accumulation", 5, "gradient_accumulation_steps", 5),
        ("max_length", 99, "max_length", 99),
        ("warmup_share", 0.5, "warmup_steps", 25),
        ("activation_checkpointing", True, "activation_checkpointing", True),
        ("tracker", "tensorboard", "report_to", "tensorboard"),
        ("beta", 0.4, "beta", 0.4),
        ("nll_weight", 0.2, "loss_weights", [1.0, 0.2]),
        ("nll_weight", 0.0, "loss_type", ["sigmoid"]),
    ],
)  # fmt: skip
def test_every_option_reaches_the_trainer(key: str, value: Any, name: str, expected: Any) -> None:
    assert options_of(**{key: value})[name] == expected
    assert options_of()[name] != expected


def test_kto_has_two_rows_a_batch_at_least() -> None:
    assert [batch_size(TrainingConfig(method="kto", batch_size=size)) for size in (1, 4)] == [2, 4]
    assert set(METHODS) == set(data.VIEWS)


def test_adapters_in_the_last_layers_leave_the_others_alone(
    base: Path, tmp_path: Path, tokenizer: Any, pairs: list[Pair]
) -> None:
    config = TrainingConfig(lora=LoraConfig(rank=2, alpha=3, layers=1))
    rows = {"train": data.preference_rows(pairs, 0), "validation": []}
    options = trainer_options(config, Schedule.of(8, 1, config), tmp_path, seed=1, cpu=True, bfloat16=False)
    model = AutoModelForCausalLM.from_pretrained(base)
    trained = [
        name
        for name, weight in build_trainer(config, model, tokenizer, rows, options).model.named_parameters()
        if weight.requires_grad
    ]
    assert len(trained) == 2 * 7
    assert all(".layers.2." in name for name in trained)


@pytest.mark.parametrize("option", ["length_normalised", "confidence_weighted", "focus"])
@pytest.mark.parametrize("method", ["kto", "sft"])
def test_what_changes_dpo_is_refused_elsewhere(method: str, option: str) -> None:
    value = {} if option == "focus" else True
    with pytest.raises(ValueError, match=f"the method {method} has no use for {option}"):
        TrainingConfig.model_validate({"method": method, option: value})


def test_a_model_without_a_place_for_adapters_is_refused() -> None:
    model = torch.nn.ModuleDict({"embedding": torch.nn.Embedding(4, 4), "head": torch.nn.Linear(4, 4)})
    model.config = SimpleNamespace(model_type="odd")
    with pytest.raises(ConfigError, match="type odd has no linear part in a numbered layer"):
        linear_parts(model)


def test_more_adapted_layers_than_layers_is_an_error() -> None:
    options = lora_options(LoraConfig(rank=3, alpha=5), 4, {"up", "down"})
    assert (options["r"], options["lora_alpha"], options["target_modules"]) == (3, 5, ["down", "up"])
    assert options["layers_to_transform"] == [0, 1, 2, 3]
    with pytest.raises(ConfigError, match="the model has 4 layers"):
        lora_options(LoraConfig(layers=5), 4, {"up"})

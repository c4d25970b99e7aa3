"""The losses that are trained, against formulas written down a second time, from plain logits."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from codedpo.core.config import LoraConfig, TrainingConfig
from codedpo.core.records import Pair
from codedpo.training import data
from codedpo.training.trainers import Schedule, build_trainer, trainer_options

BETA = 0.3


def trainer_of(
    method: str, base: Path, folder: Path, tokenizer: Any, pairs: list[Pair], **values: Any
) -> Any:
    """Build a trainer whose adapter is far from its start, so that ratios are not 0."""
    config = TrainingConfig(method=method, beta=BETA, batch_size=4, dtype="float32", **values)
    rows = {"train": data.VIEWS[method](pairs, 0), "validation": []}
    options = trainer_options(config, Schedule.of(8, 4, config), folder, seed=1, cpu=True, bfloat16=False)
    model = AutoModelForCausalLM.from_pretrained(base, attn_implementation="sdpa")
    trainer = build_trainer(method, model, tokenizer, rows, options, LoraConfig(rank=4, alpha=8))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, weight in trainer.model.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.05)
    return trainer


def log_probability(model: Any, prompt: list[int], answer: list[int]) -> tuple[float, int]:
    """Return the summed log-probability of an answer in float64, and its number of tokens."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + answer])).logits[0].double()
    logs = logits - logits.exp().sum(-1, keepdim=True).log()
    return sum(float(logs[len(prompt) - 1 + place, token]) for place, token in enumerate(answer)), len(answer)


def both(model: Any, prompt: list[int], answer: list[int]) -> tuple[float, float, int]:
    """Return the log-probability under policy and reference, and the length."""
    policy, length = log_probability(model, prompt, answer)
    with model.disable_adapter():
        reference, _ = log_probability(model, prompt, answer)
    return policy, reference, length


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def loss_of(trainer: Any, rows: list[dict[str, Any]]) -> float:
    trainer._install()
    return float(trainer.compute_loss(trainer.model, trainer.data_collator(rows)).detach())


@pytest.mark.parametrize("length_normalised", [False, True])
@pytest.mark.parametrize("nll_weight", [0.0, 0.7])
def test_dpo_with_negative_log_likelihood(
    nll_weight: float, length_normalised: bool, base: Path, tmp_path: Path, tokenizer: Any, pairs: list[Pair]
) -> None:
    trainer = trainer_of(
        "dpo", base, tmp_path, tokenizer, pairs, nll_weight=nll_weight, length_normalised=length_normalised
    )
    rows = [trainer.train_dataset[index] for index in range(4)]
    preference, chosen_sum, chosen_tokens = 0.0, 0.0, 0
    for row in rows:
        chosen = both(trainer.model, row["prompt_ids"], row["chosen_ids"])
        rejected = both(trainer.model, row["prompt_ids"], row["rejected_ids"])
        better, worse = (
            (policy - reference) / (length if length_normalised else 1)
            for policy, reference, length in (chosen, rejected)
        )
        preference -= math.log(sigmoid(BETA * (better - worse))) / len(rows)
        chosen_sum, chosen_tokens = chosen_sum + chosen[0], chosen_tokens + chosen[2]
    assert abs(preference - math.log(2)) > (1e-5 if length_normalised else 1e-3)
    expected = preference - nll_weight * chosen_sum / chosen_tokens
    assert loss_of(trainer, rows) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_kto(base: Path, tmp_path: Path, tokenizer: Any, pairs: list[Pair]) -> None:
    trainer = trainer_of("kto", base, tmp_path, tokenizer, pairs)
    rows = [trainer.train_dataset[index] for index in range(4)]
    assert len({row["label"] for row in rows}) == 2
    ratios = [
        policy - reference
        for policy, reference, _ in (both(trainer.model, r["prompt_ids"], r["completion_ids"]) for r in rows)
    ]
    mismatched = [both(trainer.model, row["prompt_ids"], row["KL_completion_ids"]) for row in rows]
    divergence = max(0.0, sum(policy - reference for policy, reference, _ in mismatched) / len(rows))
    losses = [
        1 - sigmoid(BETA * (ratio - divergence) * (1 if row["label"] else -1))
        for row, ratio in zip(rows, ratios, strict=True)
    ]
    assert loss_of(trainer, rows) == pytest.approx(sum(losses) / len(losses), rel=1e-5, abs=1e-5)


def test_sft_is_the_mean_over_answer_tokens(
    base: Path, tmp_path: Path, tokenizer: Any, pairs: list[Pair]
) -> None:
    trainer = trainer_of("sft", base, tmp_path, tokenizer, pairs)
    rows = [trainer.train_dataset[index] for index in range(4)]
    total, tokens = 0.0, 0
    for row in rows:
        start = sum(label == -100 for label in row["labels"])
        value, length = log_probability(trainer.model, row["input_ids"][:start], row["input_ids"][start:])
        total, tokens = total + value, tokens + length
    assert loss_of(trainer, rows) == pytest.approx(-total / tokens, rel=1e-5, abs=1e-5)

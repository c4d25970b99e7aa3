"""The losses that are trained, against formulas written down a second time, from plain logits."""

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from codedpo.core.config import FocusConfig, LoraConfig, TrainingConfig
from codedpo.core.errors import DataError
from codedpo.core.records import Pair
from codedpo.training import data
from codedpo.training.trainers import Schedule, build_trainer, trainer_options
from codedpo.training.weighting import differing_parts

BETA = 0.3
TOLERANCE = 1e-5
"""Of losses in float64: what is left is TRL's reference sums, stored in float32, the same on every processor."""


def trainer_of(
    method: str,
    base: Path,
    folder: Path,
    tokenizer: Any,
    pairs: list[Pair],
    *,
    plain: bool = False,
    **values: Any,
) -> Any:
    """Build a trainer whose adapter is far from its start, so that ratios are not 0."""
    lora = LoraConfig(rank=4, alpha=8)
    config = TrainingConfig(method=method, beta=BETA, batch_size=4, dtype="float32", lora=lora, **values)
    pairs = [replace(pair, split="train") for pair in pairs]
    rows = data.rows_of(pairs, config, 0)
    options = trainer_options(config, Schedule.of(8, 4, config), folder, seed=1, cpu=True, bfloat16=False)
    model = AutoModelForCausalLM.from_pretrained(base, attn_implementation="sdpa", dtype=torch.float64)
    trainer = build_trainer(config, model, tokenizer, rows, options, plain=plain)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, weight in trainer.model.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.05)
    return trainer


def token_log_probabilities(model: Any, prompt: list[int], answer: list[int]) -> list[float]:
    """Return the log-probability of every token of an answer in float64."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + answer])).logits[0].double()
    logs = logits - logits.exp().sum(-1, keepdim=True).log()
    return [float(logs[len(prompt) - 1 + place, token]) for place, token in enumerate(answer)]


def log_probability(model: Any, prompt: list[int], answer: list[int]) -> tuple[float, int]:
    """Return the summed log-probability of an answer, and its number of tokens."""
    return sum(token_log_probabilities(model, prompt, answer)), len(answer)


def both(model: Any, prompt: list[int], answer: list[int]) -> tuple[float, float, int]:
    """Return the log-probability under policy and reference, and the length."""
    policy, length = log_probability(model, prompt, answer)
    with model.disable_adapter():
        reference, _ = log_probability(model, prompt, answer)
    return policy, reference, length


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def loss_of(trainer: Any, rows: list[dict[str, Any]]) -> float:
    if hasattr(trainer, "_install"):
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
    assert loss_of(trainer, rows) == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)


def weights_by_hand(answer: list[int], other: list[int], focus: FocusConfig | None) -> list[float]:
    """Weigh a token as shared while it and all before it, or it and all after it, are the other answer's too."""
    if focus is None:
        return [1.0] * len(answer)
    begins = sum(answer[: size + 1] == other[: size + 1] for size in range(min(len(answer), len(other))))
    room = min(len(answer), len(other)) - begins
    ends = sum(answer[-size - 1 :] == other[-size - 1 :] for size in range(room))
    middle = len(answer) - begins - ends
    return [focus.shared] * begins + [focus.middle] * middle + [focus.shared] * ends


def weighted_loss(trainer: Any, rows: list[dict[str, Any]], values: dict[str, Any]) -> float:
    """Return the loss that weighs pairs and tokens, one token after another."""
    preference, likelihood, chosen_tokens = 0.0, 0.0, 0
    for row in rows:
        ratios = []
        for side, other in (("chosen_ids", "rejected_ids"), ("rejected_ids", "chosen_ids")):
            policy = token_log_probabilities(trainer.model, row["prompt_ids"], row[side])
            with trainer.model.disable_adapter():
                reference = token_log_probabilities(trainer.model, row["prompt_ids"], row[side])
            weights = weights_by_hand(row[side], row[other], values.get("focus"))
            ratio = sum(w * (p - r) for w, p, r in zip(weights, policy, reference, strict=True))
            ratios.append(ratio / (sum(weights) or 1) if values.get("length_normalised") else ratio)
            if side == "chosen_ids":
                likelihood += row.get("weight", 1.0) * sum(policy)
                chosen_tokens += len(policy)
        margin = BETA * (ratios[0] - ratios[1])
        preference += row.get("weight", 1.0) * math.log1p(math.exp(-margin)) / len(rows)
    return preference - values.get("nll_weight", 1.0) * likelihood / chosen_tokens


def real_pairs(data_folder: Path) -> list[Pair]:
    """Return right against wrong answers of Qwen2.5-Coder-7B-Instruct to EvalPerf's tasks, the shortest first."""
    published = pytest.importorskip("bench.training").real_pairs
    return sorted(published(data_folder, 10**6), key=lambda pair: len(pair.prompt + pair.chosen))[:4]


FOCUS = FocusConfig(middle=2.0, shared=0.5)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("source", ["random", "real"])
@pytest.mark.parametrize(
    "values",
    [
        {"confidence_weighted": True},
        {"confidence_weighted": True, "nll_weight": 0.0},
        {"focus": FOCUS},
        {"focus": FocusConfig(shared=0.0), "nll_weight": 0.3},
        {"focus": FOCUS, "length_normalised": True, "confidence_weighted": True},
    ],
)
def test_weighted_pairs_and_tokens(
    values: dict[str, Any],
    source: str,
    plain: bool,
    base: Path,
    tmp_path: Path,
    tokenizer: Any,
    pairs: list[Pair],
    data_folder: Path,
) -> None:
    if source == "real":
        pairs = real_pairs(data_folder)
    chances = random.Random(4)
    pairs = [
        replace(pair, probability=-1.0 if index == 2 else chances.random())
        for index, pair in enumerate(pairs)
    ]
    options = {"plain": plain, "max_length": 4096}
    trainer = trainer_of("dpo", base, tmp_path, tokenizer, pairs, **options, **values)
    rows = [trainer.train_dataset[index] for index in range(4)]
    expected = weighted_loss(trainer, rows, values)
    assert loss_of(trainer, rows) == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)
    assert abs(expected - weighted_loss(trainer, [row | {"weight": 1.0} for row in rows], {})) > 1e-3


@pytest.mark.parametrize("plain", [False, True])
def test_an_answer_of_which_no_token_counts_has_no_reward(
    plain: bool, base: Path, tmp_path: Path, tokenizer: Any, pairs: list[Pair]
) -> None:
    """``return len(a)`` against ``return len(a) - 1``: all of the first is shared."""
    values = {"focus": FocusConfig(shared=0.0), "length_normalised": True}
    trainer = trainer_of("dpo", base, tmp_path, tokenizer, pairs[4:], plain=plain, **values)
    rows = [trainer.train_dataset[index] for index in range(4)]
    weights = [weights_by_hand(row["chosen_ids"], row["rejected_ids"], values["focus"]) for row in rows]
    assert 0 in map(sum, weights)
    assert loss_of(trainer, rows) == pytest.approx(
        weighted_loss(trainer, rows, values), rel=TOLERANCE, abs=TOLERANCE
    )
    trainer.compute_loss(trainer.model, trainer.data_collator(rows)).backward()
    gradients = [weight.grad for weight in trainer.model.parameters() if weight.grad is not None]
    assert gradients
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


def test_weights_of_one_are_the_plain_loss(
    base: Path, tmp_path: Path, tokenizer: Any, pairs: list[Pair]
) -> None:
    pairs = [replace(pair, probability=0.4) for pair in pairs]
    losses = []
    for number, values in enumerate(({}, {"confidence_weighted": True, "focus": FocusConfig(middle=1.0)})):
        trainer = trainer_of("dpo", base, tmp_path / str(number), tokenizer, pairs, **values)
        losses.append(loss_of(trainer, [trainer.train_dataset[index] for index in range(4)]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


def test_the_mean_weight_of_training_pairs_is_one(pairs: list[Pair]) -> None:
    chances = [0.2, 0.9, -1.0, 0.4, 0.0, 1.0, 0.5, -1.0]
    pairs = [replace(pair, probability=chance) for pair, chance in zip(pairs, chances, strict=True)]
    weights = data.pair_weights(pairs)
    assert sum(weights[:6]) / 6 == pytest.approx(1.0)
    assert weights[2] == weights[7] == 1.0
    assert weights[1] / weights[0] == pytest.approx(0.9 / 0.2)
    assert weights[6] / weights[0] == pytest.approx(0.5 / 0.2)


@pytest.mark.parametrize("chance", [-1.0, 0.0])
def test_weights_need_an_estimate(chance: float, pairs: list[Pair]) -> None:
    with pytest.raises(DataError, match="consensus"):
        data.pair_weights([replace(pair, probability=chance) for pair in pairs])


@given(st.lists(st.integers(0, 2), max_size=9), st.lists(st.integers(0, 2), max_size=9))
def test_what_differs_lies_between_what_is_shared(chosen: list[int], rejected: list[int]) -> None:
    first, second = differing_parts(chosen, rejected)
    assert first.start == second.start
    assert len(chosen) - first.stop == len(rejected) - second.stop
    assert chosen[: first.start] == rejected[: second.start]
    assert chosen[first.stop :] == rejected[second.stop :]
    if first and second:
        assert chosen[first[0]] != rejected[second[0]]
        assert chosen[first[-1]] != rejected[second[-1]]
    assert (not first and not second) == (chosen == rejected)


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
    assert loss_of(trainer, rows) == pytest.approx(sum(losses) / len(losses), rel=TOLERANCE, abs=TOLERANCE)


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
    assert loss_of(trainer, rows) == pytest.approx(-total / tokens, rel=TOLERANCE, abs=TOLERANCE)

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.conftest import save_model
from transformers import AutoModelForCausalLM
from trl.trainer.utils import add_fused_lm_head

from codedpo.core.config import FocusConfig, LoraConfig, TrainingConfig
from codedpo.core.records import Pair
from codedpo.training import data, fast_loss
from codedpo.training.trainers import Schedule, build_trainer, trainer_options, with_validation

FIELDS = ("log_probs", "entropy", "mean_logits", "is_top1", "label_mask")
LORA = LoraConfig(rank=4, alpha=8)
ARCHITECTURES = ("Qwen2", "Llama", "Starcoder2", "Phi")


@pytest.fixture(scope="module")
def bases(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        kind: save_model(kind, tokenizer, tmp_path_factory.mktemp(kind) / "tiny") for kind in ARCHITECTURES
    }


def batch() -> dict[str, torch.Tensor]:
    """Four padded rows: two that share a prompt and the start of their answers, two with other prompts."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 300, (4, 19), generator=generator)
    ids[1, :9] = ids[0, :9]
    lengths, prompts = torch.tensor([19, 14, 11, 6]), torch.tensor([7, 7, 4, 2])
    places = torch.arange(19)
    mask = places < lengths[:, None]
    labels = ids.masked_fill(~mask | (places < prompts[:, None]), -100)
    return {"input_ids": ids.masked_fill(~mask, 0), "attention_mask": mask.long(), "labels": labels}


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("frozen_head", [True, False])
@pytest.mark.parametrize(("chunk", "largest_tree"), [(3, 1024), (128, 1024), (128, 0)])
def test_values_and_gradients_equal_those_of_trl(
    kind: str,
    frozen_head: bool,
    chunk: int,
    largest_tree: int,
    bases: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fast_loss, "CHUNK", chunk)
    monkeypatch.setattr(fast_loss, "LARGEST_TREE", largest_tree)
    outputs, gradients = [], []
    for ours in (False, True):
        model = AutoModelForCausalLM.from_pretrained(bases[kind], attn_implementation="sdpa").eval()
        if frozen_head:
            model.get_output_embeddings().requires_grad_(False)
        add_fused_lm_head(model, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
        assert not ours or fast_loss.install(model)
        output = model(**batch(), fused_lm_head=True)
        weights = torch.linspace(-1, 2, output.log_probs.numel()).view_as(output.log_probs)
        (output.log_probs * weights).sum().backward()
        outputs.append(output)
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    for field in FIELDS:
        expected, found = getattr(outputs[0], field), getattr(outputs[1], field)
        torch.testing.assert_close(found.detach(), expected.detach(), rtol=1e-4, atol=1e-5)
    assert gradients[0].keys() == gradients[1].keys()
    for name, expected in gradients[0].items():
        torch.testing.assert_close(
            gradients[1][name], expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max())
        )


def test_values_without_gradient_are_the_same(base: Path) -> None:
    model = (
        AutoModelForCausalLM.from_pretrained(base, attn_implementation="sdpa").eval().requires_grad_(False)
    )
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
    expected = model(**batch(), fused_lm_head=True)
    logits = model(input_ids=batch()["input_ids"], attention_mask=batch()["attention_mask"]).logits
    fast_loss.install(model)
    found = model(**batch(), fused_lm_head=True)
    for field in FIELDS:
        torch.testing.assert_close(getattr(found, field), getattr(expected, field), rtol=1e-4, atol=1e-5)
    unfused = model(input_ids=batch()["input_ids"], attention_mask=batch()["attention_mask"]).logits
    torch.testing.assert_close(unfused, logits)


def test_only_rows_that_are_watched_are_remembered(base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base, attn_implementation="sdpa").eval()
    add_fused_lm_head(model)
    ids, mask = batch()["input_ids"], batch()["attention_mask"].bool()
    rows = [tuple(row[present].tolist()) for row, present in zip(ids, mask, strict=True)]
    watched: dict[tuple[int, ...], float | None] = {}
    fast_loss.install(model, watched)
    with torch.no_grad():
        model(**batch(), fused_lm_head=True)
        assert watched == {}
        watched |= {rows[2]: None, (1, 2, 3): None}
        output = model(**batch(), fused_lm_head=True)
    mean = output.log_probs[2].sum() / output.label_mask[2].sum()
    assert watched == {rows[2]: pytest.approx(float(mean)), (1, 2, 3): None}


def test_rows_longer_than_a_sliding_window_keep_the_forward_of_trl(base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base, attn_implementation="sdpa").eval()
    model.config.sliding_window = 8
    add_fused_lm_head(model)
    fast_loss.install(model)
    assert model(**batch(), fused_lm_head=True).entropy is None


def test_an_unknown_architecture_keeps_the_forward_of_trl(base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base, attn_implementation="sdpa")
    model.config.model_type = "unknown"
    assert not fast_loss.install(model)


@pytest.mark.parametrize(
    "values",
    [
        {"method": "dpo"},
        {"method": "kto"},
        {"method": "sft"},
        {"method": "dpo", "lora": None},
        {"method": "dpo", "confidence_weighted": True, "focus": FocusConfig(middle=2.0, shared=0.5)},
    ],
)
def test_the_loss_curve_equals_that_of_trl(
    values: dict[str, Any], base: Path, tmp_path: Path, tokenizer: Any, pairs: list[Pair]
) -> None:
    values = {"lora": LORA, "learning_rate": 5e-3, "epochs": 2.0, "batch_size": 2} | values
    config = TrainingConfig(**values, gradient_accumulation=1, evaluations=2)
    pairs = [replace(pair, probability=0.1 + 0.1 * index) for index, pair in enumerate(pairs)]
    rows = data.rows_of(pairs, config, 0)
    histories = []
    for plain in (True, False):
        schedule = Schedule.of(len(rows["train"]), 2, config)
        options = trainer_options(config, schedule, tmp_path / str(plain), seed=1, cpu=True, bfloat16=False)
        options = with_validation(options, schedule, resumed=False) | {
            "save_strategy": "no",
            "load_best_model_at_end": False,
        }
        model = AutoModelForCausalLM.from_pretrained(base, attn_implementation="sdpa")
        trainer = build_trainer(config, model, tokenizer, rows, options, plain=plain)
        trainer.train()
        histories.append(trainer.state.log_history)
    for expected, found in zip(*histories, strict=True):
        for key in expected.keys() - {"train_runtime", "eval_runtime"}:
            if "per_second" not in key and key.rpartition("/")[2] != "accuracies":  # ties at the start
                assert found[key] == pytest.approx(expected[key], rel=1e-4, abs=1e-4), key

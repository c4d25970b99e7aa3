from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from codedpo.training import fast_lora


def adapted(base: Path, dtype: torch.dtype = torch.float32, **options: Any) -> Any:
    torch.manual_seed(2)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    values = {"r": 4, "lora_alpha": 10, "target_modules": "all-linear", "init_lora_weights": False}
    return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **values | options))


def test_outputs_and_gradients_equal_those_of_peft(base: Path) -> None:
    ids = torch.arange(24).view(2, 12)
    results = []
    for ours in (False, True):
        model = adapted(base)
        assert not ours or fast_lora.install(model) == 7 * 3
        logits = model(input_ids=ids).logits
        (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward()
        with torch.no_grad(), model.disable_adapter():
            reference = model(input_ids=ids).logits
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        results.append((logits.detach(), reference, gradients))
    (logits, reference, gradients), (our_logits, our_reference, our_gradients) = results
    torch.testing.assert_close(our_logits, logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(our_reference, reference)
    assert float((logits - reference).abs().max()) > 0.1
    assert gradients.keys() == our_gradients.keys()
    for name, expected in gradients.items():
        tolerance = 1e-4 * float(expected.abs().max())
        torch.testing.assert_close(our_gradients[name], expected, rtol=1e-3, atol=tolerance)


def test_with_frozen_weights_in_bfloat16_it_is_no_further_from_the_truth_than_peft(base: Path) -> None:
    ids = torch.arange(24).view(2, 12)
    results = []
    for dtype, ours in ((torch.float32, False), (torch.bfloat16, False), (torch.bfloat16, True)):
        model = adapted(base, dtype)
        if dtype == torch.float32:  # The same weights, rounded, multiplied exactly.
            for weight in model.parameters():
                if not weight.requires_grad:
                    weight.data = weight.data.bfloat16().float()
        assert not ours or fast_lora.install(model) == 7 * 3
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            logits = model(input_ids=ids).logits.float()
            (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward()
        assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}
        gradients = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        results.append((logits.detach().flatten(), gradients))
    truth, peft, own = results
    for exact, theirs, mine in zip(truth, peft, own, strict=True):
        assert float((mine - exact).norm()) < 1.2 * float((theirs - exact).norm())
        assert float((mine - exact).norm()) < 0.1 * float(exact.norm())


@pytest.mark.parametrize("options", [{"lora_dropout": 0.1}, {"use_dora": True}])
def test_other_adapters_keep_the_forward_of_peft(options: dict[str, Any], base: Path) -> None:
    assert fast_lora.install(adapted(base, **options)) == 0


def test_merging_still_works(base: Path) -> None:
    model = adapted(base)
    fast_lora.install(model)
    ids = torch.arange(12).view(1, 12)
    expected = model(input_ids=ids).logits
    torch.testing.assert_close(model.merge_and_unload()(input_ids=ids).logits, expected, rtol=1e-3, atol=1e-3)

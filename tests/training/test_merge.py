import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from codedpo.training.merge import kept_share, save


@pytest.mark.parametrize(
    ("dtype", "size", "low", "high"),
    [
        (torch.float32, 1e-5, 0.99, 1.01),
        (torch.bfloat16, 1e-5, 0.0, 0.3),
        (torch.bfloat16, 1.0, 0.9, 1.1),
    ],
)
def test_small_updates_are_lost_in_bfloat16(
    dtype: torch.dtype, size: float, low: float, high: float, base: Path
) -> None:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    model = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn_like(weight) * size)
    assert low <= kept_share(model) <= high


@pytest.mark.parametrize(
    ("name", "expected"), [("owner/model@v2", ("owner/model", "v2")), ("owner/model", ("owner/model", None))]
)
def test_an_adapter_names_its_base_as_other_machines_know_it(
    name: str, expected: tuple[str, str | None], base: Path, tmp_path: Path
) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    model = get_peft_model(model, LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM"))
    save(model, AutoTokenizer.from_pretrained(base), tmp_path, "card", name)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == expected


def test_an_adapter_that_does_nothing_loses_nothing(base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base)
    assert (
        kept_share(get_peft_model(model, LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM")))
        == 1.0
    )

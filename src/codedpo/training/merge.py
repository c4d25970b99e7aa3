"""Adapter into weights, and both to disk."""

import shutil
from pathlib import Path
from typing import Any

from codedpo.core.hub import model_id

LEAST_KEPT = 0.9
"""Share of an adapter's update that rounding to the precision of the base weights has to keep."""


def kept_share(model: Any) -> float:
    """Return how much of an adapter's update is left once merged weights are rounded to their precision.

    Weights read from bfloat16 lie on its grid, so an update smaller than half a step there (0.2% of the weight)
    is lost whole. The share is ``sum(kept * update) / sum(update ** 2)``: 1 keeps all, 0 gives the old weights back.
    """
    import torch
    from peft.tuners.lora import LoraLayer

    kept = total = 0.0
    with torch.no_grad():
        for layer in (module for module in model.modules() if isinstance(module, LoraLayer)):
            weight = layer.get_base_layer().weight
            for name in layer.active_adapters:
                update = layer.get_delta_weight(name).float()
                change = (weight.float() + update).to(weight.dtype).float() - weight.float()
                kept += float((change * update).sum())
                total += float((update * update).sum())
    return kept / total if total else 1.0


def on_full_weights(model: Any, base: str, dtype: Any) -> Any:
    """Return the adapter of a model that was trained on 4-bit weights, on the weights as they were before.

    Merging into 4-bit weights would round most of the update away and keep what quantisation lost.
    """
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
    from transformers import AutoModelForCausalLM

    (name,) = model.active_adapters
    full = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=dtype), model.peft_config[name])
    state = {key: value.cpu() for key, value in get_peft_model_state_dict(model).items()}
    set_peft_model_state_dict(full, state)
    return full


def save(model: Any, tokenizer: Any, output: Path, card: str, base_name: str) -> None:
    """Write ``adapter`` (where there is one) and ``model``: merged weights with tokenizer and card.

    The folder ``model`` appears whole or not at all. Weights keep the precision that they have in ``model``. The
    adapter names its base by its hub id where it has one, since the folder it was loaded from is of this machine.
    """
    if hasattr(model, "merge_and_unload"):
        if found := model_id(base_name):
            for config in model.peft_config.values():
                config.base_model_name_or_path, config.revision = found[0], found[1] or None
        # "auto" would ask the hub whether the vocabulary has grown, which it never does here.
        model.save_pretrained(output / "adapter", save_embedding_layers=False)
        model = model.merge_and_unload()
    partial = output / "model.partial"
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    (partial / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(output / "model", ignore_errors=True)
    partial.rename(output / "model")

"""Tokenizer and weights as training needs them: template, precision, storage."""

from collections.abc import Callable, Sequence
from typing import Any

from codedpo.core.config import TrainingConfig
from codedpo.core.errors import DataError
from codedpo.core.processor import this_processor
from codedpo.training import processes


def load_tokenizer(folder: str, template: str) -> Any:
    """Load a tokenizer and give it the template (Jinja source), which is saved with the trained weights.

    Raises:
        DataError: there is no end token, so the model would never learn to stop.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.eos_token is None:
        raise DataError(f"the tokenizer of {folder} has no end token; name one in its tokenizer_config.json.")
    tokenizer.chat_template = template
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
    """Whether matrix products in bfloat16 are faster than in float32 on this device."""
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return this_processor().multiplies_bfloat16


def load_model(folder: str, config: TrainingConfig, device: str) -> tuple[Any, Any, bool]:
    """Load weights in the precision and storage that the config asks for.

    Returns:
        The model, the precision of its weights (a torch type), and whether products are computed in bfloat16.
    """
    import torch
    from transformers import AutoModelForCausalLM

    bfloat16 = config.dtype == "bfloat16" or (config.dtype == "auto" and multiplies_bfloat16(device))
    # Frozen weights may be stored in bfloat16; weights that are trained need float32 for small updates.
    dtype = torch.bfloat16 if bfloat16 and config.lora else torch.float32
    storage = _four_bits(dtype, device) if config.four_bit else {}
    # On an H100 or H200 cuDNN's attention gives NaN gradients where there is a mask, a length is 64 above a multiple of
    # 128 and a query's scores are all below -88, as some of Qwen2.5's are (pytorch issue 196678).
    torch.backends.cuda.enable_cudnn_sdp(False)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa", **storage)
    return model, dtype, bfloat16


def _four_bits(dtype: Any, device: str) -> dict[str, Any]:
    """Return how transformers holds frozen weights in 4 bits (NF4; QLoRA, arXiv 2305.14314)."""
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": config, "device_map": {"": "cpu" if device == "cpu" else processes.gpu()}}

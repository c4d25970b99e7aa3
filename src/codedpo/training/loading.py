"""Tokenizer and weights as training needs them: template, precision, storage."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from codedpo.core.config import LoraConfig, TrainingConfig
from codedpo.core.errors import DataError
from codedpo.core.processor import this_processor
from codedpo.llm.gguf_header import read_header
from codedpo.llm.weights import ResolvedModel
from codedpo.training import fast_loss, processes, trainers

ATTENTION = "sdpa"
"""Which of transformers' kernels compute attention."""


def check_architecture(model: ResolvedModel, lora: LoraConfig | None) -> None:
    """See, without reading weights, that a model can be loaded for training and adapters have a place in it.

    Raises:
        ConfigError: adapters have no place, or there are fewer layers than are to have them.
        DataError: the weights are quantised, transformers cannot load a model of this kind for training, or the config
            is torn.
    """
    if model.folder:
        file = model.folder / "config.json"
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{file} is not JSON ({error}); fetch it again.") from error
        kind, layers = config.get("model_type"), config.get("num_hidden_layers")
        if quantised := config.get("quantization_config"):
            raise DataError(
                f"the weights of {model.name} are quantised ({quantised.get('quant_method', 'unknown method')}), which "
                "cannot be trained; name the weights that they were made from in training.model."
            )
    else:
        assert model.gguf
        header = read_header(model.gguf)
        kind = header.get("general.architecture")
        layers = header.get(f"{kind}.block_count")
    if kind not in fast_loss.ARCHITECTURES or not layers:
        network = _without_weights(model)
        if lora:
            trainers.adapters(lora, network)
    elif lora:  # the usual kinds have a place for adapters, and torch takes seconds and 300 MB to say so
        trainers.lora_options(lora, layers, ())


def _without_weights(model: ResolvedModel) -> Any:
    """Build a model as training loads it, but for the values of its weights.

    Raises:
        DataError: transformers cannot.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        if model.gguf:
            config = AutoConfig.from_pretrained(str(model.gguf.parent), gguf_file=model.gguf.name)
        else:
            config = AutoConfig.from_pretrained(str(model.folder), trust_remote_code=False)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(
                config, attn_implementation=ATTENTION, trust_remote_code=False
            )
    except Exception as error:  # a config that is not what its class expects can fail in any way
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise DataError(
            f"{model.name} cannot be trained, as transformers cannot load it so ({reason}); name other weights in "
            "training.model, or stop before training with --until pairs."
        ) from error


def load_tokenizer(folder: str, template: str) -> Any:
    """Load a tokenizer and give it the template (Jinja source), which is saved with the trained weights.

    Raises:
        DataError: there is no tokenizer, or no end token, so that the model would never learn to stop.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise DataError(
            f"{folder} has no tokenizer that can be loaded ({reason}); add that of the weights."
        ) from error
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
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation=ATTENTION, **storage
    )
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

"""What a GGUF file says beside its weights: the architecture's numbers and the tokenizer."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codedpo.core.errors import DataError

Config = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Architecture:
    """How one Hugging Face ``model_type`` is written as GGUF."""

    name: str
    """GGUF's name of the architecture."""
    numbers: Callable[[Any, Config], None]
    """Adds the architecture's numbers to a ``gguf.GGUFWriter``."""
    interleaved_rotary: bool = False
    """GGUF's llama stores query and key rows in the order of the original release, not of Hugging Face."""
    engine: bool = False
    """Whether the local engine (OpenVINO 2026.4) reads it; llama.cpp reads them all."""


def _common_numbers(writer: Any, config: Config) -> None:
    """Add what every decoder has."""
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config.get("num_key_value_heads") or config["num_attention_heads"])
    writer.add_vocab_size(config["vocab_size"])


def _rope(config: Config) -> dict[str, Any]:
    """Return type, base frequency, factor and share of rotary positions, in either layout of ``config.json``."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return {
        "kind": rope.get("rope_type", rope.get("type", "default")),
        "theta": rope.get("rope_theta") or config.get("rope_theta") or 10000.0,
        "factor": rope.get("factor", 1.0),
        "share": rope.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0,
    }


def _add_rope(writer: Any, config: Config) -> None:
    """Add base frequency and, as DeepSeek-Coder has it, the factor that stretches positions."""
    import gguf

    rope = _rope(config)
    if rope["kind"] not in ("default", "linear"):
        raise DataError(f"rotary positions of type {rope['kind']!r} are not exported to GGUF: {ELSEWHERE}")
    writer.add_rope_freq_base(rope["theta"])
    if rope["kind"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])


def _llama_numbers(writer: Any, config: Config) -> None:
    """Add the numbers of Llama and Qwen2, which differ in weights only."""
    _common_numbers(writer, config)
    _add_rope(writer, config)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer.add_rope_dimension_count(head)
    writer.add_key_length(head)
    writer.add_value_length(head)


def _starcoder2_numbers(writer: Any, config: Config) -> None:
    """Add the numbers of StarCoder2."""
    _common_numbers(writer, config)
    _add_rope(writer, config)
    writer.add_layer_norm_eps(config["norm_epsilon"])


def _phi_numbers(writer: Any, config: Config) -> None:
    """Add the numbers of Phi, which turns a part of each head."""
    if config.get("qk_layernorm"):
        raise DataError(f"Phi models with qk_layernorm are not exported to GGUF: {ELSEWHERE}")
    _common_numbers(writer, config)
    _add_rope(writer, config)
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    head = config["hidden_size"] // config["num_attention_heads"]
    writer.add_rope_dimension_count(int(_rope(config)["share"] * head))


ELSEWHERE = "set evaluation.engine and model.kind to transformers for this model"
ARCHITECTURES: dict[str, Architecture] = {
    "qwen2": Architecture("qwen2", _llama_numbers, engine=True),
    "llama": Architecture("llama", _llama_numbers, interleaved_rotary=True, engine=True),
    "starcoder2": Architecture("starcoder2", _starcoder2_numbers),
    "phi": Architecture("phi2", _phi_numbers),
}
"""Keyed by ``model_type`` of ``config.json``."""


def architecture_of(config: Config) -> Architecture:
    """Return the entry of a model's architecture.

    Raises:
        DataError: it is not one that is exported.
    """
    kind = config.get("model_type", "?")
    if kind not in ARCHITECTURES:
        raise DataError(
            f"models of type {kind} are not exported to GGUF (there are {', '.join(ARCHITECTURES)}): {ELSEWHERE}"
        )
    return ARCHITECTURES[kind]


def check_written(name: str) -> None:
    """Make sure that an architecture, by its name in GGUF, is one that is exported.

    Raises:
        DataError: it is not.
    """
    written = [entry.name for entry in ARCHITECTURES.values()]
    if name not in written:
        raise DataError(
            f"models of type {name} are not exported to GGUF (there are {', '.join(written)}): "
            "set training.gguf to false"
        )


def check_engine_reads(name: str) -> None:
    """Make sure that the local engine reads an architecture, by its name in GGUF.

    Raises:
        DataError: it does not.
    """
    read = [entry.name for entry in ARCHITECTURES.values() if entry.engine]
    if name not in read:
        raise DataError(
            f"the local engine does not read models of type {name} (it reads {', '.join(read)}): {ELSEWHERE}"
        )


def check_engine_reads_config(config: Config) -> None:
    """Make sure that the local engine reads a model of this ``config.json``.

    Raises:
        DataError: it does not read the architecture, or not this kind of rotary positions.
    """
    check_engine_reads(architecture_of(config).name)
    kind = _rope(config)["kind"]
    if kind != "default":
        raise DataError(f"the local engine does not read rotary positions of type {kind!r}: {ELSEWHERE}")


def add_metadata(writer: Any, folder: Path, config: Config) -> None:
    """Add the numbers, the tokenizer and the chat template of a Hugging Face folder to a GGUF writer.

    Raises:
        DataError: the tokenizer is not a byte-level BPE of a known kind.
    """
    import gguf

    writer.add_type("model")
    writer.add_name(folder.name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    architecture_of(config).numbers(writer, config)
    _add_tokenizer(writer, folder, config["vocab_size"])


def _add_tokenizer(writer: Any, folder: Path, vocabulary: int) -> None:
    """Add a byte-level BPE tokenizer; ids that no token has get a placeholder, as the weights have rows for them."""
    import gguf

    file = folder / "tokenizer.json"
    if not file.is_file():
        raise DataError(f"{folder} has no tokenizer.json: save the model with a fast tokenizer")
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    if tokenizer["model"].get("type") != "BPE" or tokenizer["model"].get("byte_fallback"):
        raise DataError(f"{file} is no byte-level BPE tokenizer, which alone is exported: {ELSEWHERE}")
    tokens = [f"[PAD{position}]" for position in range(vocabulary)]
    types = [gguf.TokenType.UNUSED] * vocabulary
    for token, position in tokenizer["model"]["vocab"].items():
        tokens[position], types[position] = token, gguf.TokenType.NORMAL
    for added in tokenizer.get("added_tokens", []):
        tokens[added["id"]] = added["content"]
        types[added["id"]] = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(tokenizer, file))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    special = gguf.SpecialVocab(folder, load_merges=True, n_vocab=vocabulary)
    special.add_special_token.setdefault("bos", False)
    special.add_to_gguf(writer, quiet=True)


DEEPSEEK_CODER = ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+"]
"""How DeepSeek-Coder's tokenizer cuts text, beside single digits."""


def _pre_tokenizer(tokenizer: dict[str, Any], file: Path) -> str:
    """Name, in GGUF's words, how text is cut before BPE: by digits and by the splitting expression."""
    pre = tokenizer.get("pre_tokenizer") or {}
    steps = pre.get("pretokenizers", [pre])
    splits = [step["pattern"].get("Regex", "") for step in steps if step.get("type") == "Split"]
    expression = splits[0] if splits else ""
    digits = next((step["individual_digits"] for step in steps if step.get("type") == "Digits"), None)
    if not any(step.get("type") == "ByteLevel" for step in steps):
        raise DataError(f"{file} does not cut text into bytes, which alone is exported: {ELSEWHERE}")
    if splits == DEEPSEEK_CODER and digits:
        return "deepseek-coder"
    if r"\p{N}{1,3}" in expression:
        return "llama-bpe"
    if re.search(r"\|\\p\{N\}\|", expression):
        return "qwen2"
    if expression:
        raise DataError(f"{file} cuts text in a way that GGUF has no name for here: {ELSEWHERE}")
    return "smollm" if digits else "gpt-2"

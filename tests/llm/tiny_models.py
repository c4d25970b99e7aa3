"""Models of real architectures with random weights and a tokenizer trained on the spot: a few hundred kB."""

from pathlib import Path
from typing import Any

TEXT = [
    "def add(first, second):\n    return first + second\n",
    "for number in range(10):\n    print(number, end=', ')\n",
    "class Point:\n    '''A point in the plane: 3.14, 42, é.'''\n\n    x: float = 0.0\n",
]
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


TIED = {"qwen2": True, "llama": False, "starcoder2": True, "phi": False}
"""Whether input and output embeddings of the kind are one matrix here."""


def save_tokenizer(folder: Path, pre_tokenizers: list[Any]) -> Any:
    """Train a byte-level BPE tokenizer with ChatML tokens and save it."""
    from tokenizers import Tokenizer, decoders, models, trainers
    from tokenizers import pre_tokenizers as pre
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre.Sequence(pre_tokenizers)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|endoftext|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return fast


def save_tiny(kind: str, folder: Path) -> Path:
    """Save a random model of ``model_type`` ``kind`` (a key of ``TIED``) as a Hugging Face folder."""
    import torch
    import transformers
    from tokenizers import Regex
    from tokenizers import pre_tokenizers as pre

    torch.manual_seed(1)
    sizes: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 352,
        "max_position_embeddings": 256,
        "initializer_range": 0.3,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    byte_level = pre.ByteLevel(add_prefix_space=False, use_regex=kind != "qwen2")
    if kind == "qwen2":
        split = pre.Split(Regex(QWEN2_SPLIT), behavior="isolated")
        save_tokenizer(folder, [split, byte_level])
    elif kind == "phi":
        save_tokenizer(folder, [byte_level])
    else:
        save_tokenizer(folder, [pre.Digits(individual_digits=True), byte_level])
    config = getattr(transformers, f"{kind.capitalize()}Config")
    model: Any = getattr(transformers, f"{kind.capitalize()}ForCausalLM")(
        config(tie_word_embeddings=TIED[kind], **sizes)
    )
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():
        # Rows that no token has, as in real models, whose matrices are larger than their vocabulary.
        model.get_output_embeddings().weight[320:] = 0
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder

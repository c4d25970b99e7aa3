"""A tiny model of random weights with a real tokenizer, and pairs for it."""

import os
from pathlib import Path
from typing import Any

import pytest

from codedpo.core.records import Pair

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # barriers between threads cost more than these models do

pytest.importorskip("trl", reason="needs the extra `train`")

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TASKS = (
    ("Write a function that adds two numbers.", "return a + b", "return a - b"),
    ("Write a function that returns the larger number.", "return max(a, b)", "return min(a, b)"),
    ("Write a function that multiplies.", "return a * b", "return a ** b"),
    ("Write a function that joins two strings.", "return a + b", "return b + a"),
    (
        "Write a function that sums a list.",
        "return sum(a)",
        "total = 0\n    for x in a:\n        total = x\n    return total",
    ),
    ("Write a function that counts items.", "return len(a)", "return len(a) - 1"),
    ("Write a function that sorts.", "return sorted(a)", "return a"),
    ("Write a function that reverses.", "return a[::-1]", "return a[:-1]"),
)


IGNORED = (
    "ignore:.*is_gradient_checkpointing.*:FutureWarning",  # peft 0.21 asks transformers 5.23 by the old name
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for text in IGNORED:
                item.add_marker(pytest.mark.filterwarnings(text))


def make_pair(index: int, split: str = "train", kind: str = "correctness") -> Pair:
    prompt, right, wrong = TASKS[index % len(TASKS)]
    chosen, rejected = (f"```python\ndef f{index}(a, b=0):\n    {body}\n```" for body in (right, wrong))
    return Pair(
        f"t{index:06d}/{kind}/0", f"t{index:06d}", kind, prompt, chosen, rejected,
        f"t{index:06d}/s00", f"t{index:06d}/s01", 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, split,
    )  # fmt: skip


@pytest.fixture
def pairs() -> list[Pair]:
    return [make_pair(index, "validation" if index >= 6 else "train") for index in range(8)]


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([text for task in TASKS for text in task], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHATML
    )


def tiny_config(kind: str, vocabulary: int, **changes: Any) -> Any:
    """Return the config of a tiny model of an architecture; ``changes`` are numbers of its config."""
    import transformers

    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": kind == "Starcoder2",
    }
    if kind == "Phi":
        sizes["resid_pdrop"] = 0.0
    return getattr(transformers, f"{kind}Config")(**sizes | changes)


def save_model(kind: str, tokenizer: Any, folder: Path, **changes: Any) -> Path:
    """Write a tiny random model with its tokenizer as a Hugging Face folder."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(7)
    config = tiny_config(kind, len(tokenizer), **changes)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)  # far from uniform predictions, so that errors cannot hide
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def base(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model("Qwen2", tokenizer, tmp_path_factory.mktemp("base") / "tiny")

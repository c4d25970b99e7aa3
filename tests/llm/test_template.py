"""The text that a model reads is the one that transformers would show it."""

from pathlib import Path

import pytest
from tests.llm.tiny_models import save_tiny

from codedpo.core.errors import DataError
from codedpo.llm.base import Message
from codedpo.llm.template import PLAIN, ChatTemplate, template_of
from codedpo.llm.weights import from_folder

MESSAGES = (Message("system", "Be brief."), Message("user", "é\n\n  def f():"), Message("assistant", "pass"))


def test_agrees_with_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = save_tiny("qwen2", tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    template = template_of(from_folder(folder, "tiny", ""))
    turns = [{"role": message.role, "content": message.content} for message in MESSAGES]
    for generate in (False, True):
        assert template.render(MESSAGES, generate=generate) == tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=generate
        )


def test_base_models_continue_the_text() -> None:
    assert ChatTemplate(PLAIN).render(MESSAGES[1:2]) == "é\n\n  def f():"


def test_refusal_of_a_template_is_a_sentence() -> None:
    template = ChatTemplate("{{ raise_exception('no system turn') }}")
    with pytest.raises(DataError, match="no system turn"):
        template.render(MESSAGES)


def test_templates_cannot_reach_python() -> None:
    template = ChatTemplate("{{ messages.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(DataError, match="refuses the messages"):
        template.render(MESSAGES)


def test_end_of_text_tokens_are_known_to_the_template(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    template = template_of(from_folder(save_tiny("llama", tmp_path), "tiny", ""))
    assert (template.bos, template.eos) == ("<|endoftext|>", "<|im_end|>")

"""The text that a model reads is the one that transformers would show it."""

import json
from pathlib import Path

import pytest
from tests.llm.tiny_models import save_tiny

from codedpo.core.errors import ConfigError, DataError
from codedpo.llm.base import Message
from codedpo.llm.gguf_export import export_folder
from codedpo.llm.template import PLAIN, ChatTemplate, template_of
from codedpo.llm.weights import from_folder, resolve

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


TURNS = (Message("user", "do"), Message("assistant", "done"))


def test_base_models_continue_the_text() -> None:
    plain = ChatTemplate(PLAIN, eos="<end>")
    assert plain.render(MESSAGES[1:2]) == "é\n\n  def f():\n"
    assert plain.render(TURNS, generate=False) == "do\ndone<end>"
    assert plain.render((*TURNS, *TURNS[:1])) == "do\ndone\n\ndo\n"


@pytest.mark.parametrize("kind", ["qwen2", "llama"])
def test_an_answer_leaves_the_tokens_of_a_plain_prompt_as_they_were(kind: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(save_tiny(kind, tmp_path))
    cut = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str
    prompt = ChatTemplate(PLAIN).render((Message("user", "and the imports that it needs."),))
    for answer in ("```python\ndef f():", "def f():", "Sure:"):
        assert cut(prompt + answer)[: len(cut(prompt))] == cut(prompt)
    assert cut("it needs.```python")[: len(cut("it needs."))] != cut("it needs.")


@pytest.mark.parametrize("where", ["add_bos_token", "post_processor"])
def test_plain_texts_begin_with_the_token_that_the_tokenizer_puts_there(where: str, tmp_path: Path) -> None:
    folder = save_tiny("llama", tmp_path)
    (folder / "chat_template.jinja").unlink()
    model = from_folder(folder, "tiny", "")
    assert template_of(model).render(TURNS[:1]) == "do\n"
    file = folder / ("tokenizer_config.json" if where == "add_bos_token" else "tokenizer.json")
    values = json.loads(file.read_text())
    begin = [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    post = {"type": "Sequence", "processors": [{"type": "TemplateProcessing", "single": begin}]}
    values[where] = True if where == "add_bos_token" else post
    file.write_text(json.dumps(values))
    assert template_of(model).render(TURNS[:1]) == "<|endoftext|>do\n"


OWN = "{{ bos_token }}{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}<answer>"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("auto", "<|im_start|>user\ndo<|im_end|>\n<|im_start|>assistant\n"),
        ("plain", "do\n"),
        ("own.jinja", "<|endoftext|><user>do<answer>"),
    ],
)
def test_the_setting_chooses_the_template(
    setting: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gguf")
    folder = save_tiny("qwen2", tmp_path / "tiny")
    export_folder(folder, tmp_path / "tiny.gguf")
    (tmp_path / "own.jinja").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    for model in (from_folder(folder, "tiny", ""), resolve(str(tmp_path / "tiny.gguf"))):
        assert template_of(model, setting).render(TURNS[:1]) == expected


def test_the_prompt_of_the_magicoders() -> None:
    file = Path(__file__).resolve().parents[2] / "configs" / "templates" / "magicoder.jinja"
    template = ChatTemplate(file.read_text(), bos="<s>", eos="</s>")
    prompt = (
        "<s>You are an exceptionally intelligent coding assistant that consistently delivers accurate and reliable "
        "responses to user instructions.\n\n@@ Instruction\ndo\n\n@@ Response\n"
    )
    assert template.render(TURNS[:1]) == prompt
    assert template.render(TURNS, generate=False) == prompt + "done</s>"
    again = template.render((*TURNS, *TURNS[:1]))
    assert again == prompt + "done</s>\n\n@@ Instruction\ndo\n\n@@ Response\n"


@pytest.mark.parametrize("text", [None, "{% for %}"])
def test_a_file_that_is_no_template_is_named(text: str | None, tmp_path: Path) -> None:
    model = from_folder(save_tiny("qwen2", tmp_path / "tiny"), "tiny", "")
    if text is not None:
        (tmp_path / "own.jinja").write_text(text)
    with pytest.raises(ConfigError, match=r"model\.template .*own\.jinja cannot be used .*auto, plain"):
        template_of(model, str(tmp_path / "own.jinja"))


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

"""Messages to the text that a model reads, by the model's own chat template.

Generation, training and evaluation must show a model the same text, so all take it from here.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from codedpo.core.errors import DataError
from codedpo.llm.base import Message
from codedpo.llm.gguf_header import read_header
from codedpo.llm.weights import ResolvedModel

PLAIN = "{% for message in messages %}{{ message.content }}{% endfor %}"
"""For base models, which have no template: the contents alone, so that the model continues the last one."""

END_TOKENS = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|EOT|>",
    "<｜end▁of▁sentence｜>",
    "</s>",
)
"""Tokens that end a turn or a document in the model families that are used, where a vocabulary has them."""


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A Jinja template and the special tokens that it may name."""

    source: str
    bos: str = ""
    eos: str = ""

    def render(self, messages: Sequence[Message], *, generate: bool = True) -> str:
        """Return the text of a conversation.

        Args:
            messages: The turns, oldest first.
            generate: End with the opening of the assistant's turn, for the model to go on. Without it the
                conversation is rendered as it stands, answer included.

        Raises:
            DataError: the template refuses the messages (some allow no system turn, for example).
        """
        import jinja2

        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            text: str = _compiled(self.source).render(
                messages=turns, add_generation_prompt=generate, bos_token=self.bos, eos_token=self.eos
            )
        except jinja2.TemplateError as error:
            raise DataError(f"the model's chat template refuses the messages ({error})") from error
        return text


def template_of(model: ResolvedModel) -> ChatTemplate:
    """Read the chat template that comes with a model; ``PLAIN`` where it has none.

    Raises:
        DataError: the GGUF file is damaged.
    """
    if model.folder:
        return _of_folder(model.folder)
    assert model.gguf
    return _of_gguf(model.gguf)


def _of_folder(folder: Path) -> ChatTemplate:
    """Read ``chat_template.jinja`` or, in older folders, the entry of ``tokenizer_config.json``."""
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    source = config.get("chat_template") or PLAIN
    if isinstance(source, list):
        source = next((item["template"] for item in source if item["name"] == "default"), PLAIN)
    separate = folder / "chat_template.jinja"
    if separate.is_file():
        source = separate.read_text(encoding="utf-8")

    def token(name: str) -> str:
        entry = config.get(name) or ""
        return str(entry["content"] if isinstance(entry, dict) else entry)

    return ChatTemplate(source, token("bos_token"), token("eos_token"))


def _of_gguf(file: Path) -> ChatTemplate:
    """Read the template from the metadata of a GGUF file."""
    header = read_header(file)
    tokens = header.get("tokenizer.ggml.tokens", [])

    def token(name: str) -> str:
        number = header.get(f"tokenizer.ggml.{name}_token_id")
        return "" if number is None else str(tokens[number])

    return ChatTemplate(header.get("tokenizer.chat_template", PLAIN), token("bos"), token("eos"))


@lru_cache(maxsize=16)
def _compiled(source: str) -> Any:
    """Compile a template as ``transformers`` does: sandboxed, without the line breaks of its own statements."""
    import jinja2.ext
    import jinja2.sandbox

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(source)


def _refuse(message: str) -> NoReturn:
    """Let a template reject messages that its model was not trained on."""
    import jinja2

    raise jinja2.TemplateError(message)

"""Messages to the text that a model reads: its own chat template, a plain one, or one that the config names.

Generation, training and evaluation must show a model the same text, so all take it from ``template_of``.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from codedpo.core.errors import ConfigError, DataError
from codedpo.llm.base import Message
from codedpo.llm.gguf_header import read_header
from codedpo.llm.weights import ResolvedModel

PLAIN = (
    "{% for message in messages %}{{ message.content }}"
    "{% if message.role != 'assistant' %}{{ '\\n' }}"
    "{% elif loop.last %}{{ eos_token }}{% else %}{{ '\\n\\n' }}{% endif %}{% endfor %}"
)
"""For base models, which have no template: the contents, and the end token after a last answer, so that training
teaches where to stop. The line break keeps a prompt's last token apart from the first one of an answer."""
BEGIN = "{{ bos_token }}"
"""Comes before ``PLAIN`` where the tokenizer begins every text with that token (Llama, DeepSeek)."""

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


def template_of(model: ResolvedModel, setting: str = "auto") -> ChatTemplate:
    """Return the template that a model's messages go through.

    Args:
        model: The weights; special tokens come from their tokenizer whatever the setting is.
        setting: ``model.template``: ``auto`` (the template that comes with the weights, ``plain`` where none does),
            ``plain``, or the path of a Jinja file.

    Raises:
        ConfigError: the file cannot be read or is no template.
        DataError: the GGUF file is damaged.
    """
    if model.folder:
        found, begins = _of_folder(model.folder)
    else:
        assert model.gguf
        found, begins = _of_gguf(model.gguf)
    if setting == "auto" and found.source:
        return found
    if setting in ("auto", "plain"):
        return replace(found, source=(BEGIN if begins else "") + PLAIN)
    return replace(found, source=_of_file(Path(setting).expanduser()))


def _of_file(path: Path) -> str:
    """Read a template that somebody wrote, and make sure that it is one."""
    import jinja2

    try:
        source = path.read_text(encoding="utf-8")
        _compiled(source)
    except (OSError, UnicodeDecodeError, jinja2.TemplateError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"model.template {path} cannot be used ({reason}); give auto, plain or the path of a Jinja file."
        ) from error
    return source


def _of_folder(folder: Path) -> tuple[ChatTemplate, bool]:
    """Read ``chat_template.jinja`` or, in older folders, the entry of ``tokenizer_config.json``.

    Returns:
        The template, whose source is empty where there is none, and whether the tokenizer begins texts with ``bos``.
    """
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    source = config.get("chat_template") or ""
    if isinstance(source, list):
        source = next((item["template"] for item in source if item["name"] == "default"), "")
    separate = folder / "chat_template.jinja"
    if separate.is_file():
        source = separate.read_text(encoding="utf-8")

    def token(name: str) -> str:
        entry = config.get(name) or ""
        return str(entry["content"] if isinstance(entry, dict) else entry)

    begins = config.get("add_bos_token")
    if begins is None:
        begins = _begins_with(token("bos_token"), folder / "tokenizer.json")
    return ChatTemplate(source, token("bos_token"), token("eos_token")), bool(begins)


def _begins_with(token: str, file: Path) -> bool:
    """Whether a fast tokenizer puts a token before every text."""
    if not token or not file.is_file():
        return False
    last = json.loads(file.read_text(encoding="utf-8")).get("post_processor") or {}
    parts = [part.get("single") or [{}] for part in last.get("processors", [last])]
    return any(part[0].get("SpecialToken", {}).get("id") == token for part in parts)


def _of_gguf(file: Path) -> tuple[ChatTemplate, bool]:
    """Read the same from the metadata of a GGUF file."""
    header = read_header(file)
    tokens = header.get("tokenizer.ggml.tokens", [])

    def token(name: str) -> str:
        number = header.get(f"tokenizer.ggml.{name}_token_id")
        return "" if number is None else str(tokens[number])

    begins = bool(header.get("tokenizer.ggml.add_bos_token"))
    return ChatTemplate(header.get("tokenizer.chat_template", ""), token("bos"), token("eos")), begins


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

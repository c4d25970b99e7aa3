"""What stages share when they ask a model: prompt files filled in, requests, and the rows that keep replies."""

import json
from dataclasses import asdict
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from codedpo.core.config import SamplingConfig
from codedpo.core.records import Text, TextKind
from codedpo.llm.base import Message, Reply, Request, Sampling

if TYPE_CHECKING:
    from jinja2 import Template


@cache
def _template(package: str, name: str) -> "Template":
    from jinja2 import Environment, StrictUndefined

    text = (resources.files(package) / "prompts" / name).read_text("utf-8")
    return Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(text)


def render(package: str, name: str, **values: Any) -> str:
    """Fill in ``prompts/NAME`` of a package (jinja2); a value that the file names and nobody gives is an error."""
    return _template(package, name).render(**values).strip()


def as_user(text: str) -> tuple[Message, ...]:
    """Make a conversation of one user message: the only form that a preference pair can carry."""
    return (Message("user", text),)


def sampling_of(section: SamplingConfig, stop: tuple[str, ...] = ()) -> Sampling:
    """Turn a config section into a request's sampling."""
    return Sampling(section.temperature, section.top_p, section.max_tokens, stop)


def text_row(request: Request, reply: Reply, kind: TextKind, parent_id: str) -> Text:
    """Keep a reply as it came, with the exact messages that it answers."""
    return Text(
        text_id=f"{reply.request_id}-{reply.position:02d}",
        kind=kind.value,
        parent_id=parent_id,
        position=reply.position,
        prompt=json.dumps([asdict(message) for message in request.messages], ensure_ascii=False),
        text=reply.text,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
    )

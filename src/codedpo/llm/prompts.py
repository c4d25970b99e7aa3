"""What stages share when they ask a model: prompt files filled in, requests, and the rows that keep replies."""

import json
import re
import sys
from dataclasses import asdict
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, cast

from codedpo.core.config import SamplingConfig
from codedpo.core.records import Text, TextKind
from codedpo.llm.base import Message, Reply, Request, Role, Sampling

if TYPE_CHECKING:
    from jinja2 import Template


@cache
def _sections(package: str, name: str) -> tuple[tuple[Role, "Template"], ...]:
    """Read a prompt file: turns that begin with a line ``[user]`` or ``[assistant]``; without one it is all user."""
    from jinja2 import Environment, StrictUndefined

    text = (resources.files(package) / "prompts" / name).read_text("utf-8")
    pieces = re.split(r"^\[(system|user|assistant)\]\n", text, flags=re.MULTILINE)
    turns = list(zip(pieces[1::2], pieces[2::2], strict=True)) or [("user", text)]
    environment = Environment(undefined=StrictUndefined)
    return tuple((cast("Role", role), environment.from_string(part.strip())) for role, part in turns)


def conversation(package: str, name: str, **values: Any) -> tuple[Message, ...]:
    """Fill in ``prompts/NAME`` of a package (jinja2); a value that the file names and nobody gives is an error."""
    # Interned, since the worked examples are the same in the requests for all seeds.
    return tuple(
        Message(role, sys.intern(template.render(**values))) for role, template in _sections(package, name)
    )


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

"""What an OpenAI-compatible endpoint is sent, and what its answers mean."""

import email.utils
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from codedpo.core.rng import seed_for
from codedpo.llm.base import Request

PromptStyle = Literal["chat", "completion"]


@dataclass(frozen=True, slots=True)
class Choice:
    """One sample of an answer."""

    text: str
    finish_reason: Literal["stop", "length", "refused"]
    prompt_tokens: int
    completion_tokens: int


class UnusableAnswerError(Exception):
    """The answer is no JSON, or no completion, or has no choice."""


def body_of(
    request: Request, first: int, count: int, model: str, style: PromptStyle, dropped: frozenset[str]
) -> dict[str, Any]:
    """Make the body of one call for ``count`` samples from number ``first`` on.

    The seed depends on the sample's number, so that samples asked for one by one are not equal. ``dropped``
    names parameters that this endpoint has refused.
    """
    sampling = request.sampling
    limit = "max_completion_tokens" if "max_tokens" in dropped else "max_tokens"
    body: dict[str, Any] = {"model": model, "temperature": sampling.temperature, limit: sampling.max_tokens}
    if style == "chat":
        body["messages"] = [{"role": item.role, "content": item.content} for item in request.messages]
    else:
        body["prompt"] = "\n".join(message.content for message in request.messages)
    if sampling.temperature > 0:
        body["seed"] = seed_for(request.seed, request.key, first) % 2**31
        body["top_p"] = sampling.top_p
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if count > 1:
        body["n"] = count
    return {key: value for key, value in body.items() if key == "max_tokens" or key not in dropped}


def refused_parameter(status: int, message: str, body: Mapping[str, Any]) -> str:
    """Return the optional parameter that an error complains of; '' where it complains of something else."""
    lowered = message.lower()
    if "n" in body and "only one completion choice" in lowered:  # llama-server, as 400 or 500 by its version
        return "n"
    if status not in (400, 422):
        return ""
    if "max_completion_tokens" in lowered and "max_tokens" in body:
        return "max_tokens"
    return next(
        (name for name in ("seed", "top_p", "stop", "n") if name in body and names(message, name)), ""
    )


def names(message: str, parameter: str) -> bool:
    """Tell whether an error names a parameter: in quotes, since a word may stand in any sentence."""
    return any(f"{quote}{parameter}{quote}" in message.lower() for quote in "'\"`")


def choices_of(content: bytes, style: PromptStyle) -> list[Choice]:
    """Read an answer.

    Raises:
        UnusableAnswerError: see there.
    """
    try:
        answer = json.loads(content)
        choices, usage = answer["choices"], answer.get("usage") or {}
        prompt_tokens, completion_tokens = (
            _tokens(usage, "prompt_tokens"),
            _tokens(usage, "completion_tokens"),
        )
        found = [_text_and_reason(choice, style) for choice in choices]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        start = content[:80].decode("utf-8", "replace")
        raise UnusableAnswerError(f"an answer that is no completion: {start!r}") from error
    if not found:
        raise UnusableAnswerError("an answer without a choice")
    share, rest = divmod(completion_tokens, len(found))
    return [
        Choice(text, reason, prompt_tokens, share + (number < rest))
        for number, (text, reason) in enumerate(found)
    ]


def _tokens(usage: Any, name: str) -> int:
    count = int(usage.get(name) or 0)
    if not 0 <= count < 2**31:
        raise ValueError(f"{count} is no number of tokens")
    return count


def _text_and_reason(choice: Any, style: PromptStyle) -> tuple[str, Literal["stop", "length", "refused"]]:
    reason = choice.get("finish_reason")
    text = choice["message"].get("content") if style == "chat" else choice.get("text")
    if reason == "content_filter" or (text is None and reason != "length"):
        return f"the endpoint gave no text (finish_reason {reason})", "refused"
    if not isinstance(text, str | None):
        raise TypeError("the content is no text")
    # A lone surrogate is valid JSON but no valid text: it could not be stored.
    clean = (text or "").encode("utf-8", "replace").decode("utf-8")
    return clean, "length" if reason == "length" else "stop"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that ``retry-after-ms`` or ``retry-after`` ask to wait; None if they do not."""
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after", "")
        if value.replace(".", "", 1).isdigit():
            return float(value)
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None

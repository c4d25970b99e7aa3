"""Where a reply ends, and the reply that says why there is none: one rule for every local kind."""

from codedpo.llm.base import Reply, Request


def before_stop(text: str, stop: tuple[str, ...]) -> str:
    """Cut a text before the first stop string: an engine that matches whole tokens leaves a rest of it."""
    return text[: min((place for string in stop if (place := text.find(string)) >= 0), default=len(text))]


def refusals(request: Request, reason: str, prompt_tokens: int) -> list[Reply]:
    """Answer every sample of a request with the reason why there is none."""
    return [
        Reply(request.request_id, request.first + number, reason, "refused", prompt_tokens, 0)
        for number in range(request.count)
    ]

"""What a tokenizer shows about a preference pair before any model is loaded.

Trainers accept each of these pairs in silence: TRL cuts both answers at ``max_length``, and where the cut
lies before their first difference it trains on two equal texts with loss log 2 and no gradient.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

Tokenize = Callable[[Sequence[dict[str, str]], bool], Sequence[int]]
"""``tokenize(messages, add_generation_prompt)`` gives the token ids of a rendered conversation."""


@dataclass(frozen=True, slots=True)
class TokenizedPair:
    """The tokens that a trainer sees: a prompt that both answers share, and what follows it."""

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]
    boundary: int
    """How many tokens at the end of the prompt change once an answer follows; 0 where the boundary holds."""

    @property
    def length(self) -> int:
        """Tokens of the prompt and the longer answer together."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a pair cannot be trained on."""

    reason: str
    """Short and fixed, for a ``Reject`` row."""
    detail: str


def _common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    length = min(len(first), len(second))
    return next((index for index in range(length) if first[index] != second[index]), length)


def tokenize_pair(tokenize: Tokenize, prompt: str, chosen: str, rejected: str) -> TokenizedPair:
    """Tokenize a pair as TRL does: prompt alone, then prompt and answer as one conversation.

    Args:
        tokenize: Renders and tokenizes a conversation with the model's chat template.
        prompt: The user message.
        chosen: The assistant message that is preferred.
        rejected: The other assistant message.
    """
    question = {"role": "user", "content": prompt}
    alone = tuple(tokenize([question], True))
    answers = ({"role": "assistant", "content": text} for text in (chosen, rejected))
    with_chosen, with_rejected = (tuple(tokenize([question, answer], False)) for answer in answers)
    shared = min(_common_prefix(alone, with_chosen), _common_prefix(alone, with_rejected))
    return TokenizedPair(alone[:shared], with_chosen[shared:], with_rejected[shared:], len(alone) - shared)


def preamble_of(tokenize: Tokenize) -> tuple[int, ...]:
    """Return the tokens that a chat template puts before every first message: headers, a default system prompt."""
    first, second = (tokenize([{"role": "user", "content": text}], True) for text in ("0", "x"))
    return tuple(first[: _common_prefix(first, second)])


def _holds_twice(tokens: Sequence[int], part: Sequence[int]) -> bool:
    width = len(part)
    places = (
        start
        for start in range(len(tokens) - width + 1)
        if tuple(tokens[start : start + width]) == tuple(part)
    )
    return bool(width) and next(places, None) is not None and next(places, None) is not None


def pair_problem(
    pair: TokenizedPair, max_length: int, end_tokens: Collection[int] = (), preamble: Sequence[int] = ()
) -> Problem | None:
    """Name the first reason why a pair cannot be trained on, or None.

    Args:
        pair: The tokens of the pair.
        max_length: Most tokens of prompt and answer together; longer pairs are refused, never cut.
        end_tokens: Ids of the tokens that end a turn; an answer that holds two of them teaches to go on
            after the end.
        preamble: What the template puts first (``preamble_of``); a prompt that holds it twice was rendered before.
    """
    chosen, rejected = pair.prompt + pair.chosen, pair.prompt + pair.rejected
    sizes = f"prompt {len(pair.prompt)}, chosen {len(pair.chosen)}, rejected {len(pair.rejected)} tokens"
    if pair.boundary:
        detail = f"the last {pair.boundary} tokens of the prompt change when an answer follows"
        return Problem("token_boundary", detail)
    if not pair.chosen or not pair.rejected:
        return Problem("empty_answer", sizes)
    if chosen == rejected:
        return Problem("equal_tokens", sizes)
    if len(pair.prompt) >= max_length:
        return Problem("prompt_fills_window", f"{sizes}, max_length {max_length}")
    if chosen[:max_length] == rejected[:max_length]:
        first = _common_prefix(chosen, rejected)
        return Problem(
            "equal_after_truncation", f"the first {first} tokens are equal, max_length {max_length}"
        )
    if pair.length > max_length:
        return Problem("too_long", f"{sizes}, max_length {max_length}")
    for name, answer in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        ends = sum(token in end_tokens for token in answer)
        if ends > 1:
            return Problem("end_token_repeated", f"{ends} end tokens in the {name} answer")
        if _holds_twice(pair.prompt + answer, preamble):
            return Problem(
                "system_prompt_repeated", f"the template's first {len(preamble)} tokens appear twice"
            )
    return None

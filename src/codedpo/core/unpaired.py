"""Preference pairs taken apart into single answers, each with a label: what KTO and SFT learn from."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from codedpo.core.fingerprint import digest_of
from codedpo.core.records import Pair, PairKind

SLOW_SIDE, CHOSEN_ELSEWHERE, REPEATED = "slow_side", "chosen_elsewhere", "repeated"
"""Why a side is left out: slow but believed right, preferred in another pair of its prompt, or there already."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One side of a pair."""

    pair: Pair
    """The first pair that has this answer on this side."""
    is_desirable: bool

    @property
    def text(self) -> str:
        """The assistant message."""
        return self.pair.chosen if self.is_desirable else self.pair.rejected

    @property
    def solution_id(self) -> str:
        """Id of the solution that the message holds."""
        return self.pair.chosen_solution_id if self.is_desirable else self.pair.rejected_solution_id


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of pairs, and how many sides were left out."""

    answers: tuple[Answer, ...]
    left_out: dict[str, int]
    """By ``slow_side``, ``chosen_elsewhere`` and ``repeated``."""

    @property
    def desirable(self) -> Sequence[Answer]:
        """The answers to imitate."""
        return [answer for answer in self.answers if answer.is_desirable]


def sides(pairs: Iterable[Pair]) -> Iterator[tuple[Answer, str]]:
    """Take pairs of one split apart, in their order, so that a prompt and answer has one label and one place.

    Chosen sides are desirable. Undesirable are the rejected sides of correctness pairs alone: the slow side of an
    efficiency pair is believed right, which a label without a rival would call wrong. A rejected side that another
    pair of the same prompt prefers is no negative either.

    Args:
        pairs: gone through twice, and not held unless that is impossible; of each side a digest is held.

    Yields:
        Every side, and why it is left out: empty for those that count.
    """
    if isinstance(pairs, Iterator):
        pairs = list(pairs)
    chosen = {digest_of([pair.prompt, pair.chosen]) for pair in pairs}
    seen: set[str] = set()
    for answer in (Answer(pair, is_desirable) for pair in pairs for is_desirable in (True, False)):
        place = digest_of([answer.pair.prompt, answer.text])
        if not answer.is_desirable and answer.pair.kind == PairKind.EFFICIENCY.value:
            yield answer, SLOW_SIDE
        elif not answer.is_desirable and place in chosen:
            yield answer, CHOSEN_ELSEWHERE
        elif place in seen:
            yield answer, REPEATED
        else:
            seen.add(place)
            yield answer, ""


def unpaired(pairs: Iterable[Pair]) -> Answers:
    """Return the answers of pairs of one split, as ``sides`` yields them."""
    answers: list[Answer] = []
    left_out = Counter(dict.fromkeys((SLOW_SIDE, CHOSEN_ELSEWHERE, REPEATED), 0))
    for answer, reason in sides(pairs):
        if reason:
            left_out[reason] += 1
        else:
            answers.append(answer)
    return Answers(tuple(answers), dict(left_out))

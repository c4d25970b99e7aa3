"""Preference pairs taken apart into single answers, each with a label: what KTO and SFT learn from."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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


def unpaired(pairs: Iterable[Pair]) -> Answers:
    """Take pairs of one split apart, in their order, so that a prompt and answer has one label and one place.

    Chosen sides are desirable. Undesirable are the rejected sides of correctness pairs alone: the slow side of an
    efficiency pair is believed right, which a label without a rival would call wrong. A rejected side that another
    pair of the same prompt prefers is no negative either.
    """
    pairs = list(pairs)
    chosen = {(pair.prompt, pair.chosen) for pair in pairs}
    answers: dict[tuple[str, str], Answer] = {}
    left_out = Counter(dict.fromkeys((SLOW_SIDE, CHOSEN_ELSEWHERE, REPEATED), 0))
    for answer in (Answer(pair, is_desirable) for pair in pairs for is_desirable in (True, False)):
        place = (answer.pair.prompt, answer.text)
        if not answer.is_desirable and answer.pair.kind == PairKind.EFFICIENCY.value:
            left_out[SLOW_SIDE] += 1
        elif not answer.is_desirable and place in chosen:
            left_out[CHOSEN_ELSEWHERE] += 1
        elif place in answers:
            left_out[REPEATED] += 1
        else:
            answers[place] = answer
    return Answers(tuple(answers.values()), dict(left_out))

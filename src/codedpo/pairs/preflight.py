"""Look at pairs before any training: what cannot be trained on, what repeats, and what the sides give away.

Plain checks need no model; those on tokens (equal after truncation, prompt fills the window, boundary between
prompt and answer, repeated end of text) run where a tokenizer is given.
"""

import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from codedpo.core.fingerprint import digest_of
from codedpo.core.records import Pair
from codedpo.llm.token_checks import Tokenize, pair_problem, tokenize_pair

NEARLY_IDENTICAL = 0.98
"""Plain DPO hurts on pairs that hardly differ (Target-DPO, arXiv 2503.02783): they are counted from here on."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table."""

    name: str
    """Short and fixed: ``identical``, ``duplicate``, ``equal_after_truncation``, ..."""
    count: int
    share: float
    """Of all pairs."""
    is_blocking: bool
    """Such a pair teaches nothing or something wrong; training should not start with it."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was found in a set of pairs."""

    pairs: int
    findings: tuple[Finding, ...]
    kinds: dict[str, int]
    """Pairs of each kind."""
    median_lengths: tuple[float, float]
    """Characters of chosen and rejected."""
    chosen_longer: float
    """Share of pairs whose chosen side is longer, equal lengths counting half; far from 0.5 the length alone
    tells the sides apart, and training may learn just that."""

    @property
    def is_blocking(self) -> bool:
        """Whether training should not start."""
        return any(finding.is_blocking and finding.count for finding in self.findings)

    def lines(self) -> list[str]:
        """Return the table as text."""
        chosen, rejected = self.median_lengths
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kinds.items())) or "none"
        return [
            f"pairs                     {self.pairs:>8} ({kinds})",
            f"median characters         {chosen:>8.0f} chosen, {rejected:.0f} rejected",
            f"chosen side longer        {self.chosen_longer:>8.1%}",
            *(
                f"{finding.name:<25} {finding.count:>8} {finding.share:>8.1%}"
                f"{'  must go' if finding.is_blocking and finding.count else ''}"
                for finding in self.findings
            ),
        ]


_PLAIN = {"identical": True, "duplicate": True, "contradiction": True, "nearly_identical": False}
_OF_TOKENS = (
    "equal_tokens",
    "equal_after_truncation",
    "prompt_fills_window",
    "too_long",
    "token_boundary",
    "end_token_repeated",
    "empty_answer",
)


def preflight(
    pairs: Iterable[Pair],
    tokenize: Tokenize | None = None,
    max_length: int = 1024,
    end_tokens: Collection[int] = (),
) -> Preflight:
    """Check pairs.

    Args:
        pairs: of any kind and split; of each only its lengths and a digest are held.
        tokenize: renders and tokenizes a conversation; None leaves the checks on tokens out.
        max_length: longest prompt and answer together, in tokens.
        end_tokens: ids of the tokens that end a turn.
    """
    names = _PLAIN if tokenize is None else _PLAIN | dict.fromkeys(_OF_TOKENS, True)
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    lengths: list[Lengths] = []
    seen: set[str] = set()
    for pair in pairs:
        kinds[pair.kind] += 1
        lengths.append((len(pair.chosen), len(pair.rejected)))
        counts[_plain_problem(pair, seen)] += 1
        if tokenize is not None:
            tokens = tokenize_pair(tokenize, pair.prompt, pair.chosen, pair.rejected)
            problem = pair_problem(tokens, max_length, end_tokens)
            if problem:
                counts[problem.reason] += 1
    total = max(len(lengths), 1)
    medians, longer = length_bias(lengths)
    return Preflight(
        pairs=len(lengths),
        findings=tuple(
            Finding(name, counts[name], counts[name] / total, blocking) for name, blocking in names.items()
        ),
        kinds=dict(kinds),
        median_lengths=medians,
        chosen_longer=longer,
    )


Lengths = tuple[int, int]
"""Characters of chosen and rejected."""


def length_bias(lengths: Sequence[Lengths]) -> tuple[tuple[float, float], float]:
    """Return the median lengths of both sides and how often the chosen one is longer, as in ``Preflight``."""
    medians = (
        float(statistics.median([chosen for chosen, _ in lengths] or [0])),
        float(statistics.median([rejected for _, rejected in lengths] or [0])),
    )
    longer = [_compare(chosen, rejected) for chosen, rejected in lengths]
    return medians, sum(longer) / len(longer) if longer else 0.5


def _compare(chosen: int, rejected: int) -> float:
    return 0.5 if chosen == rejected else float(chosen > rejected)


def _plain_problem(pair: Pair, seen: set[str]) -> str:
    """Return a problem of a pair or nothing, and add the pair's digest to those of the pairs before.

    ``contradiction``: another pair of the same kind and prompt prefers the other way round. A fast solution may
    well be chosen for speed and rejected by another pair for correctness, but not within one kind.
    """
    chosen, rejected = _squeezed(pair.chosen), _squeezed(pair.rejected)
    own, opposite = (
        digest_of([pair.kind, pair.prompt, *answers]) for answers in ((chosen, rejected), (rejected, chosen))
    )
    is_known, is_contradicted = own in seen, opposite in seen
    seen.add(own)
    if chosen == rejected:
        return "identical"
    if is_known:
        return "duplicate"
    if is_contradicted:
        return "contradiction"
    return "nearly_identical" if _similarity_at_least(chosen, rejected, NEARLY_IDENTICAL) else ""


def _squeezed(text: str) -> str:
    """Drop what Python does not see: blank lines and spaces at line ends."""
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip())


def _similarity_at_least(first: str, second: str, share: float) -> bool:
    matcher = SequenceMatcher(None, first, second, autojunk=False)
    return matcher.real_quick_ratio() >= share and matcher.quick_ratio() >= share and matcher.ratio() >= share

"""Which texts repeat an earlier one almost word for word.

MinHash (rensa) proposes candidates, the exact Jaccard similarity decides, so the outcome does not depend on
hashing luck: the bands are chosen so that a pair at the threshold is missed less than once in a thousand.
"""

import re
from collections.abc import Sequence

import rensa

_TOKEN = re.compile(r"\w+|[^\w\s]")
_PERMUTATIONS = 128
_MISS = 1e-3
"""Largest probability that MinHash misses a pair whose similarity is just the threshold."""


def shingles(text: str, size: int = 5) -> frozenset[tuple[str, ...]]:
    """Return the set of ``size``-grams of words and punctuation marks, lower case; space does not count.

    A text with fewer tokens is one shingle of all it has.
    """
    tokens = _TOKEN.findall(text.lower())
    return frozenset(tuple(tokens[start : start + size]) for start in range(max(1, len(tokens) - size + 1)))


def jaccard(left: frozenset[tuple[str, ...]], right: frozenset[tuple[str, ...]]) -> float:
    """Return the share of the shingles of both that both have; two empty sets are equal."""
    union = len(left | right)
    return len(left & right) / union if union else 1.0


def _bands(threshold: float) -> int:
    """Return the fewest bands of 128 permutations that miss a pair at ``threshold`` at most once in 1,000."""
    bands = 1
    while bands < _PERMUTATIONS and (1 - threshold ** (_PERMUTATIONS // bands)) ** bands > _MISS:
        bands *= 2
    return bands


def near_duplicates(texts: Sequence[str], threshold: float, size: int = 5) -> list[int | None]:
    """Point each text at the earlier text that it repeats.

    Texts are taken in order; each is compared with the earlier ones that are no duplicates themselves, so
    that what remains holds no two texts at or above the threshold.

    Args:
        texts: Code or prose.
        threshold: Jaccard similarity of shingles, 0 to 1, from which two texts count as the same.
        size: Tokens a shingle.

    Returns:
        For each text the index of the most similar earlier kept text (the first of equals) at or above
        ``threshold``, or None where the text is kept.
    """
    sets = [shingles(text, size) for text in texts]
    index = rensa.RMinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS, num_bands=_bands(threshold))
    earlier: list[int | None] = []
    for position, items in enumerate(sets):
        sketch = rensa.RMinHash(num_perm=_PERMUTATIONS, seed=1)
        sketch.update(["\x1f".join(shingle) for shingle in items])
        similarities = [(jaccard(items, sets[other]), -other) for other in index.query(sketch)]
        best, negative = max(similarities, default=(-1.0, 0))
        if best >= threshold:
            earlier.append(-negative)
        else:
            earlier.append(None)
            index.insert(position, sketch)
    return earlier

"""Which texts repeat an earlier one almost word for word.

Two sets of ``m`` and ``n`` shingles with a Jaccard similarity of at least ``t`` share ``t max(m, n)`` of them. So if
all shingles are put in one order, one of the first ``m - ceil(t m) + 1`` of the one set is among the first
``n - ceil(t n) + 1`` of the other (prefix filtering: Chaudhuri, Ganti and Kaushik, A Primitive Operator for Similarity
Joins in Data Cleaning, 2006). In the order from rare to common these prefixes hardly meet by chance: no pair is missed,
and few are compared.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

_TOKEN = re.compile(r"\w+|[^\w\s]")
_ROUNDING = 1e-9
"""Taken off bounds on whole numbers, so that the rounding of ``t n`` never excludes a pair."""


def near_duplicates(texts: Sequence[str], threshold: float, size: int = 5) -> list[int | None]:
    """Point each text at the earlier text that it repeats.

    Texts are taken in order; each is compared with the earlier ones that are no duplicates themselves, so
    that what remains holds no two texts at or above the threshold. Shingles are runs of ``size`` words and punctuation
    marks, lower case; space does not count, and a text with fewer tokens is one shingle of all it has.

    Args:
        texts: Code or prose.
        threshold: Jaccard similarity of shingles, 0 to 1, from which two texts count as the same; texts without a
            common shingle never do.
        size: Tokens a shingle.

    Returns:
        For each text the index of the most similar earlier kept text (the first of equals) at or above
        ``threshold``, or None where the text is kept.
    """
    sets, common = _by_rarity([_shingles(text, size) for text in texts])
    kept_with: defaultdict[int, list[int]] = defaultdict(list)
    earlier: list[int | None] = []
    for position, own in enumerate(sets):
        prefix = own[: len(own) - ceil(threshold * len(own) - _ROUNDING) + 1]
        prefix = prefix[prefix >= common]
        near = {other for shingle in prefix.tolist() for other in kept_with[shingle]}
        members = set(own.tolist())
        similarities = ((_jaccard(members, sets[other], threshold), -other) for other in near)
        best, negative = max(similarities, default=(0.0, 0))
        if near and best >= threshold:
            earlier.append(-negative)
        else:
            earlier.append(None)
            for shingle in prefix.tolist():
                kept_with[shingle].append(position)
    return earlier


def _shingles(text: str, size: int) -> NDArray[np.uint64]:
    """Return the 64-bit digests of the different shingles of a text: 8 bytes each, where words take some hundred."""
    tokens = _TOKEN.findall(text.lower())
    starts = range(max(1, len(tokens) - size + 1))
    joined = {"\x1f".join(tokens[start : start + size]) for start in starts}
    digests = (hashlib.blake2b(one.encode(), digest_size=8).digest() for one in joined)
    return np.unique(np.frombuffer(b"".join(digests), dtype=np.uint64))


def _by_rarity(sets: Sequence[NDArray[np.uint64]]) -> tuple[list[NDArray[np.int64]], int]:
    """Number shingles from the rarest to the most common one.

    Returns:
        For each set its numbers in ascending order, and the first number of a shingle that more than one set has.
    """
    if not sets:
        return [], 0
    _, places, counts = np.unique(np.concatenate(sets), return_inverse=True, return_counts=True)
    numbers = np.empty(len(counts), dtype=np.int64)
    numbers[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    cuts = np.cumsum([len(one) for one in sets])[:-1]
    return [np.sort(one) for one in np.split(numbers[places], cuts)], int((counts == 1).sum())


def _jaccard(members: set[int], other: NDArray[np.int64], threshold: float) -> float:
    """Return the share of the shingles of both that both have; 0 where the sizes keep it below ``threshold``."""
    sizes = sorted((len(members), len(other)))
    if sizes[0] < threshold * sizes[1] - _ROUNDING:
        return 0.0
    shared = len(members.intersection(other.tolist()))
    return shared / (sum(sizes) - shared)

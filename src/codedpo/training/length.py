"""Pairs from which length alone cannot tell the chosen side."""

from bisect import bisect_left
from collections.abc import Sequence

from codedpo.core.records import Pair


def length_balanced(pairs: Sequence[Pair]) -> list[Pair]:
    """Leave out pairs until, in each kind, chosen sides are as often longer as shorter, and by as much.

    Every pair of the rarer sort is matched with the pair of the other sort whose difference in characters is nearest
    to its own, the largest differences first; pairs without a match are left out, pairs of equal length stay.
    """
    kept: set[str] = set()
    for kind in {pair.kind for pair in pairs}:
        of_kind = [pair for pair in pairs if pair.kind == kind]
        longer = [pair for pair in of_kind if _excess(pair) > 0]
        shorter = [pair for pair in of_kind if _excess(pair) < 0]
        rarer, others = sorted((longer, shorter), key=len)
        kept |= {pair.pair_id for pair in (*rarer, *_matches(rarer, others))}
        kept |= {pair.pair_id for pair in of_kind if _excess(pair) == 0}
    return [pair for pair in pairs if pair.pair_id in kept]


def _excess(pair: Pair) -> int:
    """Return by how many characters the chosen side is longer."""
    return len(pair.chosen) - len(pair.rejected)


def _matches(pairs: Sequence[Pair], others: Sequence[Pair]) -> list[Pair]:
    """Return for each pair another one, each at most once, whose lengths differ by about as much."""
    free = sorted(others, key=lambda pair: abs(_excess(pair)))
    differences = [abs(_excess(pair)) for pair in free]
    found = []
    for wanted in sorted((abs(_excess(pair)) for pair in pairs), reverse=True):
        above = bisect_left(differences, wanted)
        near = [place for place in (above - 1, above) if 0 <= place < len(free)]
        best = min(near, key=lambda place: abs(differences[place] - wanted))
        differences.pop(best)
        found.append(free.pop(best))
    return found

"""Solutions that behave alike: equal rows of the pass matrix or of the returned values."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedpo.core.matrix import NO_VALUE


def groups(rows: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number equal rows alike.

    Returns:
        [S] the group of every row, and [G] the rows of each group. Without columns all rows are one group.
    """
    if rows.shape[1] == 0:
        return np.zeros(len(rows), dtype=np.int64), np.full(min(1, len(rows)), len(rows), dtype=np.int64)
    content, width = rows.tobytes(), rows.shape[1] * rows.itemsize
    seen: dict[bytes, int] = {}
    starts = range(0, len(content), width)
    labels = [seen.setdefault(content[start : start + width], len(seen)) for start in starts]
    return np.array(labels, dtype=np.int64), np.bincount(labels)


def value_shares(values: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return [S, C]: the share of all solutions that return this solution's value on this call, itself included.

    A call without a value (exception, time-out, value that is not plain data) agrees with nothing: 0.
    """
    solutions, calls = values.shape
    if values.size == 0:
        return np.zeros(values.shape)
    span = int(values.max()) + 2
    nothing = np.arange(calls) * span
    keys = values + (nothing - NO_VALUE)
    if span * calls > 64 * values.size + 4096:
        codes, keys = np.unique(keys, return_inverse=True)
        keys, nothing = keys.reshape(values.shape), np.flatnonzero(codes % span == 0)
    counts = np.bincount(keys.ravel(), minlength=int(nothing[-1]) + 1 if len(nothing) else 0)
    counts[nothing] = 0
    shares: NDArray[np.float64] = counts[keys] / solutions
    return shares

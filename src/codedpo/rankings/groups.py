"""Solutions that behave alike: equal rows of the pass matrix or of the returned values."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedpo.core.matrix import NO_VALUE, PassMatrix


def groups(rows: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number equal rows alike.

    Returns:
        [S] the group of every row, and [G] the rows of each group. Without columns all rows are one group.
    """
    if rows.shape[1] == 0:
        return np.zeros(len(rows), dtype=np.int64), np.full(min(1, len(rows)), len(rows), dtype=np.int64)
    packed = np.packbits(rows, axis=1) if rows.dtype == bool else np.ascontiguousarray(rows)
    whole = packed.view(np.dtype((np.void, packed.dtype.itemsize * packed.shape[1]))).ravel()
    seen: dict[bytes, int] = {}
    labels = np.array([seen.setdefault(bytes(row), len(seen)) for row in whole.tolist()], dtype=np.int64)
    return labels, np.bincount(labels)


def value_shares(matrix: PassMatrix) -> NDArray[np.float64]:
    """Return [S, C]: the share of all solutions that return this solution's value on this call, itself included.

    A call without a value (exception, time-out, value that is not plain data) agrees with nothing: 0.
    """
    values = matrix.values
    solutions, calls = values.shape
    if values.size == 0:
        return np.zeros(values.shape)
    known = values != NO_VALUE
    span = int(values.max()) + 1
    keys = values + np.arange(calls) * span
    if span * calls > 64 * values.size + 4096:
        _, keys = np.unique(keys, return_inverse=True)
        keys = keys.reshape(values.shape)
    keys = np.where(known, keys, 0)
    counts = np.bincount(keys[known], minlength=int(keys.max()) + 1)
    shares: NDArray[np.float64] = np.where(known, counts[keys], 0) / solutions
    return shares

"""One task as pairs are made from it: who passed what, the scores, the code and the prompt."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codedpo.core.matrix import PassMatrix


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Matrix, scores of the pair-making strategy, code of every solution, and the prompt they answered."""

    matrix: PassMatrix
    scores: NDArray[np.float64]
    """[S], scaled so that the best solution has 1."""
    ranks: NDArray[np.int64]
    """[S], 1 is best, ties share a rank."""
    codes: tuple[str, ...]
    prompt: str
    """The user message."""
    probabilities: NDArray[np.float64] | None = None
    """[S]: chance that a solution is right if it is the best; None where the strategy does not estimate it."""

    @property
    def task_id(self) -> str:
        """Id of the task."""
        return self.matrix.task_id

    @property
    def best(self) -> int:
        """Position of the best-ranked solution; of equal ones the first."""
        return int(self.ranks.argmin())

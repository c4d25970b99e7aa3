"""The three rankings that the paper compares its score with."""

import numpy as np

from codedpo.core.matrix import PassMatrix
from codedpo.core.rng import stream
from codedpo.rankings.scores import Scores, scaled


def number_passed(matrix: PassMatrix) -> Scores:
    """Score a solution by how many tests it passes (the paper's 'sort by number of passed tests').

    Equal to one simultaneous iteration of self-validation. Good where nearly all tests are valid: with many wrong
    tests it falls below a random choice, as the wrong ones outvote. Cost: S x T.
    """
    passed = matrix.passed.astype(np.float64)
    return Scores(scaled(passed.sum(axis=1)))


def all_tests_filter(matrix: PassMatrix) -> Scores:
    """Score 1 for the solutions that pass every test, 0 for the rest (the paper's 'filter with all tests').

    Good only where every test is right; with self-written tests hardly any task keeps a pair. Cost: S x T.
    """
    everything = matrix.passed.all(axis=1) & (matrix.passed.shape[1] > 0)
    return Scores(everything.astype(np.float64))


def random(matrix: PassMatrix, *, seed: int = 0) -> Scores:
    """Score by lot (the paper's 'random'): the floor of every comparison. The draw depends on seed and task alone."""
    return Scores(scaled(stream(seed, "rankings", "random", matrix.task_id).random(len(matrix.solution_ids))))

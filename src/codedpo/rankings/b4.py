"""B4: the posterior of 'exactly this group of solutions and the tests it passes are right'."""

import math

import numpy as np
from numpy.typing import NDArray

from codedpo.core.behaviour import groups
from codedpo.core.errors import ConfigError
from codedpo.core.matrix import PassMatrix
from codedpo.rankings.scores import Scores, scaled


def rank(matrix: PassMatrix, *, wrong_prior: float = 1e4, agreement_prior: float = 1e3) -> Scores:
    """Score a solution by the posterior of its group.

    Formula: a group is the n solutions that pass exactly the same m tests. With B the beta function, of S
    solutions and T tests, p of the other solutions' passes fall on the group's tests and q on the rest::

        log B(m + a, T - m + 1) + log B(n + a, S - n + 1)
        + log B(p + 1, (S - n) m - p + 1) + log B(q + 1, (S - n) (T - m) - q + b)

    ``a`` (``agreement_prior``) says that many solutions and tests are right, ``b`` (``wrong_prior``) that a wrong
    solution hardly ever passes a wrong test. Scores are ``1 / (1 + distance to the best log posterior)``; 0 where
    no test is passed.

    Source: Chen et al., B4: Towards Optimal Assessment of Plausible Code Solutions with Plausible Tests, arXiv
    2409.08692; the default priors are those that its authors give for CodeGen on HumanEval. Good over a wide range
    of test validity. Cost: S x T for every group.

    Raises:
        ConfigError: a prior that is not a finite number above 0.
    """
    for name, prior in (("wrong_prior", wrong_prior), ("agreement_prior", agreement_prior)):
        if not 0.0 < prior < math.inf:
            raise ConfigError(f"rankings: {name} of b4 is {prior}, but it must be a finite number above 0.")
    labels, sizes = groups(matrix.passed)
    _, first = np.unique(labels, return_index=True)
    patterns = matrix.passed[first]
    log_posterior = _log_posterior(
        patterns, sizes, matrix.passed.sum(axis=0), len(labels), wrong_prior, agreement_prior
    )
    passing = patterns.any(axis=1)
    best = float(log_posterior[passing].max()) if passing.any() else 0.0
    of_group = np.where(passing, 1.0 / (1.0 + np.maximum(best - log_posterior, 0.0)), 0.0)
    return Scores(scaled(of_group[labels]))


def _log_posterior(
    patterns: NDArray[np.bool_],
    sizes: NDArray[np.int64],
    passes_of_test: NDArray[np.int64],
    solutions: int,
    wrong_prior: float,
    agreement_prior: float,
) -> NDArray[np.float64]:
    """Return [G] from the tests that each group passes [G, T], its size [G], and the passes of each test [T]."""
    tests = patterns.shape[1]
    passed = patterns.sum(axis=1)
    on_passed = patterns @ passes_of_test - sizes * passed
    elsewhere = int(passes_of_test.sum()) - patterns @ passes_of_test
    others = solutions - sizes
    return (
        _log_beta(passed + agreement_prior, tests - passed + 1)
        + _log_beta(sizes + agreement_prior, others + 1)
        + _log_beta(on_passed + 1, others * passed - on_passed + 1)
        + _log_beta(elsewhere + 1, others * (tests - passed) - elsewhere + wrong_prior)
    )


def _log_beta(first: NDArray[np.generic], second: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.array(
        [
            math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
            for a, b in zip(first.tolist(), second.tolist(), strict=True)
        ]
    )

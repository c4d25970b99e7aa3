"""Our strategy: the paper's score, corrected by what solutions agree on, as far as the tests cannot be trusted."""

import numpy as np
from numpy.typing import NDArray

from codedpo.core.behaviour import groups, value_shares
from codedpo.core.matrix import PassMatrix
from codedpo.rankings import self_validation
from codedpo.rankings.scores import Scores

AGREEMENT_POWER = 3.0
GROUP_POWER = 0.25
AGREEMENT_ODDS = 0.69
GROUP_ODDS = 1.08
LOG_ODDS = 2.21
"""Fitted on the HumanEval tasks whose number is divisible by 4 (CodeT's samples); see ``docs/rankings.md``."""
_LEAST_VALIDATION, _LEAST_AGREEMENT = 0.001, 0.01
"""Added before logarithms: a lone solution, or one that passes nothing, is unlikely to be right, not impossible."""


def rank(
    matrix: PassMatrix,
    *,
    agreement_power: float = AGREEMENT_POWER,
    group_power: float = GROUP_POWER,
    agreement_odds: float = AGREEMENT_ODDS,
    group_odds: float = GROUP_ODDS,
    log_odds: float = LOG_ODDS,
) -> Scores:
    """Score a solution by ``v * (a^3 * g^(1/4))^(1 - q)``.

    ``v`` is its self-validation score, ``a`` the mean share of solutions that return its value (``agreement``),
    ``g`` the share of solutions that behave exactly like it, and ``q`` the largest share of tests that one
    solution passes. Where one solution passes nearly all tests they are mostly valid, and the paper's score
    decides; where none does, many tests are wrong and agreement decides. Tests that every solution passes say
    nothing about solutions or about validity: ``v`` and ``q`` leave them out (and they score 0). A value that all
    return still counts in ``a``.

    ``probabilities`` are the chance that a solution is right if it is the best of its task:
    ``odds = e^log_odds a^agreement_odds g^group_odds``, by default ``e^2.21 a^0.69 g^1.08``; ``evidence`` gives what to
    fit them to, where you have labels of your own.

    Good at every test validity; without values (a matrix of passes only) ``a`` is the agreement of pass vectors.
    Its limit is the limit of all agreement: a bug that most solutions share. Cost: that of self-validation, and
    S x C.
    """
    solutions = len(matrix.solution_ids)
    if solutions == 0:
        return Scores(np.empty(0), np.empty(0), probabilities=np.empty(0))
    everybody = max(np.count_nonzero(matrix.loaded), 1)
    passes = matrix.passed.sum(axis=0)
    separating = passes < everybody if everybody in passes.tolist() else slice(None)
    passed = matrix.passed[:, separating]
    validation = self_validation.rank_passes(passed)
    best_share = max(passed.sum(axis=1).tolist()) / passed.shape[1] if passed.size else 0.0
    doubt = 1.0 - best_share
    logs = np.vstack([np.log(validation.solutions + _LEAST_VALIDATION), evidence(matrix)])
    log_score = np.array([1.0, doubt * agreement_power, doubt * group_power]) @ logs
    odds = np.exp(np.array([0.0, agreement_odds, group_odds]) @ logs + log_odds)
    tests = np.zeros(len(passes))
    tests[separating] = validation.tests
    return Scores(np.exp(log_score - log_score.max()), tests, probabilities=odds / (1.0 + odds))


def evidence(matrix: PassMatrix) -> NDArray[np.float64]:
    """Return the logarithms of ``a`` and ``g`` of every solution, [2, solutions]: what the probabilities rest on."""
    solutions = len(matrix.solution_ids)
    shares = value_shares(matrix.values if matrix.values.size else matrix.passed.astype(np.int64))
    agreement = shares.sum(axis=1) / shares.shape[1] if shares.size else np.full(solutions, 1.0 / solutions)
    labels, sizes = groups(np.concatenate([matrix.values, matrix.passed], axis=1))
    logs: NDArray[np.float64] = np.log([agreement + _LEAST_AGREEMENT, sizes[labels] / solutions])
    return logs

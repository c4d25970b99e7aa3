import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis.extra.numpy import array_shapes, arrays

from codedpo.core.matrix import PassMatrix
from codedpo.rankings import hits, self_validation

passes = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=6))


@given(passes)
def test_is_what_many_iterations_tend_to(passed):
    singular = np.linalg.svd(passed.astype(float), compute_uv=False)
    close = singular[(singular < singular[0] * (1 - 1e-9)) & (singular > singular[0] * 0.8)]
    assume(len(close) == 0)
    matrix = PassMatrix.of_passes(passed)
    limit, many = hits.rank(matrix), self_validation.rank(matrix, iterations=400, damping=0.5)
    if passed.any():
        assert limit.solutions == pytest.approx(many.solutions, abs=1e-6)
        assert limit.tests == pytest.approx(many.tests, abs=1e-6)


def test_a_block_that_shares_no_test_with_the_largest_vanishes():
    passed = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=bool)
    assert list(hits.rank(PassMatrix.of_passes(passed)).solutions) == pytest.approx([1, 1, 0])

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.core.fingerprint import differing_fields, digest_of, file_sha256

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), plain, max_size=5))
def test_key_order_does_not_matter(value: dict[str, object]) -> None:
    assert digest_of(value) == digest_of(dict(reversed(value.items())))


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 1.0), (1, "1"), (True, 1), (None, ""), ([1, 2], [2, 1]), (0.1, 0.1 + 1e-17 + 1e-16)],
)
def test_different_values_have_different_digests(one: object, other: object) -> None:
    assert digest_of(one) != digest_of(other)


@pytest.mark.parametrize("value", [{1, 2}, object(), {1: 2}, len])
def test_unstable_values_are_refused(value: object) -> None:
    with pytest.raises(TypeError):
        digest_of(value)


def test_digests_are_equal_in_another_process() -> None:
    program = (
        "from codedpo.core.fingerprint import digest_of; print(digest_of({'a': [1, 2.5, None], 'b': 'ä'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest_of({"b": "ä", "a": [1, 2.5, None]})


def test_differences_are_named_by_their_path() -> None:
    stored = {"config": {"rankings": {"iterations": 10}}, "seed": 1}
    current = {"config": {"rankings": {"iterations": 5}}, "seed": 1, "model": "x"}
    assert differing_fields(stored, current) == ["config.rankings.iterations: 10 -> 5", 'model: null -> "x"']


def test_file_digest(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert file_sha256(tmp_path / "empty").startswith("e3b0c442")

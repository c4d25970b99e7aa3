from hypothesis import given
from hypothesis import strategies as st

from codedpo.training.packing import token_tree, token_trees

rows_of_tokens = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=6)


@given(rows_of_tokens)
def test_every_row_is_a_path_from_a_root(rows: list[list[int]]) -> None:
    tree = token_tree(rows)
    for row, path in zip(rows, tree.paths, strict=True):
        assert [tree.tokens[node] for node in path] == row
        assert [tree.positions[node] for node in path] == list(range(len(row)))
        assert [tree.parents[node] for node in path] == [-1, *path[:-1]]


@given(rows_of_tokens)
def test_a_prefix_has_one_node_however_many_rows_share_it(rows: list[list[int]]) -> None:
    prefixes = {tuple(row[:end]) for row in rows for end in range(1, len(row) + 1)}
    assert len(token_tree(rows).tokens) == len(prefixes)


def test_parents_come_first() -> None:
    tree = token_tree([[1, 2, 3], [1, 2, 4], [5]])
    assert tree.parents == [-1, 0, 1, 1, -1]


@given(rows_of_tokens, st.integers(0, 3), st.integers(0, 20))
def test_rows_of_one_prompt_stay_together_and_small_batches_are_one_tree(
    rows: list[list[int]], prompt: int, largest: int
) -> None:
    trees = token_trees(rows, [prompt] * len(rows), largest)
    assert sorted(place for places, _ in trees for place in places) == list(range(len(rows)))
    for places, tree in trees:
        assert tree == token_tree([rows[place] for place in places])
    prompts = {tuple(row[:prompt]) for row in rows}
    assert len(trees) == (1 if len(token_tree(rows).tokens) <= largest else len(prompts))

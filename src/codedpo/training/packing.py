"""Rows of a batch as one tree of tokens, so that a prefix which rows share is computed once and nothing is padded."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenTree:
    """A batch as a tree: every node is a token, every row a path from a root."""

    tokens: list[int]
    """Token of each node; a node comes after its parent."""
    parents: list[int]
    """Parent of each node, -1 for a first token."""
    positions: list[int]
    """Depth of each node: the token's place in every row that goes through it."""
    paths: list[list[int]]
    """For each row, its nodes in order."""


def token_tree(rows: Sequence[Sequence[int]]) -> TokenTree:
    """Merge rows where they start alike.

    A causal model gives a token the same state in all rows that agree up to it, so one node can stand for all.
    """
    tree = TokenTree([], [], [], [])
    children: dict[tuple[int, int], int] = {}
    for row in rows:
        node, path = -1, []
        for position, token in enumerate(row):
            key = (node, token)
            if key not in children:
                children[key] = len(tree.tokens)
                tree.tokens.append(token)
                tree.parents.append(node)
                tree.positions.append(position)
            node = children[key]
            path.append(node)
        tree.paths.append(path)
    return tree


def token_trees(
    rows: Sequence[Sequence[int]], prompts: Sequence[int], largest: int
) -> list[tuple[list[int], TokenTree]]:
    """Merge rows into one tree, or, where it would have more than ``largest`` nodes, the rows of each prompt into one.

    Attention grows with the square of a tree, so that one tree for a large batch costs more than the padding between
    several.

    Args:
        rows: The tokens of each row.
        prompts: How many of them are the row's prompt.
        largest: Most nodes of a tree of different prompts.

    Returns:
        For each tree the places of its rows, and the tree.
    """
    whole = token_tree(rows)
    if len(whole.tokens) <= largest:
        return [(list(range(len(rows))), whole)]
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
        groups.setdefault(tuple(row[:prompt]), []).append(place)
    return [(places, token_tree([rows[place] for place in places])) for places in groups.values()]

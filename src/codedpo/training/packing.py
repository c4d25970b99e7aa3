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

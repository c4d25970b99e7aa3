"""Mean log-probability of right, wrong, fast and slow held-out solutions along training (the paper's first figure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from codedpo.core.records import Pair, PairKind
from codedpo.llm.token_checks import Tokenize, tokenize_pair

SIDES = {PairKind.CORRECTNESS: ("right", "wrong"), PairKind.EFFICIENCY: ("fast", "slow")}
MOST_PAIRS = 64
"""Pairs of each kind that are probed: enough for a curve, and seconds instead of minutes."""


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt and one answer in tokens."""

    ids: tuple[int, ...]
    prompt_length: int


@dataclass(frozen=True, slots=True)
class Probe:
    """Held-out solutions by what is known of them; rows that are neighbours share a prompt."""

    rows: tuple[tuple[str, Row], ...]

    @classmethod
    def of(cls, pairs: Sequence[Pair], tokenize: Tokenize) -> "Probe":
        """Take the first validation pairs of each kind."""
        rows = []
        for kind, names in SIDES.items():
            held_out = [pair for pair in pairs if pair.split == "validation" and pair.kind == kind]
            for pair in held_out[:MOST_PAIRS]:
                tokens = tokenize_pair(tokenize, pair.prompt, pair.chosen, pair.rejected)
                for name, answer in zip(names, (tokens.chosen, tokens.rejected), strict=True):
                    rows.append((name, Row(tokens.prompt + answer, len(tokens.prompt))))
        return cls(tuple(rows))

    def measure(self, model: Any, known: Mapping[tuple[int, ...], float | None]) -> dict[str, float]:
        """Return ``probe/right`` and the others: mean over solutions of the mean over their tokens, natural logs.

        Args:
            model: A model that TRL gave its fused forward.
            known: Mean log-probability of rows that validation has just computed, by their tokens; None: not computed.
        """
        found: dict[str, list[float]] = {}
        for name, row in self.rows:
            value = known.get(row.ids)
            found.setdefault(f"probe/{name}", []).append(_mean(model, row) if value is None else value)
        return {name: sum(values) / len(values) for name, values in found.items()}


def _mean(model: Any, row: Row) -> float:
    import torch

    ids = torch.tensor([row.ids], device=model.device)
    labels = ids.clone()
    labels[:, : row.prompt_length] = -100
    with torch.no_grad():
        output = model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            labels=labels,
            use_cache=False,
            fused_lm_head=True,
        )
    return float(output.log_probs.sum() / output.label_mask.sum())

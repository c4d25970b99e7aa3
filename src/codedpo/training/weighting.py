"""Preference losses beyond the paper: pairs weigh by probability, tokens by whether the answers differ there."""

from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any

from codedpo.core.config import FocusConfig, TrainingConfig
from codedpo.training.data import WEIGHT

_LEAST_WEIGHT = 1e-9
"""Of an answer, to divide by: where no token counts, the sum is 0, and so are reward and gradient."""


def differing_parts(chosen: Sequence[int], rejected: Sequence[int]) -> tuple[range, range]:
    """Return the places of each answer's tokens between what both begin with and what both end with."""
    start = _alike(zip(chosen, rejected, strict=False))
    rest = min(len(chosen), len(rejected)) - start
    end = min(rest, _alike(zip(reversed(chosen), reversed(rejected), strict=False)))
    return range(start, len(chosen) - end), range(start, len(rejected) - end)


def _alike(tokens: Iterable[tuple[int, int]]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], tokens))


def token_weights(input_ids: Any, completion_mask: Any, focus: FocusConfig | None) -> Any:
    """Return the weight of every token but the first, ``[2 pairs, length - 1]``: 0 outside answers.

    Args:
        input_ids: Token ids, chosen rows first, then rejected ones: ``[2 pairs, length]``.
        completion_mask: 1 where a token belongs to an answer, of the same shape.
        focus: The weights; None: 1 for all tokens of answers.
    """
    weights = completion_mask.float()
    if focus is not None:
        weights *= focus.shared
        pairs = len(input_ids) // 2
        for rows in ((pair, pair + pairs) for pair in range(pairs)):
            places = [completion_mask[row].nonzero()[:, 0] for row in rows]
            answers = [input_ids[row, at].tolist() for row, at in zip(rows, places, strict=True)]
            for row, at, part in zip(rows, places, differing_parts(*answers), strict=True):
                weights[row, at[part.start : part.stop]] = focus.middle
    return weights[:, 1:]


class _Recording:
    """A model that keeps its last output, so that its log-probabilities serve a second formula."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.output: Any = None

    def __call__(self, **inputs: Any) -> Any:
        self.output = self._model(**inputs)
        return self.output


class _WithWeights:
    """A collator that adds the weights of pairs to the batches of another one."""

    def __init__(self, collate: Any) -> None:
        self._collate = collate

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        import torch

        batch: dict[str, Any] = self._collate(examples)
        if WEIGHT in examples[0]:
            batch[WEIGHT] = torch.tensor([example[WEIGHT] for example in examples])
        return batch


def weighted(trainer_class: type, config: TrainingConfig) -> type:
    """Return a subclass of TRL's ``DPOTrainer`` whose loss weighs pairs and tokens.

    With weights ``w_i`` of pair ``i`` and ``v_t`` of token ``t``, both 1 in plain DPO, the loss of ``n`` pairs is
    ``sum_i w_i (-log sigmoid(beta (r(chosen_i) - r(rejected_i))) / n + nll_weight NLL(chosen_i) / tokens)``, where
    ``r(y) = sum_t v_t log(policy(y_t) / reference(y_t))``, over ``sum_t v_t`` where it is length-normalised (0 for an
    answer none of whose tokens counts: the other one is it with something put in), and ``tokens`` counts the chosen
    answers of all ``n``. The curves (rewards, log-probabilities) stay unweighted.

    Sources: weights of pairs ConSelf (arXiv 2603.29292), weights of tokens Focused-DPO (arXiv 2502.11475).
    """

    class Weighted(trainer_class):  # type: ignore[misc]
        data_collator: Any
        _signature_columns: Any

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.data_collator = _WithWeights(self.data_collator)

        def _set_signature_columns_if_needed(self) -> None:
            super()._set_signature_columns_if_needed()
            if WEIGHT not in self._signature_columns:
                self._signature_columns = [*self._signature_columns, WEIGHT]

        def compute_ref_log_probs(self, model: Any, inputs: Any) -> Any:
            """Return for each side plain and weighted sums, ``[pairs, 2]``."""
            import torch

            recording = _Recording(model)
            plain = super().compute_ref_log_probs(recording, inputs)
            weights = token_weights(inputs["input_ids"], inputs["completion_mask"], config.focus)
            sums = (recording.output.log_probs * weights).sum(1).chunk(2)
            return tuple(torch.stack(columns, 1) for columns in zip(plain, sums, strict=True))

        def _compute_loss(self, model: Any, inputs: Any, return_outputs: bool) -> Any:
            import torch

            inputs = dict(inputs)
            pair_weights = inputs.pop(WEIGHT, 1.0)
            sides = ("ref_chosen_logps", "ref_rejected_logps")
            reference = torch.cat([inputs[side][:, 1] for side in sides])
            inputs |= {side: inputs[side][:, 0] for side in sides}
            recording = _Recording(model)
            super()._compute_loss(recording, inputs, return_outputs)

            log_probs, answers = recording.output.log_probs, inputs["completion_mask"][:, 1:]
            weights = token_weights(inputs["input_ids"], inputs["completion_mask"], config.focus)
            rewards = (log_probs * weights).sum(1) - reference
            if config.length_normalised:
                rewards = rewards / weights.sum(1).clamp(min=_LEAST_WEIGHT)
            chosen, rejected = rewards.chunk(2)
            preference = -torch.nn.functional.logsigmoid(config.beta * (chosen - rejected))
            chosen_sums = (log_probs * answers).sum(1).chunk(2)[0]
            loss = (pair_weights * preference).mean()
            if config.nll_weight:
                likelihood = (pair_weights * chosen_sums).sum() / answers.chunk(2)[0].sum()
                loss = loss - config.nll_weight * likelihood
            return loss

    Weighted.__name__ = trainer_class.__name__
    return Weighted

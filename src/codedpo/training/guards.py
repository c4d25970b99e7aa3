"""What a training log shows when it went wrong in silence: pure functions from rows to a sentence."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from codedpo.core.config import TrainingConfig
from codedpo.core.errors import DataError
from codedpo.core.records import TrainingStep

LEAST_STEPS = 5
"""Fewer steps show too little to judge."""
LEAST_MARGIN = 1e-3
LEAST_GRADIENT = 1e-6
LARGEST_FALL = 0.5
"""Share of its first value by which the log-probability of the chosen answers may fall."""


@dataclass(frozen=True, slots=True)
class Warned:
    """A guard that tripped."""

    reason: str
    """Short and fixed, for a counter."""
    sentence: str


def _values(steps: Sequence[TrainingStep], name: str, split: str) -> list[float]:
    return [row.value for row in steps if row.name == name and row.split == split]


def stays_at_log_two(steps: Sequence[TrainingStep], config: TrainingConfig) -> str | None:
    """The margins of chosen over rejected never left zero, so the loss of DPO stayed at log 2 (0.693)."""
    margins = _values(steps, "rewards/margins", "train")
    largest = max(map(abs, margins), default=0.0)
    if len(margins) < LEAST_STEPS or largest >= LEAST_MARGIN:
        return None
    return (
        f"the preference loss stays where it began: the largest reward margin is {largest:.2g}; "
        f"raise training.learning_rate ({config.learning_rate:g}) or training.epochs."
    )


def gradients_vanish(steps: Sequence[TrainingStep], config: TrainingConfig) -> str | None:
    """Most steps had no gradient to speak of."""
    norms = _values(steps, "grad_norm", "train")
    small = sum(norm < LEAST_GRADIENT for norm in norms)
    if len(norms) < LEAST_STEPS or small <= len(norms) / 2:
        return None
    beta = "" if config.method == "sft" else f", and lower training.beta ({config.beta:g})"
    return (
        f"gradients vanish: {small} of {len(norms)} steps have a norm below {LEAST_GRADIENT:g}; look whether the "
        f"pairs of training.kinds differ at all{beta}."
    )


def chosen_collapses(steps: Sequence[TrainingStep], config: TrainingConfig) -> str | None:
    """The chosen answers became much less likely, as they do where only the margin counts."""
    values = _values(steps, "logps/chosen", "validation") or _values(steps, "logps/chosen", "train")
    if len(values) < 2 or values[0] - values[-1] <= LARGEST_FALL * abs(values[0]):
        return None
    nll = f"raise training.nll_weight ({config.nll_weight:g}) or " if config.method == "dpo" else ""
    return (
        f"the log-probability of the chosen answers fell from {values[0]:.1f} to {values[-1]:.1f}; {nll}lower "
        f"training.learning_rate ({config.learning_rate:g})."
    )


def validation_never_improves(steps: Sequence[TrainingStep], config: TrainingConfig) -> str | None:
    """No checkpoint has a lower validation loss than the weights had before training."""
    losses = _values(steps, "loss", "validation")
    if len(losses) < 2 or min(losses[1:]) < losses[0]:
        return None
    return (
        f"validation loss was {losses[0]:.4f} before training and never lower after it; lower "
        f"training.learning_rate ({config.learning_rate:g}) or make more pairs."
    )


GUARDS: Mapping[str, Callable[[Sequence[TrainingStep], TrainingConfig], str | None]] = {
    "loss_stays_at_log_two": stays_at_log_two,
    "gradients_vanish": gradients_vanish,
    "chosen_collapses": chosen_collapses,
    "validation_never_improves": validation_never_improves,
}


def warnings_of(steps: Sequence[TrainingStep], config: TrainingConfig) -> list[Warned]:
    """Ask every guard about a finished training."""
    found = ((name, guard(steps, config)) for name, guard in GUARDS.items())
    return [Warned(name, sentence) for name, sentence in found if sentence]


def check_finite(history: Sequence[Mapping[str, float]]) -> None:
    """Stop a training whose newest log line holds a loss or gradient that is no number.

    Raises:
        DataError: it does.
    """
    newest = history[-1] if history else {}
    for name in ("loss", "eval_loss", "grad_norm"):
        if not math.isfinite(newest.get(name, 0.0)):
            raise DataError(
                f"training broke at step {newest.get('step')}: {name} is {newest[name]}; "
                "lower training.learning_rate, or set training.dtype to float32."
            )

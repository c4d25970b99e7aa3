"""The model card that goes with the merged weights."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from codedpo.core.config import TrainingConfig
from codedpo.core.records import TrainingStep


def hub_id(base: str) -> tuple[str, str | None] | None:
    """Return id and revision of weights that were named by a hub id; None where they were named otherwise."""
    name, _, revision = base.partition("@")
    is_id = name.count("/") == 1 and not base.startswith(("/", ".", "~")) and not Path(base).exists()
    return (name, revision or None) if is_id else None


def model_card(base: str, config: TrainingConfig, steps: Sequence[TrainingStep], pairs: int) -> str:
    """Return a model card: what it was made from, how, and what its loss did; no claim about quality."""
    found = hub_id(base)
    header = yaml.safe_dump(
        {
            "library_name": "transformers",
            "pipeline_tag": "text-generation",
            "tags": ["codedpo", config.method, "code"],
        }
        | ({"base_model": found[0]} if found else {}),
        sort_keys=False,
    )
    losses = [row for row in steps if row.name == "loss" and row.split == "validation"]
    best = min(losses, key=lambda row: row.value, default=None)
    settings = yaml.safe_dump({"training": config.model_dump(mode="json")}, sort_keys=False)
    lines = [
        f"---\n{header}---",
        f"# {base} after {config.method.upper()} on {pairs} pairs",
        "Trained by codedpo on pairs that a code model generated and verified itself "
        "([arXiv 2410.05605](https://arxiv.org/abs/2410.05605)).",
        f"Best validation loss {best.value:.4f} after step {best.step}." if best else "No validation pairs.",
        "Quality is not claimed here: see the evaluation of the run that made this model.",
        f"```yaml\n{settings}```",
    ]
    return "\n\n".join(lines) + "\n"

"""The model card that goes with the merged weights."""

from collections.abc import Sequence

import yaml

from codedpo.core.config import TrainingConfig
from codedpo.core.hub import model_id
from codedpo.core.records import TrainingStep


def model_card(base: str, config: TrainingConfig, steps: Sequence[TrainingStep], pairs: int) -> str:
    """Return a model card: what it was made from, how, and what its loss did; no claim about quality."""
    found = model_id(base)
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

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.conftest import make_pair
from transformers import AutoModelForCausalLM
from trl.trainer.utils import add_fused_lm_head

from codedpo.training.loading import tokenize_with
from codedpo.training.probe import Probe


def test_values_are_mean_log_probabilities_of_the_answers(base: Path, tokenizer: Any) -> None:
    pairs = [make_pair(0), make_pair(1, "validation"), make_pair(2, "validation", "efficiency")]
    tokenize = tokenize_with(tokenizer)
    probe = Probe.of(pairs, tokenize)
    model = AutoModelForCausalLM.from_pretrained(base).eval()
    add_fused_lm_head(model)
    found = probe.measure(model, {})
    assert list(found) == ["probe/right", "probe/wrong", "probe/fast", "probe/slow"]
    for name, pair, answer in (
        ("probe/right", pairs[1], pairs[1].chosen),
        ("probe/slow", pairs[2], pairs[2].rejected),
    ):
        user = [{"role": "user", "content": pair.prompt}]
        start = len(tokenize(user, True))
        ids = torch.tensor(tokenize([*user, {"role": "assistant", "content": answer}], False))
        with torch.no_grad():
            logs = model(input_ids=ids[None]).logits[0].log_softmax(-1)
        expected = logs[start - 1 : -1].gather(-1, ids[start:, None]).mean()
        assert found[name] == pytest.approx(float(expected), rel=1e-4)
    assert probe.measure(model, {probe.rows[0][1].ids: -3.0})["probe/right"] == -3.0

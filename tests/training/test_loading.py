from pathlib import Path

import pytest
import torch

from codedpo.core.config import TrainingConfig
from codedpo.training.loading import load_model


@pytest.mark.parametrize(
    ("values", "stored", "bfloat16"),
    [
        ({"dtype": "float32"}, torch.float32, False),
        ({"dtype": "bfloat16"}, torch.bfloat16, True),
        ({"dtype": "bfloat16", "lora": None}, torch.float32, True),
    ],
)
def test_weights_that_are_trained_are_float32(
    values: dict[str, object], stored: torch.dtype, bfloat16: bool, base: Path
) -> None:
    model, dtype, products = load_model(str(base), TrainingConfig.model_validate(values), "cpu")
    assert (model.dtype, dtype, products) == (stored, stored, bfloat16)


def test_attention_of_cudnn_is_switched_off(base: Path) -> None:
    torch.backends.cuda.enable_cudnn_sdp(True)
    load_model(str(base), TrainingConfig(), "cpu")
    assert not torch.backends.cuda.cudnn_sdp_enabled()

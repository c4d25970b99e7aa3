import math
from typing import Literal

import pytest

from codedpo.core.config import TrainingConfig
from codedpo.core.errors import DataError
from codedpo.core.records import TrainingStep
from codedpo.training.guards import Warned, check_finite, warnings_of

GOOD = {
    ("loss", "train"): [0.69, 0.6, 0.5, 0.4, 0.3],
    ("loss", "validation"): [0.69, 0.6],
    ("grad_norm", "train"): [1.0, 1.1, 0.9, 1.0, 1.2],
    ("rewards/margins", "train"): [0.0, 0.1, 0.2, 0.3, 0.4],
    ("logps/chosen", "validation"): [-40.0, -38.0],
}


def warned_of(config: TrainingConfig, **changes: list[float]) -> list[Warned]:
    values = GOOD | {
        (name.replace("__", "/"), split): v
        for key, v in changes.items()
        for name, split in [key.split("_at_")]
    }
    steps = [
        TrainingStep(step, 0.0, split, name, value)
        for (name, split), series in values.items()
        for step, value in enumerate(series)
    ]
    warned = warnings_of(steps, config)
    for warning in warned:
        assert warning.sentence.count(".\n") == 0
        assert warning.sentence.endswith(".")
        assert "training." in warning.sentence
    return warned


def reasons(**changes: list[float]) -> list[str]:
    return [warning.reason for warning in warned_of(TrainingConfig(), **changes)]


def test_a_healthy_training_trips_no_guard() -> None:
    assert reasons() == []


def test_margins_that_never_move() -> None:
    assert reasons(rewards__margins_at_train=[0.0, 1e-5, -1e-4, 0.0, 2e-4]) == ["loss_stays_at_log_two"]


def test_gradients_that_vanish() -> None:
    assert reasons(grad_norm_at_train=[1.0, 1e-9, 0.0, 1e-8, 1e-7]) == ["gradients_vanish"]


def test_chosen_answers_that_become_unlikely() -> None:
    assert reasons(logps__chosen_at_validation=[-40.0, -61.0]) == ["chosen_collapses"]


def test_validation_loss_that_only_rises() -> None:
    assert reasons(loss_at_validation=[0.69, 0.7, 0.8]) == ["validation_never_improves"]


@pytest.mark.parametrize(("method", "words"), [("kto", "nll_weight"), ("sft", "beta")])
def test_a_remedy_names_options_of_the_method_alone(method: Literal["kto", "sft"], words: str) -> None:
    steps = {
        "logps__chosen_at_validation": [-40.0, -61.0],
        "grad_norm_at_train": [1.0, 1e-9, 0.0, 1e-8, 1e-7],
    }
    for config, is_named in ((TrainingConfig(), True), (TrainingConfig(method=method), False)):
        sentences = [warning.sentence for warning in warned_of(config, **steps)]
        assert len(sentences) == 2
        assert any(words in sentence for sentence in sentences) == is_named


def test_few_steps_are_not_judged() -> None:
    assert reasons(rewards__margins_at_train=[0.0] * 4, grad_norm_at_train=[0.0] * 4) == []


@pytest.mark.parametrize("name", ["loss", "eval_loss", "grad_norm"])
def test_a_loss_that_is_no_number_stops_at_once(name: str) -> None:
    check_finite([{"step": 1, name: 0.5}])
    with pytest.raises(DataError, match=f"broke at step 2: {name} is nan"):
        check_finite([{"step": 1, name: 0.5}, {"step": 2, name: math.nan}])

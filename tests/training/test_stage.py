import dataclasses
from pathlib import Path
from typing import Any

import pytest

from codedpo.context import StageContext
from codedpo.core.config import Config, LoraConfig, ResourcesConfig, TrainingConfig
from codedpo.core.errors import BackendError, DataError
from codedpo.core.progress import Voice
from codedpo.core.records import Pair, Reject, TrainingStep
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows, write_rows
from codedpo.services import Services
from codedpo.training.stage import run


def context_of(folder: Path, base: Path, pairs: list[Pair], **changes: Any) -> StageContext:
    values: dict[str, Any] = {
        "model": str(base),
        "learning_rate": 1e-2,
        "epochs": 1.0,
        "gradient_accumulation": 2,
        "evaluations": 1,
        "lora": LoraConfig(rank=4, alpha=8),
        "max_length": 128,
    }
    config = Config(
        name="test",
        seed=3,
        training=TrainingConfig(**values | changes),
        resources=ResourcesConfig(device="cpu"),
    )
    write_rows(folder / "pairs.parquet", Pair, pairs)
    stage = StageFolder(folder / "7-training").open({"stage": "training"})
    voice = Voice(quiet=True)
    services = Services(config, folder, voice)
    return StageContext("training", config, stage, {Pair: [folder / "pairs.parquet"]}, {}, services, voice)


def test_the_stage_leaves_curves_weights_and_counts(base: Path, tmp_path: Path, pairs: list[Pair]) -> None:
    twin = dataclasses.replace(pairs[0], pair_id="twin", rejected=pairs[0].chosen)
    context = context_of(tmp_path, base, [*pairs, twin])
    run(context)
    folder = context.folder
    assert {row.name for row in read_rows(folder.parts_of(TrainingStep), TrainingStep)} >= {
        "loss",
        "rewards/chosen",
        "logps/rejected",
        "probe/right",
    }
    (reject,) = read_rows(folder.parts_of(Reject), Reject)
    assert (reject.row_id, reject.reason) == ("twin", "equal_tokens")
    counters = folder.finish().counters
    assert (counters["train rows"], counters["validation rows"], counters["steps"]) == (6, 2, 3)
    left = {path.name for path in folder.path.iterdir() if path.name not in {"identity.json", "stage.json"}}
    assert left == {"adapter", "log.txt", "model", "parts", "rejects", "training_steps"}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= {
        path.name for path in (folder.path / "model").iterdir()
    }


def test_the_tracker_gets_the_curves_and_outlives_the_training(
    base: Path, tmp_path: Path, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboardX", reason="needs the extra `dev`")
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    context = context_of(tmp_path, base, pairs, tracker="tensorboard")
    run(context)
    (file,) = (context.folder.path / "tensorboard").rglob("events.out.tfevents.*")
    assert b"rewards/margins" in file.read_bytes()


def test_an_error_of_the_training_process_is_one_sentence(
    base: Path, tmp_path: Path, pairs: list[Pair]
) -> None:
    with pytest.raises(DataError, match="no pair to train on"):
        run(context_of(tmp_path, base, pairs, max_length=5))


def test_a_broken_training_process_names_its_log(base: Path, tmp_path: Path, pairs: list[Pair]) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in base.iterdir():
        (broken / path.name).write_bytes(path.read_bytes() if path.suffix != ".safetensors" else b"torn")
    with pytest.raises(BackendError, match=r"log.txt"):
        run(context_of(tmp_path, broken, pairs))
    assert "Traceback" in (tmp_path / "7-training" / "log.txt").read_text()

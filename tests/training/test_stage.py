import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from codedpo.context import StageContext
from codedpo.core.config import Config, LoraConfig, ResourcesConfig, TrainingConfig
from codedpo.core.errors import BackendError, ConfigError, DataError
from codedpo.core.progress import Voice
from codedpo.core.records import Pair, Reject, TrainingStep
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows, write_rows
from codedpo.services import Services
from codedpo.training.stage import check, run


def context_of(
    folder: Path, base: Path, pairs: list[Pair], *, processes: int = 1, **changes: Any
) -> StageContext:
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
        resources=ResourcesConfig(device="cpu", training_processes=processes),
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
    assert left == {"adapter", "log.txt", "model", "parts", "reference.json", "rejects", "training_steps"}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= {
        path.name for path in (folder.path / "model").iterdir()
    }


def test_the_seed_of_training_is_the_runs_unless_it_has_its_own(
    base: Path, tmp_path: Path, pairs: list[Pair]
) -> None:
    weights = []
    for number, seed in enumerate((None, 3, 5)):
        context = context_of(tmp_path / str(number), base, pairs, seed=seed)
        run(context)
        weights.append((context.folder.path / "model" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.parametrize("changes", [{"confidence_weighted": True}, {"method": "sft"}, {"lora": None}])
def test_two_processes_share_a_step_and_train_the_same(
    changes: dict[str, Any],
    base: Path,
    tmp_path: Path,
    pairs: list[Pair],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pairs = [dataclasses.replace(pair, probability=0.1 + index / 10) for index, pair in enumerate(pairs)]
    curves, weights, batches = [], [], []
    progress = Voice.progress
    monkeypatch.setattr(
        Voice,
        "progress",
        lambda self, text, total, done=0: batches.append((text, total)) or progress(self, text, total, done),
    )
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        context = context_of(folder, base, pairs, processes=processes, dtype="float32", epochs=2.0, **changes)
        run(context)
        rows = read_rows(context.folder.parts_of(TrainingStep), TrainingStep)
        curves.append({(row.step, row.split, row.name): row.value for row in rows})
        weights.append(load_file(context.folder.path / "model" / "model.safetensors"))
    one, two = (total for text, total in batches if text == "training: batches")
    assert one == 2 * two > 0
    assert curves[0].keys() == curves[1].keys()
    for key, value in curves[0].items():
        # Ties at the start, and means that several processes weigh by tokens, one by batches.
        if key[2] not in {"rewards/accuracies", "mean_token_accuracy", "entropy"}:
            assert curves[1][key] == pytest.approx(value, rel=1e-3, abs=1e-4), key
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=1e-3, atol=1e-4)


def test_processes_divide_the_batches_of_a_step(base: Path, tmp_path: Path, pairs: list[Pair]) -> None:
    with pytest.raises(ValueError, match=r"training_processes is 3, which does not divide .*\(2\)"):
        context_of(tmp_path, base, pairs, processes=3)
    with pytest.raises(ValueError, match=r"training_processes is 2, but the method kto trains otherwise"):
        context_of(tmp_path, base, pairs, processes=2, method="kto")


def test_four_bit_weights_need_a_gpu(base: Path, tmp_path: Path, pairs: list[Pair]) -> None:
    context = context_of(tmp_path, base, pairs, four_bit=True)
    with pytest.raises(BackendError, match=r"training\.four_bit needs a GPU"):
        check(context.services)
    with pytest.raises(ValueError, match="four_bit is for adapters"):
        TrainingConfig(four_bit=True, lora=None)


def weights_of(folder: Path, config: dict[str, Any]) -> Path:
    """Write what can be read of weights without reading them: a config, and a tokenizer's end token."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    (folder / "model.safetensors").touch()
    return folder


@pytest.mark.parametrize(
    ("config", "changes", "kind", "sentence"),
    [
        ({"model_type": "t5"}, {}, DataError, r"cannot load it so \(.*T5Config.*; name other weights"),
        ({"model_type": "unheard_of"}, {"lora": None}, DataError, "cannot load it so .*unheard_of"),
        ({"model_type": "gpt_neo"}, {}, DataError, "cannot load it so .*attention"),
        ({"model_type": "gemma3"}, {}, ConfigError, "a model of type gemma3 does not say how many layers"),
        (
            {"model_type": "qwen2", "num_hidden_layers": 3, "quantization_config": {"quant_method": "awq"}},
            {},
            DataError,
            r"are quantised \(awq\), which cannot be trained",
        ),
        (
            {"model_type": "qwen2", "num_hidden_layers": 3},
            {"lora": LoraConfig(layers=4)},
            ConfigError,
            "training.lora.layers is 4, but the model has 3 layers",
        ),
        ({"model_type": "gpt2"}, {"lora": LoraConfig(layers=13)}, ConfigError, "the model has 12 layers"),
        (
            {"model_type": "gpt2"},
            {"tracker": "abacus"},
            ConfigError,
            "training.tracker abacus cannot be used",
        ),
    ],
)
def test_what_cannot_be_trained_is_said_before_any_work(
    config: dict[str, Any],
    changes: dict[str, Any],
    kind: type[Exception],
    sentence: str,
    tmp_path: Path,
) -> None:
    context = context_of(tmp_path, weights_of(tmp_path / "weights", config), [], **changes)
    with pytest.raises(kind, match=sentence):
        check(context.services)


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        ({"model_type": "gpt2"}, {}),
        ({"model_type": "gemma3"}, {"lora": None}),
        ({"model_type": "qwen2", "num_hidden_layers": 3}, {"lora": LoraConfig(layers=3)}),
    ],
)
def test_what_can_be_trained_passes(config: dict[str, Any], changes: dict[str, Any], tmp_path: Path) -> None:
    context = context_of(tmp_path, weights_of(tmp_path / "weights", config), [], **changes)
    assert f"{tmp_path / 'weights'} is the folder" in check(context.services)


def test_a_gguf_file_that_cannot_be_trained_is_said_before_any_work(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    for architecture in ("qwen2", "rwkv6"):
        writer = gguf.GGUFWriter(tmp_path / f"{architecture}.gguf", architecture)
        writer.add_name("tiny")
        writer.add_block_count(3)
        writer.add_token_list(["</s>"])
        writer.add_eos_token_id(0)
        for write in (
            writer.write_header_to_file,
            writer.write_kv_data_to_file,
            writer.write_tensors_to_file,
        ):
            write()
        writer.close()
    check(context_of(tmp_path, tmp_path / "qwen2.gguf", []).services)
    with pytest.raises(ConfigError, match="the model has 3 layers"):
        check(context_of(tmp_path, tmp_path / "qwen2.gguf", [], lora=LoraConfig(layers=4)).services)
    with pytest.raises(DataError, match="cannot load it so .*rwkv6"):
        check(context_of(tmp_path, tmp_path / "rwkv6.gguf", []).services)


def test_a_tokenizer_without_end_token_is_said_before_any_work(tokenizer: Any, tmp_path: Path) -> None:
    weights = weights_of(tmp_path / "weights", {"model_type": "gpt_bigcode"})
    tokenizer.save_pretrained(weights)
    file = weights / "tokenizer_config.json"
    without = {key: value for key, value in json.loads(file.read_text()).items() if key != "eos_token"}
    file.write_text(json.dumps(without))
    with pytest.raises(DataError, match="has no end token"):
        check(context_of(tmp_path, weights, []).services)
    (weights / "config.json").write_text(json.dumps({"model_type": "qwen2", "num_hidden_layers": 3}))
    check(context_of(tmp_path, weights, []).services)  # the class of Qwen2's tokenizers has one
    (weights / "tokenizer.json").unlink()
    (weights / "config.json").write_text(json.dumps({"model_type": "gpt_bigcode"}))
    with pytest.raises(DataError, match="has no tokenizer that can be loaded"):
        check(context_of(tmp_path, weights, []).services)


def test_a_gpu_that_is_not_there_is_said_before_any_work(base: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    context = context_of(tmp_path, base, [])
    resources = ResourcesConfig(device="cuda")
    services = Services(context.config.model_copy(update={"resources": resources}), tmp_path, context.voice)
    with pytest.raises(BackendError, match="torch finds no GPU"):
        check(services)


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

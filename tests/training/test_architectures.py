"""A tiny random model of every architecture that the shipped configs name, from its training to its evaluation."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.training.conftest import save_model
from tests.training.test_stage import context_of

from codedpo.context import StageContext
from codedpo.core.config import EvaluationConfig
from codedpo.core.errors import DataError
from codedpo.core.records import Metric, Pair, Sample
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows
from codedpo.evaluation import stage as evaluation
from codedpo.llm.gguf_header import read_header
from codedpo.services import Services
from codedpo.training import stage as training

gguf = pytest.importorskip("gguf")

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<{{ message.role }}>\n{{ message.content }}"
    "{% if message.role == 'assistant' %}{{ eos_token }}{% else %}{{ '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)
ATTENTION = {"q_proj", "k_proj", "v_proj"}
LINEAR = {
    "Llama": ATTENTION | {"o_proj", "gate_proj", "up_proj", "down_proj"},
    "Starcoder2": ATTENTION | {"o_proj", "c_fc", "c_proj"},
    "Phi": ATTENTION | {"dense", "fc1", "fc2"},
}
UP = {"Llama": "up_proj", "Starcoder2": "c_fc", "Phi": "fc1"}


def context_with(
    folder: Path, base: Path, pairs: list[Pair], engine: str, template: Path, **values: Any
) -> StageContext:
    """Return the context of the training stage in a run whose template and engine are these."""
    context = context_of(folder, base, pairs, **values)
    config = context.config.model_copy(
        update={
            "model": context.config.model.model_copy(update={"template": str(template)}),
            "evaluation": EvaluationConfig(limit=2, max_tokens=8, engine=engine),
            "resources": context.config.resources.model_copy(update={"engine_cache_gb": 1}),
        }
    )
    return replace(context, config=config, services=Services(config, folder, context.voice))


@pytest.mark.parametrize(
    ("kind", "engine"),
    [("Llama", "transformers"), ("Llama", "local"), ("Starcoder2", "transformers"), ("Phi", "transformers")],
)
def test_it_trains_merges_and_is_evaluated(
    kind: str,
    engine: str,
    tokenizer: Any,
    tmp_path: Path,
    pairs: list[Pair],
    data_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if engine == "local":
        pytest.importorskip("openvino_genai", reason="needs the extra `local`")
    monkeypatch.setenv("CODEDPO_CACHE_DIR", str(tmp_path / "cache"))
    base = save_model(kind, tokenizer, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
    template = tmp_path / "own.jinja"
    template.write_text(TEMPLATE)

    values = {"gguf": True, "max_length": 512, "dtype": "float32"}
    context = context_with(tmp_path, base, pairs, engine, template, **values)
    training.check(context.services)
    evaluation.check(context.services)
    training.run(context)
    folder = context.folder.path
    assert {name.rpartition(".")[2] for name in targets(folder / "adapter")} == LINEAR[kind]
    assert (folder / "model" / "chat_template.jinja").read_text() == TEMPLATE
    assert read_header(folder / "model.gguf")["tokenizer.chat_template"] == TEMPLATE
    (merged,) = (
        w for name, w in load_file(folder / "model" / "model.safetensors").items() if is_up(name, kind)
    )
    (before,) = (w for name, w in load_file(base / "model.safetensors").items() if is_up(name, kind))
    stored = {item.name: item for item in gguf.GGUFReader(folder / "model.gguf").tensors}[
        "blk.1.ffn_up.weight"
    ]
    values = gguf.quants.dequantize(stored.data, stored.tensor_type)
    np.testing.assert_allclose(values, merged, rtol=0, atol=np.abs(merged).max() / 127)
    assert np.abs(merged - before).max() > 1e-3

    own = StageFolder(tmp_path / "8-evaluation").open({"stage": "evaluation"})
    context = replace(context, name="evaluation", folder=own, stage_folders={"training": folder})
    for model in ("before", "after"):
        assert evaluation._engine(context, model).inner.template.source == TEMPLATE
    evaluation.run(context)
    context.services.close()
    samples = read_rows(own.parts_of(Sample), Sample)
    assert [sample.model for sample in samples] == ["before", "before", "after", "after"]
    assert all(sample.completion_tokens for sample in samples)
    assert {row.model for row in read_rows(own.parts_of(Metric), Metric)} == {"before", "after", "difference"}


def targets(adapter: Path) -> set[str]:
    """Return the modules that an adapter changes."""
    names = load_file(adapter / "adapter_model.safetensors")
    return {name.partition(".lora_")[0] for name in names}


def is_up(name: str, kind: str) -> bool:
    return f".layers.1.mlp.{UP[kind]}.weight" in name


@pytest.mark.parametrize("kind", ["Starcoder2", "Phi"])
def test_an_engine_that_cannot_read_it_is_said_before_training(
    kind: str, tokenizer: Any, tmp_path: Path, pairs: list[Pair]
) -> None:
    base = save_model(kind, tokenizer, tmp_path / "base")
    template = tmp_path / "own.jinja"
    template.write_text(TEMPLATE)
    context = context_with(tmp_path, base, pairs, "local", template)
    with pytest.raises(
        DataError, match=r"does not read models of type .*set evaluation\.engine .*transformers"
    ):
        evaluation.check(context.services)


def test_weights_that_cannot_become_gguf_are_said_before_training(
    tokenizer: Any, tmp_path: Path, pairs: list[Pair]
) -> None:
    base = save_model("Llama", tokenizer, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"model_type": "mamba"}))
    context = context_of(tmp_path, base, pairs, gguf=True)
    with pytest.raises(DataError, match="mamba are not exported to GGUF"):
        training.check(context.services)

"""Weights that go to GGUF and back are the same weights, and the engine reads them as transformers does."""

from pathlib import Path

import numpy as np
import pytest
from tests.llm.tiny_models import TEMPLATE, save_tiny

from codedpo.core.errors import DataError
from codedpo.llm.base import Message, Request, Sampling
from codedpo.llm.gguf_export import export_folder, requantise
from codedpo.llm.gguf_header import read_header
from codedpo.llm.weights import from_folder

gguf = pytest.importorskip("gguf")
torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.fixture(scope="module", params=["qwen2", "llama"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def exported(tiny: Path) -> Path:
    target = tiny / "model.gguf"
    export_folder(tiny, target)
    return target


def test_header_names_architecture_tokenizer_and_template(tiny: Path, exported: Path) -> None:
    header = read_header(exported)
    assert header["general.architecture"] in ("qwen2", "llama")
    assert header["tokenizer.chat_template"] == TEMPLATE
    assert header["tokenizer.ggml.tokens"][2] == "<|im_end|>"
    assert header["tokenizer.ggml.eos_token_id"] == 2
    assert len(header["tokenizer.ggml.tokens"]) == 352
    assert (
        header["tokenizer.ggml.pre"] == {"qwen2": "qwen2", "llama": "smollm"}[header["general.architecture"]]
    )


def test_header_reader_agrees_with_the_gguf_package(exported: Path) -> None:
    fields = gguf.GGUFReader(exported).fields
    theirs = {key: field.contents() for key, field in fields.items() if not key.startswith("GGUF.")}
    assert read_header(exported) == theirs


def test_transformers_reads_the_export_as_the_same_function(tiny: Path, exported: Path) -> None:
    from transformers import AutoModelForCausalLM

    from codedpo.llm.gguf_import import dequantise

    back = tiny / "back"
    back.mkdir(exist_ok=True)
    dequantise(exported, back)
    ids = torch.arange(3, 43)[None]
    with torch.inference_mode():
        first, second = (
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(ids).logits
            for folder in (tiny, back)
        )
    likeness = torch.nn.functional.cosine_similarity(first, second, dim=-1)
    # Random weights magnify what eight bits lose; rows in a wrong order give a likeness near 0.
    assert likeness.mean() > 0.99
    assert likeness.min() > 0.95


def test_engine_answers_as_transformers_does(
    tiny: Path, exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("openvino_genai")
    from codedpo.llm.local import OpenVinoGenerator
    from codedpo.llm.transformers import TransformersGenerator

    monkeypatch.setenv("CODEDPO_CACHE_DIR", str(tmp_path))
    model = from_folder(tiny, "tiny", "made by the test")
    texts = ["def add(first, second):", "Write 3.14 and é 42", "x = [1, 2]\n\n    y"]
    requests = [Request(text, (Message("user", text),), Sampling(max_tokens=6)) for text in texts]
    # On processors with AMX or VNNI the engine rounds activations to bf16 or 8 bits unless it is told otherwise.
    exact = {
        "KV_CACHE_PRECISION": "f32",
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }
    engine = OpenVinoGenerator(model, cache_gb=1, max_sequences=4, properties=exact)
    torch_kind = TransformersGenerator(model, batch_size=2, device="cpu", dtype="float32")
    first = {reply.request_id: reply for reply in engine.generate(requests)}
    second = {reply.request_id: reply for reply in torch_kind.generate(requests)}
    engine.close()
    assert {name: reply.prompt_tokens for name, reply in first.items()} == {
        name: reply.prompt_tokens for name, reply in second.items()
    }
    # The engine leaves out bytes that are no UTF-8, transformers shows them as U+FFFD.
    assert {name: reply.text for name, reply in first.items()} == {
        name: reply.text.replace("\ufffd", "") for name, reply in second.items()
    }


def test_requantised_file_keeps_metadata_and_weights(exported: Path, tmp_path: Path) -> None:
    target = tmp_path / "again.gguf"
    requantise(exported, target)
    assert read_header(target) == read_header(exported)
    for one, other in zip(gguf.GGUFReader(exported).tensors, gguf.GGUFReader(target).tensors, strict=True):
        assert (one.name, one.tensor_type) == (other.name, other.tensor_type)
        values = [gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in (one, other)]
        np.testing.assert_allclose(*values, rtol=0, atol=1e-4)


def test_matrices_are_eight_bit_and_vectors_are_not(exported: Path) -> None:
    kinds = gguf.GGMLQuantizationType
    for tensor in gguf.GGUFReader(exported).tensors:
        assert tensor.tensor_type == (kinds.F32 if len(tensor.shape) == 1 else kinds.Q8_0), tensor.name


def test_unknown_architecture_is_refused(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    with pytest.raises(DataError, match="mamba are not exported"):
        export_folder(tmp_path, tmp_path / "out.gguf")


def test_torn_header_is_refused(exported: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.gguf"
    torn.write_bytes(exported.read_bytes()[:300])
    with pytest.raises(DataError, match="cannot be read"):
        read_header(torn)

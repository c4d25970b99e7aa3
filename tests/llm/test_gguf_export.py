"""Weights that go to GGUF and back are the same weights, and the engine reads them as transformers does."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.llm.tiny_models import TEMPLATE, save_tiny

from codedpo.core.errors import DataError
from codedpo.llm.base import Message, Request, Sampling
from codedpo.llm.gguf_export import export_folder, requantise
from codedpo.llm.gguf_header import read_header
from codedpo.llm.gguf_metadata import DEEPSEEK_CODER
from codedpo.llm.weights import check_engine, engine_gguf, from_folder, resolve

gguf = pytest.importorskip("gguf")
torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.fixture(scope="module", params=["qwen2", "llama", "starcoder2", "phi"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def exported(tiny: Path) -> Path:
    target = tiny / "model.gguf"
    export_folder(tiny, target)
    return target


def test_header_names_architecture_tokenizer_and_template(tiny: Path, exported: Path) -> None:
    header = read_header(exported)
    kind = json.loads((tiny / "config.json").read_text())["model_type"]
    assert header["general.architecture"] == {"phi": "phi2"}.get(kind, kind)
    assert header["tokenizer.chat_template"] == TEMPLATE
    assert header["tokenizer.ggml.tokens"][2] == "<|im_end|>"
    assert header["tokenizer.ggml.eos_token_id"] == 2
    assert len(header["tokenizer.ggml.tokens"]) == 352
    cuts = {"qwen2": "qwen2", "llama": "smollm", "starcoder2": "smollm", "phi": "gpt-2"}
    assert header["tokenizer.ggml.pre"] == cuts[kind]


def test_header_reader_agrees_with_the_gguf_package(exported: Path) -> None:
    fields = gguf.GGUFReader(exported).fields
    theirs = {key: field.contents() for key, field in fields.items() if not key.startswith("GGUF.")}
    assert read_header(exported) == theirs


def test_every_tensor_is_there_with_its_values(tiny: Path, exported: Path) -> None:
    from safetensors.torch import load_file

    weights = load_file(tiny / "model.safetensors")
    kind = read_header(exported)["general.architecture"]
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(exported).tensors}
    number = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == kind)
    names = gguf.get_tensor_name_map(number, 2)
    assert len(stored) == len(weights)
    for name, weight in weights.items():
        tensor = stored.pop(names.get_name(name, try_suffixes=(".weight", ".bias")))
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        expected = weight.float().numpy()
        assert values.shape == expected.shape
        if kind == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            values, expected = np.sort(values, 0), np.sort(expected, 0)  # rows stand in another order
        largest = np.abs(expected).max()
        np.testing.assert_allclose(values, expected, rtol=0, atol=largest / 127)
    assert not stored


def test_numbers_of_starcoder2_and_phi(tmp_path: Path) -> None:
    for kind, name, epsilon in (
        ("starcoder2", "starcoder2", "norm_epsilon"),
        ("phi", "phi2", "layer_norm_eps"),
    ):
        folder = save_tiny(kind, tmp_path / kind)
        config = json.loads((folder / "config.json").read_text()) | {epsilon: 2e-3}
        config["rope_parameters"] = {"rope_theta": 12345.0, "rope_type": "linear", "factor": 4.0}
        config["rope_parameters"] |= {"partial_rotary_factor": 0.5} if kind == "phi" else {}
        (folder / "config.json").write_text(json.dumps(config))
        export_folder(folder, folder / "model.gguf")
        header = read_header(folder / "model.gguf")
        found = {key.removeprefix(f"{name}."): value for key, value in header.items()}
        assert found["attention.layer_norm_epsilon"] == pytest.approx(2e-3)
        assert (found["rope.freq_base"], found["rope.scaling.factor"]) == (12345.0, 4.0)
        assert (found["attention.head_count"], found["attention.head_count_kv"]) == (4, 2)
        assert found["rope.scaling.type"] == "linear"
        assert found.get("rope.dimension_count") == (8 if kind == "phi" else None)


def test_transformers_reads_the_export_as_the_same_function(tiny: Path, exported: Path) -> None:
    if read_header(exported)["general.architecture"] == "phi2":
        pytest.skip("transformers does not read phi2 from GGUF")
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

    if read_header(exported)["general.architecture"] in ("starcoder2", "phi2"):
        pytest.skip("not read by the engine: the next test")
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


def test_what_the_engine_does_not_read_is_said_before_anything_is_written(
    tiny: Path, exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CODEDPO_CACHE_DIR", str(tmp_path / "cache"))
    kind = read_header(exported)["general.architecture"]
    for model in (from_folder(tiny, "tiny", ""), resolve(str(exported))):
        if kind in ("qwen2", "llama"):
            check_engine(model)
            continue
        for attempt in (check_engine, engine_gguf):
            with pytest.raises(DataError, match=f"of type {kind} .*it reads qwen2, llama.*evaluation.engine"):
                attempt(model)
    assert not list((tmp_path / "cache").glob("engine/*"))


def test_how_deepseek_coder_cuts_text_has_a_name(tmp_path: Path) -> None:
    from tokenizers import Regex, Tokenizer
    from tokenizers import pre_tokenizers as pre

    folder = save_tiny("llama", tmp_path)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    splits = [pre.Split(Regex(text), behavior="isolated") for text in DEEPSEEK_CODER]
    digits, byte_level = pre.Digits(individual_digits=True), pre.ByteLevel(False, use_regex=False)
    for steps, name in (([*splits, digits, byte_level], "deepseek-coder"), ([*splits[1:], byte_level], "")):
        tokenizer.pre_tokenizer = pre.Sequence(steps)
        tokenizer.save(str(folder / "tokenizer.json"))
        if name:
            export_folder(folder, folder / "model.gguf")
            assert read_header(folder / "model.gguf")["tokenizer.ggml.pre"] == name
        else:
            with pytest.raises(DataError, match="cuts text in a way"):
                export_folder(folder, folder / "model.gguf")


def test_stretched_positions_are_exported_but_not_for_the_engine(tmp_path: Path) -> None:
    folder = save_tiny("llama", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"] = {"rope_theta": 1e5, "rope_type": "linear", "factor": 4.0}
    (folder / "config.json").write_text(json.dumps(config))
    export_folder(folder, folder / "model.gguf")
    assert read_header(folder / "model.gguf")["llama.rope.scaling.factor"] == 4.0
    with pytest.raises(DataError, match="positions of type 'linear'.*evaluation.engine and model.kind"):
        check_engine(from_folder(folder, "tiny", ""))


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

"""A model's name leads to its files, or to one sentence."""

import json
import shutil
from pathlib import Path

import pytest
from tests.llm.tiny_models import save_tiny

from codedpo.core.cache import cache_folder, lock
from codedpo.core.errors import BackendError, ConfigError, DataError
from codedpo.core.fingerprint import file_sha256
from codedpo.llm import weights
from codedpo.llm.gguf_header import read_header
from codedpo.llm.weights import engine_gguf, hf_folder, resolve

pytest.importorskip("gguf")
pytest.importorskip("transformers")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CODEDPO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return cache_folder()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("qwen2", tmp_path_factory.mktemp("model"))


def test_folder_becomes_an_engine_file_once(folder: Path, cache: Path) -> None:
    model = resolve(str(folder))
    assert model.folder == folder
    assert hf_folder(model) == folder
    file = engine_gguf(model)
    assert file == cache / "engine" / f"{model.digest}-q8_0.gguf"
    written = file.stat().st_mtime_ns
    assert engine_gguf(resolve(str(folder))).stat().st_mtime_ns == written


def test_gguf_file_becomes_a_folder_and_an_engine_file(folder: Path, cache: Path) -> None:
    model = resolve(str(engine_gguf(resolve(str(folder)))))
    assert model.gguf is not None
    made = hf_folder(model)
    assert made == cache / "folders" / model.digest[:16]
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= {path.name for path in made.iterdir()}
    assert read_header(engine_gguf(model)) == read_header(model.gguf)


def test_digest_follows_the_weights(folder: Path, tmp_path: Path) -> None:
    other = save_tiny("llama", tmp_path / "other")
    assert resolve(str(other)).digest != resolve(str(folder)).digest


def test_weights_are_read_once_while_they_stay_as_they_are(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(path: Path) -> str:
        read.append(path.suffix)
        return file_sha256(path)

    monkeypatch.setattr(weights, "file_sha256", counted)
    copy = shutil.copytree(folder, tmp_path / "copy")
    digest = resolve(str(copy)).digest
    files = len(read)
    assert ".safetensors" in read
    assert resolve(str(copy)).digest == digest
    assert len(read) == files
    with (copy / "config.json").open("a") as file:
        file.write("\n")
    assert resolve(str(copy)).digest != digest
    assert read[files:] == [".json"]


def test_a_revision_of_the_hub_is_another_model(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    stored = tmp_path / "models--some--model"
    snapshots = {"main": "1" * 40, "refs/pr/3": "2" * 40}
    for revision, commit in snapshots.items():
        shutil.copytree(folder, stored / "snapshots" / commit)
        (stored / "snapshots" / commit / "config.json").write_text(json.dumps({"revision": revision}))
        reference = stored / "refs" / revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(commit)
    for name, revision in (("some/model", "main"), ("some/model@refs/pr/3", "refs/pr/3")):
        model = resolve(name)
        assert (model.name, model.folder) == (name, stored / "snapshots" / snapshots[revision])
    assert resolve("some/model").digest != resolve("some/model@refs/pr/3").digest


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("no-such-model", ConfigError, "is unknown: give qwen2.5-coder-0.5b-instruct"),
        ("missing.gguf", DataError, r"missing\.gguf does not exist"),
        ("nobody/no-such-model", BackendError, "cannot be had from the Hugging Face hub"),
    ],
)
def test_wrong_names_get_one_sentence(name: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        resolve(name)
    assert "\n" not in str(caught.value)


def test_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs config\.json and \*\.safetensors"):
        resolve(str(tmp_path))


def test_damaged_gguf_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "damaged.gguf"
    file.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(DataError, match=r"damaged\.gguf"):
        engine_gguf(resolve(str(file)))


def test_lock_is_free_again(cache: Path) -> None:
    for _ in range(2):
        with lock("a/b"):
            assert (cache / "locks" / "a--b.lock").exists()

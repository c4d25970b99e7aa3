"""Weights as a GGUF file that the local engine reads, every matrix in one format (Q8_0).

Q8_0 keeps blocks of 32 weights as 8-bit integers with a 16-bit scale. Only one tensor is in memory at a time.
"""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codedpo.core.errors import BackendError, DataError
from codedpo.llm.gguf_metadata import Architecture, add_metadata, architecture_of

Float = npt.NDArray[np.float32]
Tensor = tuple[str, tuple[int, ...], Callable[[], Float]]
"""Name in GGUF, shape, and a function that reads the values."""

BLOCK = 32
"""Weights a block of Q8_0."""


def export_folder(folder: Path, target: Path) -> None:
    """Write a Hugging Face folder (merged weights) as GGUF Q8_0.

    Raises:
        BackendError: the package ``gguf`` is missing.
        DataError: the architecture, the tokenizer or a tensor cannot be written as GGUF.
    """
    writer, tensors = _prepared(folder, target)
    _write(writer, tensors)


def check_folder(folder: Path) -> None:
    """Make sure that a Hugging Face folder can be exported, without reading its weights.

    Raises:
        BackendError: the package ``gguf`` is missing.
        DataError: the architecture, the tokenizer or a tensor cannot be written as GGUF.
    """
    _prepared(folder, None)


def _prepared(folder: Path, target: Path | None) -> tuple[Any, list[Tensor]]:
    """Return a writer that holds the metadata of a folder, and the tensors that it is to write."""
    gguf = _package()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    architecture = architecture_of(config)
    writer = gguf.GGUFWriter(target, architecture.name, use_temp_file=False)
    add_metadata(writer, folder, config)
    return writer, list(_folder_tensors(folder, config, architecture))


def requantise(source: Path, target: Path) -> None:
    """Write a GGUF file again with every matrix as Q8_0, its metadata unchanged.

    Raises:
        BackendError: the package ``gguf`` is missing.
        DataError: the file is damaged, or a tensor's format cannot be read.
    """
    gguf = _package()
    try:
        reader = gguf.GGUFReader(source)
    except (ValueError, IndexError, OSError) as error:
        raise DataError(f"{source} is no readable GGUF file ({error})") from error
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, architecture, use_temp_file=False)
    for key, field in reader.fields.items():
        if key == "general.file_type":
            writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
        elif not key.startswith("GGUF.") and key != "general.architecture":
            inner = field.types[1] if len(field.types) > 1 else None
            writer.add_key_value(key, field.contents(), field.types[0], sub_type=inner)

    def values(tensor: Any) -> Callable[[], Float]:
        return lambda: np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)

    _write(writer, [(item.name, tuple(map(int, item.shape[::-1])), values(item)) for item in reader.tensors])


def _package() -> Any:
    """Import ``gguf``, or say how to get it."""
    try:
        import gguf
    except ImportError as error:
        raise BackendError("the local engine needs the package gguf: pip install 'codedpo[local]'") from error
    return gguf


def _write(writer: Any, tensors: list[Tensor]) -> None:
    """Write the file: matrices as Q8_0 where their rows divide into blocks (else 16-bit), vectors as 32-bit."""
    gguf = _package()
    kinds = gguf.GGMLQuantizationType
    plan: list[Any] = []
    for name, shape, _ in tensors:
        stored: tuple[int, ...] = shape
        number: np.dtype[Any]
        if len(shape) == 1:
            kind, number = kinds.F32, np.dtype(np.float32)
        elif shape[-1] % BLOCK:
            kind, number = kinds.F16, np.dtype(np.float16)
        else:
            kind, number = kinds.Q8_0, np.dtype(np.uint8)
            stored = gguf.quant_shape_to_byte_shape(shape, kind)
        plan.append(kind)
        writer.add_tensor_info(name, stored, number, math.prod(stored) * number.itemsize, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for (_, _, values), kind in zip(tensors, plan, strict=True):
        writer.write_tensor_data(gguf.quants.quantize(values(), kind))
    writer.close()


def _folder_tensors(folder: Path, config: dict[str, Any], architecture: Architecture) -> Iterator[Tensor]:
    """List the tensors of a folder under their names in GGUF."""
    import gguf

    kind = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture.name)
    names = gguf.get_tensor_name_map(kind, config["num_hidden_layers"])
    for path in sorted(folder.glob("*.safetensors")):
        for name, shape, values in _safetensors(path):
            if name == "lm_head.weight" and config.get("tie_word_embeddings"):
                continue
            target = names.get_name(name, try_suffixes=(".weight", ".bias"))
            if target is None:
                raise DataError(f"{path} holds {name}, which GGUF's {architecture.name} has no name for")
            if architecture.interleaved_rotary and "self_attn.q_proj" in name:
                values = _interleaved(values, config["num_attention_heads"])
            elif architecture.interleaved_rotary and "self_attn.k_proj" in name:
                heads = config.get("num_key_value_heads") or config["num_attention_heads"]
                values = _interleaved(values, heads)
            yield target, shape, values


def _interleaved(values: Callable[[], Float], heads: int) -> Callable[[], Float]:
    """Put the rows of each head from halves (Hugging Face) into pairs (GGUF's llama)."""

    def read() -> Float:
        matrix = values()
        halves = matrix.reshape(heads, 2, matrix.shape[0] // heads // 2, *matrix.shape[1:])
        return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(matrix.shape))

    return read


def _safetensors(path: Path) -> Iterator[Tensor]:
    """List the tensors of a safetensors file; read here because numpy has no bfloat16 and torch may be absent."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    body = np.memmap(path, np.uint8, "r", offset=8 + size)

    def values(entry: dict[str, Any]) -> Callable[[], Float]:
        def read() -> Float:
            raw = body[slice(*entry["data_offsets"])]
            if entry["dtype"] == "BF16":
                array = (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
            else:
                array = raw.view({"F16": np.float16, "F32": np.float32}[entry["dtype"]]).astype(np.float32)
            return array.reshape(entry["shape"])

        return read

    for name, entry in header.items():
        if entry["dtype"] not in ("BF16", "F16", "F32"):
            raise DataError(
                f"{path} holds {name} as {entry['dtype']}: save the weights as 16- or 32-bit floats"
            )
        yield name, tuple(entry["shape"]), values(entry)

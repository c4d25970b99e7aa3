"""The metadata at the start of a GGUF file, in a fifth of a second.

The reader of the package ``gguf`` maps every token of the vocabulary to an array of its own, which takes
several seconds. Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import struct
from pathlib import Path
from typing import Any, BinaryIO

from codedpo.core.errors import DataError

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""``struct`` letters of GGUF's value types (little endian)."""
STRING, ARRAY = 8, 9


def read_header(path: Path) -> dict[str, Any]:
    """Return the metadata of a GGUF file: key -> number, string or list.

    Raises:
        DataError: the file is missing, torn, or no GGUF of version 2 or 3.
    """
    try:
        with path.open("rb") as file:
            magic, version, _, count = struct.unpack("<4sIQQ", file.read(24))
            if magic != b"GGUF" or version not in (2, 3):
                raise DataError(f"{path} is no GGUF file of version 2 or 3: give another file")
            return dict(_entry(file) for _ in range(count))
    except (OSError, struct.error, UnicodeDecodeError, KeyError) as error:
        raise DataError(f"the GGUF file {path} cannot be read ({error}): fetch it again") from error


def _entry(file: BinaryIO) -> tuple[str, Any]:
    """Read one key and its value."""
    key = _string(file)
    (kind,) = struct.unpack("<I", file.read(4))
    return key, _value(file, kind)


def _value(file: BinaryIO, kind: int) -> Any:
    """Read a value of one of GGUF's types."""
    if kind == STRING:
        return _string(file)
    if kind != ARRAY:
        letter = SCALARS[kind]
        return struct.unpack(f"<{letter}", file.read(struct.calcsize(letter)))[0]
    item, count = struct.unpack("<IQ", file.read(12))
    if item in SCALARS:
        form = f"<{count}{SCALARS[item]}"
        return list(struct.unpack(form, file.read(struct.calcsize(form))))
    return [_value(file, item) for _ in range(count)]


def _string(file: BinaryIO) -> str:
    """Read a string with its length before it."""
    (size,) = struct.unpack("<Q", file.read(8))
    raw = file.read(size)
    if len(raw) != size:
        raise struct.error("the file ends too early")
    return raw.decode("utf-8")

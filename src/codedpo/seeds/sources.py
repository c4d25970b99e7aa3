"""Where seeds come from: packages of PyPI, folders, tables of files. Read as files, never imported."""

import gzip
import io
import itertools
import json
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from pathlib import Path, PurePosixPath
from typing import Any

from codedpo.core.cache import cache_folder
from codedpo.core.config import SourceConfig
from codedpo.core.errors import ConfigError, DataError
from codedpo.core.fingerprint import digest_of, file_sha256
from codedpo.core.pypi import download
from codedpo.core.records import Reject
from codedpo.seeds.licenses import of_metadata

_SKIPPED_FOLDERS = frozenset({"node_modules", "site-packages", "__pycache__", "build", "dist"})
_MOST_BYTES_READ_TWICE = 2**30
"""What is larger is recognised by sizes and times of its files, since every command would read it for its digest."""

_TABLES = (".parquet", ".jsonl", ".jsonl.gz")
"""How the names of tables in a folder end."""
_COLUMNS = {
    "content": ("content", "code"),
    "path": ("path", "max_stars_repo_path"),
    "repo_name": ("repo_name", "max_stars_repo_name", "repository_name"),
    "license": ("license", "max_stars_repo_licenses", "licenses", "detected_licenses"),
}
"""What a row holds -> the names of its column: those of CodeParrot, which github-code (``code``), The Stack
(``max_stars_repo_*``), its small sample (``repository_name``, ``licenses``) and The Stack v2, once its contents are
fetched (``detected_licenses``), have otherwise. The first that a table has counts."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One Python file and where it comes from."""

    repo_name: str
    path: str
    license: str | tuple[str, ...]
    text: str


def read(source: SourceConfig) -> Iterator[SourceFile | Reject]:
    """Yield the Python files of a source, sorted by path; a file that cannot be decoded is a reject.

    Raises:
        ConfigError: the folder or file does not exist, or a licence is given for rows that state theirs.
        DataError: the archive or table is broken or lacks a column.
        BackendError: the package cannot be downloaded.
    """
    check_source(source)
    return {"pypi": _read_package, "folder": _read_folder, "rows": _read_rows}[source.kind](source)


def check_source(source: SourceConfig) -> None:
    """See that a folder or table is on this machine.

    Raises:
        ConfigError: it is not.
    """
    path = Path(source.path)
    if source.kind == "folder" and not path.is_dir():
        raise ConfigError(f"the seed folder {path} does not exist; mend seeds.sources.path.")
    if source.kind == "rows" and not path.exists():
        raise ConfigError(f"the table {path} does not exist; mend seeds.sources.path.")


def _decoded(repo_name: str, path: str, license_name: str, data: bytes) -> SourceFile | Reject:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        return Reject(f"{repo_name}:{path}", "not_text", str(error))
    return SourceFile(repo_name, path, license_name, text.lstrip("\ufeff").replace("\r\n", "\n"))


def _read_package(source: SourceConfig) -> Iterator[SourceFile | Reject]:
    archive = download(source.name, source.version, cache_folder())
    members = _members(archive)
    metadata, license_text = Message(), ""
    for path, data in members.items():
        name = PurePosixPath(path).name
        if name in {"METADATA", "PKG-INFO"} and not metadata.keys():
            metadata = BytesParser().parsebytes(data)
        elif name.upper().startswith(("LICENSE", "LICENCE", "COPYING")) and not license_text:
            license_text = data.decode("utf-8", errors="replace")
    license_name = source.license.lower() or of_metadata(metadata, license_text)
    for path, data in members.items():
        if path.endswith(".py"):
            yield _decoded(f"{source.name}=={source.version}", path, license_name, data)


def _members(archive: Path) -> dict[str, bytes]:
    """Return the files of a wheel or source distribution by path, sorted, the nearest to the root first."""
    try:
        if archive.name.endswith((".whl", ".zip")):
            with zipfile.ZipFile(archive) as opened:
                names = [name for name in opened.namelist() if _is_wanted(name)]
                contents = {name: opened.read(name) for name in names}
        else:
            with tarfile.open(archive) as tar:
                files = [member for member in tar if member.isfile() and _is_wanted(member.name)]
                contents = {member.name: _bytes(tar.extractfile(member)) for member in files}
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError) as error:
        raise DataError(f"{archive} is not a readable archive ({error}); delete it and run again.") from error
    return dict(sorted(contents.items(), key=lambda item: (item[0].count("/"), item[0])))


def _bytes(file: Any) -> bytes:
    return bytes(file.read()) if file is not None else b""


def _is_wanted(path: str) -> bool:
    name = PurePosixPath(path).name
    return (
        path.endswith(".py")
        or name in {"METADATA", "PKG-INFO"}
        or name.upper().startswith(("LICENSE", "LICENCE", "COPYING"))
    )


def source_digest(source: SourceConfig) -> str:
    """Digest what a folder or table holds, so that a change is noticed; '' where it is not on this machine.

    A package needs none: its name and version say what it holds.
    """
    path = Path(source.path)
    if source.kind == "rows" and path.is_file():
        return _digests([path])[0]
    if source.kind == "pypi" or not path.is_dir():
        return ""
    files = dict(_files(path)) if source.kind == "folder" else {file.name: file for file in _tables(path)}
    return digest_of(dict(zip(files, _digests(files.values()), strict=True)))


def _digests(files: Collection[Path]) -> list[str]:
    """Digest the files of a source, each by itself."""
    statuses = [file.stat() for file in files]
    if sum(status.st_size for status in statuses) > _MOST_BYTES_READ_TWICE:
        return [digest_of([status.st_size, status.st_mtime_ns]) for status in statuses]
    return [file_sha256(file)[:16] for file in files]


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the Python files below a folder, sorted, each with its path from there."""
    for path in sorted(folder.rglob("*.py")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if not hidden and not _SKIPPED_FOLDERS & set(relative.parts) and path.is_file():
            yield relative.as_posix(), path


def _read_folder(source: SourceConfig) -> Iterator[SourceFile | Reject]:
    folder = Path(source.path)
    name = source.name or folder.resolve().name
    for relative, path in _files(folder):
        yield _decoded(name, relative, source.license.lower(), path.read_bytes())


def _tables(folder: Path) -> list[Path]:
    """List the tables in a folder, sorted by name."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.name.endswith(_TABLES) and not path.name.startswith(".") and path.is_file()
    )


def _read_rows(source: SourceConfig) -> Iterator[SourceFile | Reject]:
    path = Path(source.path)
    tables = _tables(path) if path.is_dir() else [path]
    if not tables:
        raise ConfigError(
            f"the folder {path} holds no table ({', '.join(_TABLES)}); name one that does as seeds.sources.path, or, "
            "for a folder of Python files, set the source's kind to folder."
        )
    for row in itertools.chain.from_iterable(_rows(table, source.license) for table in tables):
        if not str(row["path"]).endswith(".py"):
            continue
        given = row.get("license", source.license)
        licenses = (
            tuple(str(item).lower() for item in given) if isinstance(given, list) else str(given).lower()
        )
        yield SourceFile(str(row["repo_name"]), str(row["path"]), licenses, str(row["content"]))


def _rows(path: Path, license_name: str) -> Iterator[dict[str, Any]]:
    return (_parquet_rows if path.suffix == ".parquet" else _json_rows)(path, license_name)


def _columns(found: Collection[str], place: str, license_name: str) -> dict[str, str]:
    """Return the name of the column that holds each of ``_COLUMNS``, without the licence where it is given.

    Raises:
        DataError: a column is missing.
        ConfigError: a licence is given, and rows state theirs.
    """
    columns = {key: next((name for name in names if name in found), "") for key, names in _COLUMNS.items()}
    if license_name and columns["license"]:
        raise ConfigError(
            f"{place} states licences in {columns['license']}; leave seeds.sources.license out."
        )
    if license_name:
        del columns["license"]
    if missing := [" or ".join(_COLUMNS[key]) for key, name in columns.items() if not name]:
        remedy = "rename its columns"
        if not columns.get("license", "given"):
            remedy += ", or state the licence of all rows as seeds.sources.license"
        raise DataError(
            f"{place} has no column {', and no '.join(missing)}; it has {', '.join(found) or 'none'}: {remedy}."
        )
    return columns


def _parquet_rows(path: Path, license_name: str) -> Iterator[dict[str, Any]]:
    """Yield what is needed of each row, batch by batch, and read no other column."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        columns = _columns(file.schema_arrow.names, str(path), license_name)
        for batch in file.iter_batches(batch_size=1000, columns=list(columns.values())):
            for row in batch.to_pylist():
                yield {key: row[name] for key, name in columns.items()}
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} is not readable Parquet ({error}); give JSON lines or Parquet.") from error


def _json_rows(path: Path, license_name: str) -> Iterator[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                row = _row(path, number, line)
                columns = _columns(row, f"line {number} of {path}", license_name)
                yield {key: row[name] for key, name in columns.items()}
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read after line {number} ({error}); give whole JSON lines in UTF-8, gzipped where "
            "the name ends in .gz."
        ) from error


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"line {number} of {path} is not JSON ({error}); mend it.") from error
    if not isinstance(row, dict):
        raise DataError(f"line {number} of {path} is not an object; mend it.")
    return row

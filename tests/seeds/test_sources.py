import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codedpo.core.config import SourceConfig
from codedpo.core.errors import ConfigError, DataError
from codedpo.core.records import Reject
from codedpo.seeds.sources import SourceFile, read

FILES = {
    "thing/b.py": b"def b(): ...\r\n",
    "thing/a.py": "# coding: latin-1\nx = '\xe9'\n".encode("latin-1"),
    "thing/bad.py": b"\xff\xfe\x00",
    "thing/data.txt": b"no Python",
    "thing-1.0.dist-info/METADATA": b"Name: thing\nLicense-Expression: MIT\n\ntext",
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("CODEDPO_CACHE_DIR", str(folder))
    (folder / "pypi" / "thing-1.0").mkdir(parents=True)
    return folder / "pypi" / "thing-1.0"


def check_package() -> None:
    a, b, bad = read(SourceConfig(kind="pypi", name="thing", version="1.0"))
    assert isinstance(a, SourceFile)
    assert (a.repo_name, a.license) == ("thing==1.0", "mit")
    assert "\xe9" in a.text
    assert isinstance(b, SourceFile)
    assert b.text == "def b(): ...\n"
    assert isinstance(bad, Reject)
    assert bad.reason == "not_text"


def test_wheel(cache: Path) -> None:
    with zipfile.ZipFile(cache / "thing-1.0-py3-none-any.whl", "w") as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    check_package()


def test_source_distribution(cache: Path) -> None:
    with tarfile.open(cache / "thing-1.0.tar.gz", "w:gz") as archive:
        for name, data in FILES.items():
            member = tarfile.TarInfo(f"thing-1.0/{name.replace('thing-1.0.dist-info/METADATA', 'PKG-INFO')}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    check_package()


def test_a_licence_given_for_a_package_is_taken(cache: Path) -> None:
    with zipfile.ZipFile(cache / "thing-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("thing/b.py", FILES["thing/b.py"])
    source = SourceConfig(kind="pypi", name="thing", version="1.0")
    (silent,) = read(source)
    (given,) = read(source.model_copy(update={"license": "BSD-3-Clause"}))
    assert isinstance(silent, SourceFile)
    assert isinstance(given, SourceFile)
    assert (silent.license, given.license) == ("unknown", "bsd-3-clause")


def test_broken_archive_and_changed_archive_are_refused(cache: Path) -> None:
    (cache / "thing-1.0.tar.gz").write_bytes(b"torn")
    with pytest.raises(DataError, match="not a readable archive"):
        list(read(SourceConfig(kind="pypi", name="thing", version="1.0")))
    (cache / "thing-1.0.tar.gz.sha256").write_text("0" * 64)
    with pytest.raises(DataError, match="sha256"):
        list(read(SourceConfig(kind="pypi", name="thing", version="1.0")))


def test_a_torn_archive_is_named(cache: Path) -> None:
    with tarfile.open(cache / "thing-1.0.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("thing-1.0/thing/a.py")
        member.size = 100_000
        archive.addfile(member, io.BytesIO(bytes(number % 251 for number in range(100_000))))
    whole = (cache / "thing-1.0.tar.gz").read_bytes()
    (cache / "thing-1.0.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a readable archive"):
        list(read(SourceConfig(kind="pypi", name="thing", version="1.0")))


def test_folder_is_sorted_and_hidden_parts_are_skipped(tmp_path: Path) -> None:
    for name in ("z.py", "sub/a.py", ".venv/lib.py", "node_modules/x.py", "note.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    files = list(read(SourceConfig(kind="folder", name="mine", path=str(tmp_path), license="MIT")))
    assert [file.path for file in files if isinstance(file, SourceFile)] == ["sub/a.py", "z.py"]
    assert {file.license for file in files if isinstance(file, SourceFile)} == {"mit"}


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        list(read(SourceConfig(kind="folder", path=str(tmp_path / "no"), license="mit")))


ROWS = [
    {"content": "def f(): ...", "path": "a.py", "repo_name": "x/y", "license": ["MIT", "Apache-2.0"]},
    {"content": "int main", "path": "a.c", "repo_name": "x/y", "license": ["MIT"]},
]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.parquet"])
def test_rows_in_the_layout_of_the_stack(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif name.endswith("gz"):
        path.write_bytes(gzip.compress(lines.encode()))
    else:
        path.write_text(lines)
    assert list(read(SourceConfig(kind="rows", path=str(path)))) == [
        SourceFile("x/y", "a.py", ("mit", "apache-2.0"), "def f(): ...")
    ]


@pytest.mark.parametrize(
    ("line", "message"), [("{", "not JSON"), ("[]", "not an object"), ("{}", "lacks content")]
)
def test_bad_rows_are_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "rows.jsonl").write_text(line)
    with pytest.raises(DataError, match=message):
        list(read(SourceConfig(kind="rows", path=str(tmp_path / "rows.jsonl"))))


LINE = (json.dumps(ROWS[0]) + "\n").encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.jsonl.gz", LINE),
        ("torn.jsonl.gz", gzip.compress(LINE * 100, mtime=0)[:-20]),
        ("damaged.jsonl.gz", gzip.compress(LINE, mtime=0)[:20] + b"\xff" * 40),
        ("latin.jsonl", LINE.replace(b"def f", "# \xe9".encode("latin-1"))),
    ],
    ids=["no gzip", "torn", "damaged", "no UTF-8"],
)
def test_a_table_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        DataError, match=rf"{name} cannot be read after line \d+ \(.*\); give whole JSON lines"
    ):
        list(read(SourceConfig(kind="rows", path=str(tmp_path / name))))

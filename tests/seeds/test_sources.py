import gzip
import io
import json
import tarfile
import zipfile
from itertools import islice
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


def test_a_folder_without_tables_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1")
    with pytest.raises(
        ConfigError, match=r"holds no table \(\.parquet, \.jsonl, .*; name one that does as seeds"
    ):
        list(read(SourceConfig(kind="rows", path=str(tmp_path))))


ROWS = [
    {"content": "def f(): ...", "path": "a.py", "repo_name": "x/y", "license": ["MIT", "Apache-2.0"]},
    {"content": "int main", "path": "a.c", "repo_name": "x/y", "license": ["MIT"]},
]
STACK = ("content", "max_stars_repo_path", "max_stars_repo_name", "max_stars_repo_licenses")
LAYOUTS = {
    "CodeParrot": ("content", "path", "repo_name", "license"),
    "github-code": ("code", "path", "repo_name", "license"),
    "The Stack": STACK,
    "The Stack, small sample": ("content", "path", "repository_name", "licenses"),
    "The Stack v2 with contents": ("content", "path", "repo_name", "detected_licenses"),
}
OTHERS = {"content_id": "0" * 40, "license_type": "permissive", "max_issues_repo_licenses": ["GPL-3.0"]}


def renamed(names: tuple[str, ...]) -> list[dict[str, object]]:
    """Return the rows with other names of their columns, as many as there are, among columns that are not needed."""
    return [OTHERS | dict(zip(names, row.values(), strict=False)) for row in ROWS]


def table(path: Path, rows: list[dict[str, object]]) -> str:
    """Write rows in the form that the name asks for."""
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines.encode()))
    else:
        path.write_text(lines)
    return str(path)


NAMES = ["rows.jsonl", "rows.jsonl.gz", "rows.parquet"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_in_the_layouts_of_known_sets(tmp_path: Path, layout: str, name: str) -> None:
    path = table(tmp_path / name, renamed(LAYOUTS[layout]))
    assert list(read(SourceConfig(kind="rows", path=path))) == [
        SourceFile("x/y", "a.py", ("mit", "apache-2.0"), "def f(): ...")
    ]


def test_tables_of_a_folder_are_read_by_name_when_their_turn_comes(tmp_path: Path) -> None:
    for name, path in (("b.jsonl", "2.py"), ("a.parquet", "1.py"), ("c.jsonl.gz", "3.py")):
        table(tmp_path / name, [ROWS[0] | {"path": path}])
    for name in ("d.jsonl", ".hidden.parquet", "notes.txt"):
        (tmp_path / name).write_text("no table")
    (tmp_path / "below.parquet").mkdir()
    found = read(SourceConfig(kind="rows", path=str(tmp_path)))
    paths = [file.path for file in islice(found, 3) if isinstance(file, SourceFile)]
    assert paths == ["1.py", "2.py", "3.py"]
    with pytest.raises(DataError, match=r"line 1 of .*d\.jsonl is not JSON"):
        next(found)


@pytest.mark.parametrize("name", NAMES)
def test_a_licence_may_be_a_word(tmp_path: Path, name: str) -> None:
    path = table(tmp_path / name, [ROWS[0] | {"license": "MIT"}])
    assert list(read(SourceConfig(kind="rows", path=path))) == [
        SourceFile("x/y", "a.py", "mit", "def f(): ...")
    ]


@pytest.mark.parametrize("name", NAMES)
def test_rows_without_licence_take_the_one_that_is_stated_or_are_refused(tmp_path: Path, name: str) -> None:
    source = SourceConfig(kind="rows", path=table(tmp_path / name, renamed(STACK[:3])))  # as in StarCoderData
    sentence = (
        rf"{name} has no column license or max_stars_repo_licenses .*; it has content_id, .*, max_stars_repo_name: "
        r"rename its columns, or state the licence of all rows as seeds\.sources\.license\."
    )
    with pytest.raises(DataError, match=sentence):
        list(read(source))
    (file,) = read(source.model_copy(update={"license": "Permissive"}))
    assert file == SourceFile("x/y", "a.py", "permissive", "def f(): ...")
    stated = SourceConfig(kind="rows", path=table(tmp_path / name, ROWS), license="mit")
    with pytest.raises(ConfigError, match=rf"{name} states licences in license; leave"):
        list(read(stated))


def test_columns_that_are_not_needed_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    damaged = b"a page that nobody needs to read"
    pq.write_table(
        pa.Table.from_pylist([{**ROWS[0], "other": damaged}]), path, compression="none", use_dictionary=False
    )
    content = path.read_bytes()
    column = pq.read_metadata(path).row_group(0).column(4)
    assert column.path_in_schema == "other"
    start = column.data_page_offset
    path.write_bytes(content[:start] + b"\xff" * 16 + content[start + 16 :])
    with pytest.raises((OSError, pa.ArrowException)):
        pq.read_table(path)
    (file,) = read(SourceConfig(kind="rows", path=str(path)))
    assert isinstance(file, SourceFile)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1 of .* is not JSON"),
        ("[]", "line 1 of .* is not an object"),
        ("{}", "line 1 of .* has no column content or code, and no path or .*; it has none"),
        (
            json.dumps({key: value for key, value in ROWS[0].items() if key != "content"}),
            "line 1 of .* has no column content or code; it has path, repo_name, license: rename its columns.$",
        ),
    ],
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

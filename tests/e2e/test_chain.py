"""The whole chain through its command, on answers that the embedded model gave when ``record.py`` ran."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.llm.tiny_models import save_tiny
from tests.test_cli import codedpo

from codedpo import pipeline
from codedpo.core.config_files import load_config
from codedpo.core.errors import StaleError
from codedpo.core.progress import Voice
from codedpo.core.records import (
    Execution,
    Metric,
    Pair,
    PairKind,
    Sample,
    Solution,
    Task,
    TrainingStep,
)
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows
from codedpo.llm.base import Generator, Message, Reply, Request, Sampling
from codedpo.llm.cache import CachedGenerator, export_recording
from codedpo.llm.recorded import RecordedGenerator, read_recording
from codedpo.llm.replay_server import ReplayServer
from codedpo.services import GENERATORS, Services
from codedpo.stages import STAGE_NAMES, stage_path

bench = pytest.importorskip("bench.interruption")
pytest.importorskip("trl", reason="needs the extra `train`")
pytest.importorskip("openvino_genai", reason="needs the extra `local`")

ROOT = Path(__file__).resolve().parents[2]
CHAIN = ROOT / "tests" / "e2e" / "chain.yaml"
ANSWERS = ROOT / "tests" / "e2e" / "answers.jsonl.gz"
pytestmark = pytest.mark.xdist_group("chain")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random model whose window holds real prompts, for the stages that train and evaluate."""
    folder = save_tiny("qwen2", tmp_path_factory.mktemp("tiny") / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
    return folder


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run through all nine stages, started as a person starts it."""
    folder = tmp_path_factory.mktemp("runs")
    done = codedpo(*arguments(folder, tiny), CODEDPO_CACHE_DIR=str(tiny.parent / "cache"))
    assert done.returncode == 0, done.stderr
    assert "report: " in done.stdout
    return folder / "chain"


def arguments(folder: Path, tiny: Path) -> list[str]:
    training = f"model={tiny},max_length=4096,epochs=1.0,evaluations=1,learning_rate=1e-3,lora.rank=4"
    overrides = [f"training.{item}" for item in training.split(",")]
    overrides += ["evaluation.limit=4", "evaluation.max_tokens=16", "resources.engine_cache_gb=1"]
    return ["run", str(CHAIN), f"runs_folder={folder}", f"model.path={ANSWERS}", *overrides]


def rows(run: Path, stage: str, row_type: type) -> list[Any]:
    return read_rows(StageFolder(stage_path(run, stage)).parts_of(row_type), row_type)


def test_every_stage_leaves_its_tables(run: Path) -> None:
    shown = json.loads(codedpo("show", run, "--json").stdout)
    assert [stage["stage"] for stage in shown["stages"]] == list(STAGE_NAMES)
    assert all(stage["finished"] for stage in shown["stages"])
    made = {name: count for stage in shown["stages"] for name, count in stage["rows"].items()}
    assert made["seeds"] == 12
    assert made["tasks"] >= 8
    assert made["executions"] > 200
    pairs = rows(run, "pairs", Pair)
    assert sum(pair.kind == PairKind.CORRECTNESS for pair in pairs) >= 4
    assert {"loss", "rewards/margins", "probe/right"} <= {
        row.name for row in rows(run, "training", TrainingStep)
    }
    assert len(rows(run, "evaluation", Sample)) == 8
    assert {row.model for row in rows(run, "evaluation", Metric)} == {"before", "after", "difference"}
    page = (run / "9-report" / "index.html").read_text()
    assert all(pair.task_id in page for pair in pairs)


def test_the_manifest_says_where_the_weights_came_from(run: Path, tiny: Path) -> None:
    manifest = json.loads((run / "run.json").read_text())
    assert str(tiny) in manifest["weights"]["trained"]
    assert re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{16,}", manifest["weights"]["digest"])


def test_stages_that_ran_programs_count_their_cpu_time(run: Path) -> None:
    shown = json.loads(codedpo("show", run, "executions", "--json").stdout)
    assert shown["cpu_seconds"] > 0.01


def test_one_task_can_be_followed(run: Path) -> None:
    pair = next(pair for pair in rows(run, "pairs", Pair) if pair.kind == PairKind.CORRECTNESS)
    text = codedpo("trace", run, pair.task_id).stdout
    for part in (pair.chosen_solution_id.partition("/")[2], "assert ", "chosen", "rejected"):
        assert part in text


def test_the_same_command_again_does_nothing_and_other_settings_are_stale(run: Path, tiny: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.parquet")}
    again = codedpo(*arguments(run.parent, tiny), CODEDPO_CACHE_DIR=str(tiny.parent / "cache"))
    assert again.returncode == 0
    assert again.stderr.count("(done before)") == 9
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*.parquet")} == before
    stale = codedpo(*arguments(run.parent, tiny), "candidates.tests=7")
    assert stale.returncode == 3
    assert "3-candidates was made with other settings (config.candidates.tests" in stale.stderr
    # the page shows the description
    other = codedpo(*arguments(run.parent, tiny), "description=Another run.")
    assert other.returncode == 3
    assert "9-report was made with other settings (config.description" in other.stderr


def test_given_tasks_need_no_seeds(run: Path, tiny: Path, tmp_path: Path) -> None:
    tasks = rows(run, "tasks", Task)
    lines = (
        json.dumps({"prompt": one.prompt, "signature": one.signature, "task_id": one.task_id})
        for one in tasks
    )
    (tmp_path / "tasks.jsonl").write_text("\n".join(lines))
    own = [f"tasks.file={tmp_path / 'tasks.jsonl'}", "seeds.sources=[]", "--until", "pairs"]
    done = codedpo(*arguments(tmp_path, tiny), *own)
    assert done.returncode == 0, done.stderr
    given = rows(tmp_path / "chain", "tasks", Task)
    assert [one.source_id for one in given] == [one.task_id for one in tasks]
    for stage, row_type in (("candidates", Solution), ("executions", Execution)):
        assert len(rows(tmp_path / "chain", stage, row_type)) == len(rows(run, stage, row_type))
    card = (tmp_path / "chain" / "6-pairs" / "export" / "README.md").read_text()
    assert "Tasks: given, `tasks.jsonl`." in card
    both = codedpo(*arguments(tmp_path, tiny), own[0])
    assert both.returncode == 2
    assert "tasks.file and seeds.sources both say" in both.stderr
    (tmp_path / "tasks.jsonl").write_text(json.dumps({"prompt": "x", "signature": "def f(x):"}))
    changed = codedpo(*arguments(tmp_path, tiny), *own)
    assert "2-tasks was made with other settings (tasks:" in changed.stderr


def test_variants_run_on_what_the_run_made_and_its_report_compares_them(
    run: Path, tiny: Path, tmp_path: Path
) -> None:
    variants = (
        "{sft: {training: {method: sft}}, narrow: {pairs: {kinds: [correctness]}, training: {seed: 5}}}"
    )
    overrides = [f"base_run={run}", "name=ablation", f"variants={variants}"]
    done = codedpo(*arguments(tmp_path, tiny), *overrides, CODEDPO_CACHE_DIR=str(tiny.parent / "cache"))
    assert done.returncode == 0, done.stderr
    rows = {
        row["name"]: row
        for row in json.loads(codedpo("show", tmp_path / "ablation", "--json").stdout)["variants"]
    }
    assert list(rows) == ["as configured", "sft", "narrow"]
    assert rows["sft"]["changes"] == ["training.method=sft"]
    assert rows["narrow"]["pairs"] < rows["as configured"]["pairs"] == rows["sft"]["pairs"]
    assert all({"after", "difference"} <= row["results"]["HumanEval"].keys() for row in rows.values())
    for name, adopted in (("sft", 6), ("narrow", 5)):
        stages = json.loads(codedpo("show", tmp_path / "ablation" / name, "--json").stdout)["stages"]
        assert [bool(stage["adopted_from"]) for stage in stages] == [True] * adopted + [False] * (9 - adopted)
        before = next(stage for stage in stages if stage["stage"] == "evaluation")
        assert before["counters"]["cached_replies"] == 4  # those of the weights before training
    page = (tmp_path / "ablation" / "9-report" / "index.html").read_text()
    assert "training.method=sft" in page
    assert "narrow" in done.stdout


def test_the_pairs_train_a_step_with_trl_as_they_are(run: Path, tiny: Path, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from datasets import load_dataset\n"
        "from trl import DPOConfig, DPOTrainer\n"
        "files, model, output = sys.argv[1:]\n"
        "pairs = load_dataset('json', data_files=files, split='train')\n"
        "settings = DPOConfig(output_dir=output, max_steps=1, max_length=4096, use_cpu=True, bf16=False)\n"
        "trainer = DPOTrainer(model=model, args=settings, train_dataset=pairs)\n"
        "print(trainer.train().training_loss)\n"
    )
    file = run / "6-pairs" / "export" / "preferences" / "train.jsonl"
    command = [sys.executable, "-c", script, str(file), str(tiny), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split()[-1]) == pytest.approx(0.693, abs=0.01)


def until_pairs(folder: Path, *overrides: str) -> dict[str, list[Any]]:
    """Run the chain up to pairs in this process and return its tables without measured columns."""
    config = load_config(CHAIN, [f"runs_folder={folder}", *overrides])
    pipeline.run(config, Voice(quiet=True), until="pairs")
    tables, _ = bench.tables_of(config.run_folder)
    return {name: table for name, table in tables.items() if not name.startswith("pairs/timing")}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    return until_pairs(tmp_path_factory.mktemp("recorded"), f"model.path={ANSWERS}")


class Impostor:
    """Recorded answers under the identity of another generator: fills that generator's cache."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self._recorded = RecordedGenerator(ANSWERS)

    def generate(self, requests: list[Request]) -> Iterator[Reply]:
        return self._recorded.generate(requests)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("kind", sorted(GENERATORS.keys() - {"recorded"}))
def test_with_recorded_answers_every_kind_gives_equal_tables(
    kind: str,
    tiny: Path,
    tmp_path: Path,
    recorded: dict[str, list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CODEDPO_CACHE_DIR", str(tmp_path / "cache"))
    if kind == "openai":
        with ReplayServer(read_recording(ANSWERS)) as server:
            found = until_pairs(tmp_path, f"model={{kind: openai, name: recorded, url: {server.url}}}")
    else:
        override = f"model={{kind: {kind}, name: {tiny}}}"
        config = load_config(CHAIN, [f"runs_folder={tmp_path}", override])
        fill(Services(config, config.run_folder, Voice(quiet=True)).generator.inner, config.run_folder)
        found = until_pairs(tmp_path, override)
    assert {name: len(table) for name, table in found.items()} == {
        name: len(table) for name, table in recorded.items()
    }
    if kind == "openai":  # an endpoint counts the tokens of a call, not of each of its samples
        found, recorded = without_tokens(found), without_tokens(recorded)
    assert found == recorded


def test_a_recording_of_the_configured_model_spares_its_replies(
    tiny: Path, tmp_path: Path, recorded: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEDPO_CACHE_DIR", str(tmp_path / "cache"))
    model = f"model={{kind: local, name: {tiny}}}"
    config = load_config(CHAIN, [f"runs_folder={tmp_path / 'first'}", model])
    fill(Services(config, config.run_folder, Voice(quiet=True)).generator.inner, config.run_folder)
    file = tmp_path / "recording.jsonl.gz"
    export_recording(config.run_folder / "requests.sqlite", file)
    found = until_pairs(tmp_path / "second", f"model={{kind: local, name: {tiny}, recording: {file}}}")
    assert found == recorded
    stages = [
        StageFolder(tmp_path / "second" / "chain" / name).summary() for name in ("2-tasks", "3-candidates")
    ]
    counts = [stage.counters for stage in stages if stage]
    assert sum(count["recorded_replies"] for count in counts) == len(read_recording(ANSWERS))
    assert not any("new_replies" in count or "cached_replies" in count for count in counts)


def without_tokens(tables: dict[str, list[Any]]) -> dict[str, list[Any]]:
    counts = {"prompt_tokens", "completion_tokens"}
    return {
        name: [{key: value for key, value in row.items() if key not in counts} for row in table]
        for name, table in tables.items()
    }


def fill(generator: Generator, run_folder: Path) -> None:
    """Put the recorded answers where the cache of this generator looks for them."""
    asked = {row["key"]: row for row in read_recording(ANSWERS) if "messages" in row}
    positions: dict[str, int] = {}
    for row in read_recording(ANSWERS):
        positions[row["key"]] = max(positions.get(row["key"], 0), row["position"] + 1)
    cache = CachedGenerator(Impostor(generator.identity), run_folder / "requests.sqlite")
    requests = [request_of(row, positions[key]) for key, row in asked.items()]
    assert sum(1 for _ in cache.generate(requests)) == len(read_recording(ANSWERS))
    cache.close()


def request_of(row: dict[str, Any], count: int) -> Request:
    sampling = Sampling(**row["sampling"] | {"stop": tuple(row["sampling"]["stop"])})
    messages = tuple(Message(**message) for message in row["messages"])
    request = Request("recorded", messages, sampling, count, row["seed"])
    assert request.key == row["key"]
    return request


def test_a_run_that_is_killed_goes_on_to_the_same_tables(
    tmp_path: Path, recorded: dict[str, list[Any]]
) -> None:
    command = bench.command(CHAIN, ANSWERS, tmp_path)
    for seconds in (1.0, 1.6, 2.2):
        bench.killed_run(command, seconds)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    tables, _ = bench.tables_of(tmp_path / "trial")
    assert {name: tables[name] for name in recorded} == recorded


def test_an_ablation_adopts_the_stages_of_its_base_run(run: Path, tmp_path: Path) -> None:
    overrides = [f"runs_folder={tmp_path}", f"model.path={ANSWERS}", f"base_run={run}"]
    config = load_config(CHAIN, [*overrides, "rankings.strategy={kind: codet}"])
    summaries = pipeline.run(config, Voice(quiet=True), until="rankings")
    adopted = [path.parent.name for path in sorted(config.run_folder.glob("*/adopted.json"))]
    assert adopted == ["1-seeds", "2-tasks", "3-candidates", "4-executions"]
    assert summaries["rankings"].rows["solution_scores"] > 0
    pipeline.run(config, Voice(quiet=True), until="rankings", redo="executions")
    adopted = [path.parent.name for path in sorted(config.run_folder.glob("*/adopted.json"))]
    assert adopted == ["1-seeds", "2-tasks", "3-candidates"]
    assert StageFolder(run / "4-executions").summary() is not None
    changed = load_config(CHAIN, [*overrides, "candidates.tests=7"])
    with pytest.raises(StaleError, match=r"3-candidates was made with other settings"):
        pipeline.run(changed, Voice(quiet=True), until="rankings")
    assert StageFolder(run / "3-candidates").summary() is not None

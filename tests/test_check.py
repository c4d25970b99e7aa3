"""What ``codedpo check`` finds is what ``codedpo run`` would refuse before its first stage, on real parts."""

import json
from pathlib import Path

import pytest
from tests.test_cli import ROOT

from codedpo import pipeline
from codedpo.check import checks_of
from codedpo.core.config_files import load_config
from codedpo.core.errors import CodedpoError
from codedpo.core.progress import Voice

CHAIN = ROOT / "tests" / "e2e" / "chain.yaml"


def refused(folder: Path, overrides: list[str], until: str) -> tuple[dict[str, str], str]:
    """Return the checks that fail, and the sentence with which a run is refused before its first stage."""
    own = [f"runs_folder={folder}", "evaluation.benchmarks=[]", *overrides]
    failing = {check.name: check.found for check in checks_of(CHAIN, own, until) if not check.ok}
    with pytest.raises(CodedpoError) as error:
        pipeline.run(load_config(CHAIN, own), Voice(quiet=True), until=until)
    assert not list(folder.glob("*/1-seeds"))
    return failing, str(error.value)


@pytest.mark.parametrize(
    ("overrides", "until", "name", "sentence"),
    [
        (["decontamination=[humanevil]"], "seeds", "settings", "no benchmark of kind humanevil"),
        (["base_run=none"], "seeds", "settings", "none is not a run folder"),
        (["variants={odd: {decontamination: [humanevil]}}"], "seeds", "settings", "no benchmark of kind"),
        (["seeds.sources=[]", "tasks.file=no.jsonl"], "tasks", "tasks", "tasks.file no.jsonl cannot be read"),
        (["pairs.share_kept=0.5"], "pairs", "settings", "set rankings.strategy.kind to consensus"),
        (["rankings.compare=[{kind: foo}]"], "rankings", "rankings", "no ranking strategy of kind foo"),
        (
            ["variants={odd: {rankings: {compare: [{kind: foo}]}}}"],
            "rankings",
            "variant odd",
            "no ranking strategy of kind foo",
        ),
    ],
)
def test_what_a_run_refuses_is_found(
    overrides: list[str], until: str, name: str, sentence: str, tmp_path: Path
) -> None:
    failing, error = refused(tmp_path, overrides, until)
    assert failing[name] == error
    assert sentence in error
    assert error.startswith(f"{name}: ") == name.startswith("variant")


def test_weights_that_cannot_be_trained_are_found(tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="needs the extra `train`")
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "config.json").write_text(json.dumps({"model_type": "t5"}))
    (weights / "model.safetensors").touch()
    failing, error = refused(tmp_path, [f"training.model={weights}"], "training")
    assert failing == {"training": error}
    assert "cannot be trained, as transformers cannot load it so" in error


def test_room_is_asked_for_only_where_the_embedded_model_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codedpo.check.DISK_GB", 10**9)
    own = ["evaluation.benchmarks=[]", "rankings.compare=[]"]
    assert all(check.ok for check in checks_of(CHAIN, own, "candidates"))
    failing = [check.name for check in checks_of(None, ["model.name=x", *own], "tasks") if not check.ok]
    assert failing == ["model"]
    embedded = checks_of(None, ["model={kind: transformers, options: {x: 1}}", *own], "tasks")
    assert [check.name for check in embedded if not check.ok] == ["model", "disk"]


def test_given_tasks_and_strategies_are_named(tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text(json.dumps({"prompt": "Add one.", "signature": "def add_one(x: int) -> int:"}))
    own = ["evaluation.benchmarks=[]", "seeds.sources=[]", f"tasks.file={file}", "rankings.compare=[]"]
    found = {check.name: check.found for check in checks_of(CHAIN, own, "rankings")}
    assert found["tasks"] == f"1 tasks in {file}"
    assert found["rankings"] == "self_validation"

"""``scripts/side_by_side.py pack``: what it refuses before it writes anything."""

import runpy
import sys
from pathlib import Path

import pytest

from codedpo.core.config import Config
from codedpo.core.errors import DataError
from codedpo.core.records import Pair
from codedpo.core.stage import StageFolder

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def write_run(folder, splits):
    """Write a run that stores nothing but one pair of every task, in the given split."""
    pairs = [
        Pair(f"{task}/p", task, "correctness", "p", "a", "b", "s0", "s1", 1.0, 0.0, *[0.0] * 4, split)
        for task, split in splits.items()
    ]
    stage = StageFolder(folder / "6-pairs").open({"stage": "pairs"})
    stage.write_part(0, {Pair: pairs}, [])
    stage.finish()


def test_a_variant_that_trains_on_held_out_tasks_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    pack = runpy.run_path(str(SCRIPTS / "side_by_side.py"))["pack"]
    run = tmp_path / "run"
    write_run(run, {"t1": "train", "t2": "validation", "t3": "validation"})
    write_run(run / "alike", {"t1": "train", "t3": "validation"})
    write_run(run / "other", {"t1": "validation", "t2": "train", "t3": "validation"})
    config = Config(name="run", variants={"alike": {}, "other": {}})
    (run / "config.resolved.json").write_text(config.model_dump_json())
    with pytest.raises(DataError, match="other would train on 1 of the 2 held-out tasks.*t2 is one"):
        pack(run, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()

from pathlib import Path

import pytest

from codedpo.core.errors import DataError, StaleError
from codedpo.core.records import Reject, Solution
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows

IDENTITY = {"stage": "candidates", "config": {"solutions": 15}}


def rows(count: int) -> list[Solution]:
    return [Solution(f"t000000/s{index:02d}", "t000000", "x", "def f(): ...") for index in range(count)]


def finished(path: Path, count: int = 2) -> StageFolder:
    folder = StageFolder(path).open(IDENTITY)
    folder.write_part(0, {Solution: rows(count)}, [Reject("t000001", "no_code", "")], {"tokens": 5}, 1.0, 2.0)
    folder.write_part(1, {Solution: rows(1)}, [], {"tokens": 7})
    folder.finish()
    return folder


def test_a_finished_stage_sums_its_parts(tmp_path: Path) -> None:
    summary = finished(tmp_path / "3-candidates").summary()
    assert summary is not None
    assert (summary.rows, summary.rejects, summary.counters) == (
        {"solutions": 3},
        {"no_code": 1},
        {"tokens": 12},
    )
    assert (summary.cpu_seconds, summary.wall_seconds) == (1.0, 2.0)


def test_fingerprint_depends_on_rows(tmp_path: Path) -> None:
    prints = [
        finished(tmp_path / name, count).summary().fingerprint
        for name, count in (("a", 2), ("b", 2), ("c", 1))
    ]  # type: ignore[union-attr]
    assert prints[0] == prints[1] != prints[2]


def test_another_identity_is_stale_and_names_the_field(tmp_path: Path) -> None:
    folder = finished(tmp_path / "3-candidates")
    with pytest.raises(StaleError, match=r"config.solutions: 15 -> 3.*--redo candidates"):
        folder.open({"stage": "candidates", "config": {"solutions": 3}})


def test_a_stage_that_has_written_nothing_begins_anew_with_other_settings(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path / "1-seeds").open({"stage": "seeds", "config": {"count": 3}})
    folder.open({"stage": "seeds", "config": {"count": 4}})
    assert folder.stored_identity() == {"stage": "seeds", "config": {"count": 4}}
    folder.write_part(0, {})
    with pytest.raises(StaleError, match="count: 4 -> 5"):
        folder.open({"stage": "seeds", "config": {"count": 5}})


def test_a_setting_that_is_newer_than_the_folder_counts_as_its_default(tmp_path: Path) -> None:
    written = {"stage": "candidates", "config": {"candidates": {"solutions": 15}, "name": "x"}}
    folder = StageFolder(tmp_path / "3-candidates").open(written)
    folder.write_part(0, {})
    defaults = {"candidates": {"solutions": 10, "stop": None}, "sandbox": {"cpu_seconds": 1.0}}
    now = {"stage": "candidates", "config": {"candidates": {"solutions": 15, "stop": None}, "name": "x"}}
    assert folder.open(now, defaults).differences(now, defaults) == []
    now["config"]["candidates"]["stop"] = "x"
    with pytest.raises(StaleError, match=r"\(config.candidates.stop: null -> \"x\"\)"):
        folder.open(now, defaults)
    with pytest.raises(StaleError, match=r"solutions: 15 -> 10"):
        folder.open(
            {"stage": "candidates", "config": {"candidates": {"solutions": 10, "stop": None}}}, defaults
        )


def test_a_part_without_marker_does_not_exist(tmp_path: Path) -> None:
    folder = finished(tmp_path / "3-candidates")
    (folder.path / "parts" / "00001.json").unlink()
    assert folder.finished_parts() == [0]
    assert read_rows(folder.parts_of(Solution), Solution) == rows(2)


def test_a_folder_without_identity_is_begun_anew(tmp_path: Path) -> None:
    folder = finished(tmp_path / "3-candidates")
    (folder.path / "identity.json").unlink()
    folder.open(IDENTITY)
    assert folder.finished_parts() == []
    assert folder.summary() is None


def test_a_torn_json_file_is_named(tmp_path: Path) -> None:
    folder = finished(tmp_path / "3-candidates")
    (folder.path / "stage.json").write_text('{"fingerprint": ')
    with pytest.raises(DataError, match="stage.json cannot be read"):
        folder.summary()

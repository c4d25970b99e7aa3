import json
import shutil
from dataclasses import replace

import pytest

from codedpo.core.errors import ConfigError
from codedpo.core.records import Metric, Sample
from codedpo.core.stage import StageFolder, write_json
from codedpo.core.tables import read_rows, write_rows
from codedpo.report import summary
from codedpo.report.run_folder import read_run


def test_summary_tells_stages_result_and_page(run_folder):
    found = summary.summary_of(run_folder)
    assert [stage["stage"] for stage in found["stages"]][:2] == ["seeds", "tasks"]
    assert found["stages"][0]["rejects"] == {"no_docstring": 7}
    assert found["verdict"].startswith("HumanEval pass@1")
    assert found["report"].endswith("index.html")
    json.dumps(found)


def test_summary_is_printed(run_folder, capsys):
    summary.print_summary(run_folder)
    printed = " ".join(capsys.readouterr().out.split())
    assert "7 no docstring" in printed
    assert "HumanEval pass@1 difference +0.0 -60.0 to +60.0 3" in printed
    assert "held-out tasks tests passed after 45.0 35.0 to 55.0 32" in printed
    assert "held-out tasks tests passed difference +5.0 +1.0 to +9.0 32" in printed
    assert "no clear change" in printed
    assert "index.html" in printed


def test_answers_that_were_not_run_are_said(run_folder, tmp_path, capsys):
    shutil.copytree(run_folder, tmp_path / "run")
    path = tmp_path / "run" / "8-evaluation"
    (part,) = StageFolder(path).parts_of(Sample)
    samples = read_rows([part], Sample)
    write_rows(part, Sample, [replace(samples[0], outcome="not_run", error_type="no reply"), *samples[1:]])
    summary.print_summary(tmp_path / "run")
    assert (
        "HumanEval, before: 1 answers not run (no reply), left out of the figures" in capsys.readouterr().out
    )
    assert summary.summary_of(run_folder)["not_run"] == []


def test_one_stage_is_printed_with_its_counters(run_folder, capsys):
    summary.print_stage(run_folder, "candidates")
    printed = capsys.readouterr().out
    assert "refused replies" in printed
    assert "12 s CPU" in printed


def test_brackets_in_names_are_no_markup(run_folder, tmp_path, capsys):
    run, base = tmp_path / "run", "runs/base[v2]"
    shutil.copytree(run_folder, run)
    write_json(
        run / "3-candidates" / "adopted.json", {"path": str(run_folder / "3-candidates"), "base_run": base}
    )
    summary.print_stage(run, "candidates")
    assert f"candidates finished, adopted from {base}" in capsys.readouterr().out
    part = StageFolder(run / "8-evaluation").parts_of(Metric)[0]
    write_rows(part, Metric, [replace(row, benchmark="mine[v2]") for row in read_rows([part], Metric)])
    summary.print_summary(run)
    assert "mine[v2]" in capsys.readouterr().out


def test_an_unknown_stage_or_run_is_one_sentence(run_folder, tmp_path):
    with pytest.raises(ConfigError, match="has no stage nothing"):
        summary.stage_of(run_folder, "nothing")
    with pytest.raises(ConfigError, match="is not a run folder"):
        summary.summary_of(tmp_path)


def test_a_run_that_was_cut_short_says_so(tmp_path, capsys):
    write_json(tmp_path / "run.json", {"attempts": []})
    write_json(tmp_path / "config.resolved.json", {"name": "short"})
    (tmp_path / "1-seeds").mkdir()
    assert read_run(tmp_path).stage("seeds").summary is None
    summary.print_summary(tmp_path)
    assert "0 parts written, not finished" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.4, "9.4 s"),
        (38.2, "38 s"),
        (245, "4 min 05 s"),
        (7800, "2 h 10 min"),
        (59.9, "1 min 00 s"),
    ],
)
def test_durations_read_like_speech(seconds, text):
    assert summary.duration(seconds) == text

"""All strategies on one run's matrices: the shipped ablation config, on a run of recorded answers."""

import re
from pathlib import Path

import pytest
import yaml
from tests.rankings.conftest import CHAIN, recorded
from tests.test_cli import codedpo

from codedpo.core.config_files import load_config
from codedpo.core.records import AlternativePair, Execution, Pair, Timing
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows
from codedpo.rankings.registry import STRATEGIES

CONFIG = CHAIN.parents[2] / "configs" / "ablations" / "rankings.yaml"
pytestmark = pytest.mark.xdist_group("chain")


def test_the_shipped_config_compares_every_strategy_and_otherwise_is_the_quickstart():
    ablation, quickstart = load_config(CONFIG), load_config(CONFIG.parents[1] / "quickstart.yaml")
    compared = [one.kind for one in (ablation.rankings.strategy, *ablation.rankings.compare)]
    assert sorted(compared) == sorted(STRATEGIES)
    assert Path(ablation.base_run) == quickstart.run_folder != ablation.run_folder
    for section in ("seed", "shard_size", "model", "seeds", "tasks", "candidates", "sandbox"):
        assert getattr(ablation, section) == getattr(quickstart, section)


def test_all_strategies_run_from_one_run_without_a_call_or_an_execution(run, tmp_path):
    values = yaml.safe_load(CONFIG.read_text()) | {"extends": str(CHAIN), "base_run": str(run)}
    config = tmp_path / "ablation.yaml"
    config.write_text(yaml.safe_dump(values))
    done = codedpo("run", config, f"runs_folder={tmp_path}", *recorded())
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "ablation-rankings"
    adopted = sorted(path.parent.name for path in folder.glob("*/adopted.json"))
    assert adopted == ["1-seeds", "2-tasks", "3-candidates", "4-executions"]
    stages = sorted(path.name for path in folder.glob("[0-9]-*") if path.name not in adopted)
    assert stages == ["5-rankings", "6-pairs", "9-report"]
    pairs = StageFolder(folder / "6-pairs")
    assert read_rows(pairs.parts_of(Timing), Timing) == []
    assert not StageFolder(folder / "4-executions").parts_of(Execution)
    own = {
        (row.chosen_solution_id, row.rejected_solution_id) for row in read_rows(pairs.parts_of(Pair), Pair)
    }
    others: dict[str, set[tuple[str, str]]] = {}
    for row in read_rows(pairs.parts_of(AlternativePair), AlternativePair):
        others.setdefault(row.strategy, set()).add((row.chosen_solution_id, row.rejected_solution_id))
    assert len(own) > 4
    assert own & others["hits"]
    page = (folder / "9-report" / "index.html").read_text()
    assert "This run logged no training steps." in page
    for strategy in STRATEGIES.keys() - {"self_validation"}:
        (row,) = re.findall(rf"<tr><th scope=\"row\"><code>{strategy}</code></th>(.*?)</tr>", page)
        cells = re.findall(r">([^<>]+)</td>", row)
        found = others.get(strategy, set())
        assert cells[3] == str(len(found))
        assert float(cells[4].removesuffix("%")) == pytest.approx(100 * len(own & found) / len(own), abs=0.06)


def test_a_base_run_of_other_settings_is_not_adopted(run, tmp_path):
    done = codedpo(
        "run",
        CHAIN,
        f"runs_folder={tmp_path}",
        *recorded(),
        f"base_run={run}",
        "seeds.count=11",
        "--until",
        "seeds",
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "chain" / "1-seeds" / "adopted.json").exists()

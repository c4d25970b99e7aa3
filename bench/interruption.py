"""Kill a run with SIGKILL at random moments, start it again, and compare its tables with those of an unbroken run.

``python -m bench.interruption [CONFIG] [--answers RECORDING] [--kills 20]`` replays recorded answers, so that both runs
see the same model. Every row of every table up to ``pairs`` has to be equal, measured times and memory excepted;
efficiency pairs rest on measured times, so the trials in which they are the same ones too are printed beside.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from codedpo.core.records import Pair, PairKind, Reject, Timing
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows, table_name
from codedpo.stages import STAGES, stage_path, stage_position

MEASURED = {"cpu_ns", "peak_kib", "wall_ns", "samples_ns", "repeats"}
LAST = "pairs"
GRACE_S = 5.0
"""Seconds that the helpers of a killed run have to notice it and end."""


def command(config: Path, answers: Path, folder: Path) -> list[str]:
    """Return the command of one run into ``folder``."""
    overrides = [f"runs_folder={folder}", "name=trial", "model.kind=recorded", f"model.path={answers}"]
    return [sys.executable, "-m", "codedpo", "run", str(config), *overrides, "--until", LAST, "--quiet"]


def tables_of(run: Path) -> tuple[dict[str, list[Any]], set[str]]:
    """Return the rows of every table without measured columns, and the ids of efficiency pairs."""
    tables: dict[str, list[Any]] = {}
    efficiency: set[str] = set()
    for stage in STAGES[: stage_position(LAST) + 1]:
        folder = StageFolder(stage_path(run, stage.name))
        for row_type in (*stage.writes, Reject):
            rows: list[Any] = read_rows(folder.parts_of(row_type), row_type)
            name = f"{stage.name}/{table_name(row_type)}"
            if row_type is Pair:
                efficiency = {row.pair_id for row in rows if row.kind == PairKind.EFFICIENCY}
                rows = [row for row in rows if row.kind == PairKind.CORRECTNESS]
            if row_type is Timing or (row_type is Reject and stage.name == LAST):
                rows = [row for row in rows if row_type is Reject and "/correctness" in row.row_id]
            plain = [{key: getattr(row, key) for key in row.__slots__ if key not in MEASURED} for row in rows]
            tables[name] = plain
    return tables, efficiency


def killed_run(arguments: list[str], delay: float) -> tuple[bool, int]:
    """Start a run and kill it after ``delay`` seconds.

    Returns:
        Whether it was still running, and how many of its descendants live on after ``GRACE_S``.
    """
    process = psutil.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(delay)
    except psutil.TimeoutExpired:
        descendants = process.children(recursive=True)
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(descendants, timeout=GRACE_S)
        return True, len(alive)
    return False, 0


def main() -> None:
    """Run the trials and print the count."""
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", nargs="?", type=Path, default=root / "tests" / "e2e" / "chain.yaml")
    parser.add_argument("--answers", type=Path, default=root / "tests" / "e2e" / "answers.jsonl.gz")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        start = time.monotonic()
        subprocess.run(
            command(options.config, options.answers, folder / "unbroken"),
            check=True,
            stdout=subprocess.DEVNULL,
        )
        seconds = time.monotonic() - start
        expected, expected_efficiency = tables_of(folder / "unbroken" / "trial")
        print(
            f"unbroken run: {seconds:.1f} s, {sum(map(len, expected.values())):,} rows in {len(expected)} tables"
        )
        equal = killed = common = survivors = 0
        while killed < options.kills:
            trial = folder / "killed"
            shutil.rmtree(trial, ignore_errors=True)
            arguments = command(options.config, options.answers, trial)
            delay = moments.uniform(0, seconds)
            was_killed, alive = killed_run(arguments, delay)
            if not was_killed:
                continue
            killed += 1
            survivors += alive
            done = [
                stage.name
                for stage in STAGES
                if (stage_path(trial / "trial", stage.name) / "stage.json").exists()
            ]
            subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
            tables, efficiency = tables_of(trial / "trial")
            different = [name for name in expected if tables[name] != expected[name]]
            equal += not different
            common += efficiency == expected_efficiency
            note = f"differs in {', '.join(different)}" if different else "equal"
            print(
                f"kill {killed:2d} at {delay:5.1f} s, after {done[-1] if done else 'nothing'}: {note}",
                flush=True,
            )
    print(
        json.dumps(
            {
                "kills": killed,
                "equal_tables": equal,
                "equal_efficiency_pairs": common,
                "surviving_processes": survivors,
                "rows": sum(map(len, expected.values())),
            }
        )
    )
    if equal < options.kills or survivors:
        sys.exit(1)


if __name__ == "__main__":
    main()

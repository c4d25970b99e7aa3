"""Verdicts and CPU time of `codedpo eval` and of evalplus 0.3.1 on the same real samples of HumanEval+ and MBPP+.

    python -m bench.evaluation [--data FOLDER] [--programs 8] [--task-seconds 0] [--output FOLDER]

Samples are distinct programs: of each task the first so many of Qwen2.5-Coder-7B's answers and of its rewrites for
speed (EvalPerf's tasks), HumanEval's and ENAMEL's published programs, and all replies of a 0.5B model to MBPP tasks.
Both sides judge the same file in the same run with one worker, as whole commands, expected values included: `codedpo
eval` at isolation level 3, evalplus without isolation, from an environment of its own (`bench.execution`). CPU seconds
are those of all descendants. Every disagreement is printed; the last line is one JSON object. `--task-seconds` leaves
out tasks whose published solution takes longer on all its inputs, where a whole run is too long for the machine.
"""

import argparse
import ctypes
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.execution import peers_environment
from codedpo.benchmarks import load_benchmark
from codedpo.benchmarks.data import DataFile, find, read_json_lines
from codedpo.benchmarks.plus import HUMANEVAL_PLUS, MBPP_PLUS
from codedpo.core.records import Outcome
from codedpo.llm.parse import extract_code
from codedpo.sandbox.base import Limits
from codedpo.sandbox.local import LocalSandbox

Row = dict[str, Any]
DATA: dict[str, tuple[str, str, DataFile]] = {
    "humanevalplus": ("humaneval", "HUMANEVAL_OVERRIDE_PATH", HUMANEVAL_PLUS),
    "mbppplus": ("mbpp", "MBPP_OVERRIDE_PATH", MBPP_PLUS),
}
"""Our name of a benchmark: evalplus's name, the variable that names its file, the file."""
EVALPERF = {"7B": "initial", "7B rewrite": "simple_1"}
REFERENCES = """
from evalplus import data, evaluate
from evalplus.eval._special_oracle import MBPP_OUTPUT_NOT_NONE_TASKS
if {name!r} == "humaneval":
    evaluate.get_groundtruth(data.get_human_eval_plus(), data.get_human_eval_plus_hash(), [])
else:
    evaluate.get_groundtruth(data.get_mbpp_plus(), data.get_mbpp_plus_hash(), MBPP_OUTPUT_NOT_NONE_TASKS)
"""
"""Computes evalplus's expected values, which it then keeps in its cache folder."""
JUDGE = """
from evalplus.evaluate import evaluate
evaluate({name!r}, samples={samples!r}, parallel=1)
"""
_SUBREAPER = 36
_PATIENCE_SECONDS = 5.0


def longer_than(seconds: float, data: Path, tasks: set[str]) -> set[str]:
    """Return those of some tasks whose published solution takes more than so many CPU seconds on all inputs."""
    jobs = [
        replace(
            job, checks=tuple(replace(check, expected="") for check in job.checks if check.call), reference=""
        )
        for name in DATA
        for benchmark in [load_benchmark(name, data)]
        for problem in benchmark.problems()
        if problem.problem_id in tasks
        for job in [benchmark.job(problem, [problem.canonical_solution])]
    ]
    limits = Limits(cpu_seconds=seconds, memory_mib=1900, timeouts_per_solution=1)
    with LocalSandbox(workers=1) as sandbox:
        return {
            matrix.job_id
            for matrix in sandbox.run(replace(job, limits=limits) for job in jobs)
            for row in matrix.cells
            if sum(cell.cpu_ns for cell in row) > seconds * 1e9
        }


def collect(data: Path, most: int) -> dict[str, list[Row]]:
    """Return the samples of each benchmark: ``task_id``, ``solution`` and ``source``, no program twice in a task."""
    problems = {
        problem.problem_id: (name, problem.entry_point)
        for name in DATA
        for problem in load_benchmark(name, data).problems()
    }
    found: dict[str, list[Row]] = defaultdict(list)
    seen: set[tuple[str, str]] = set()
    taken: Counter[tuple[str, str]] = Counter()
    for source, task_id, code in (*_evalperf(data, most), *_published(data), *_replies(data, problems)):
        if task_id in problems and (task_id, code) not in seen:
            if source in EVALPERF and taken[source, task_id] == most:
                continue
            seen.add((task_id, code))
            taken[source, task_id] += 1
            found[problems[task_id][0]].append({"task_id": task_id, "solution": code, "source": source})
    return {name: found[name] for name in DATA}


def _evalperf(data: Path, most: int) -> Iterator[tuple[str, str, str]]:
    if most:
        for source, name in EVALPERF.items():
            for row in _lines(data / "evalperf" / f"qwen2.5-coder-7b-inst_t0.2_{name}.jsonl.gz"):
                yield source, row["task_id"], row["solution"]


def _published(data: Path) -> Iterator[tuple[str, str, str]]:
    for name in ("humaneval-canonical", "enamel-references"):
        for number, (code,) in enumerate(json.loads((data / "enamel" / f"{name}.json").read_text())):
            yield "published", f"HumanEval/{number}", code


def _replies(data: Path, problems: Mapping[str, tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    for row in _lines(data / "qwen_mbpp" / "texts.jsonl.gz"):
        task_id = f"Mbpp/{row['task']}"
        if row["kind"] == "solution" and task_id in problems:
            answer = extract_code(row["text"], problems[task_id][1])
            if answer.code:
                yield "0.5B", task_id, answer.code


def _lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def cpu_of(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> tuple[float, str]:
    """Run a command; return the CPU seconds of it and all that it started, and its output.

    This process is the one that orphans come to, so that none is missed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{command[:4]} failed: {done.stderr.strip()[-2000:]}")
    end = time.monotonic() + _PATIENCE_SECONDS
    with suppress(ChildProcessError):
        while time.monotonic() < end:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.05)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def theirs(name: str, samples: Path, data: Path, folder: Path) -> tuple[dict[str, float], list[Row]]:
    """Judge a file with evalplus; return its CPU seconds and, for each sample, its verdict."""
    other, variable, file = DATA[name]
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    wanted = {row["task_id"] for row in rows}
    subset = folder / f"{name}-problems.jsonl"
    with subset.open("w") as lines:
        lines.writelines(
            json.dumps(row) + "\n" for row in read_json_lines(find(file, data)) if row["task_id"] in wanted
        )
    environment = {**os.environ, variable: str(subset), "XDG_CACHE_HOME": str(folder), "HOME": str(folder)}
    environment.pop("PYTHONPATH", None)
    python = str(peers_environment() / "bin" / "python")
    for old in folder.glob(f"{samples.stem}*eval_results.json"):
        old.unlink()
    spent = {}
    for step, script in (("expected values", REFERENCES), ("judging", JUDGE)):
        command = [python, "-c", script.format(name=other, samples=str(samples))]
        spent[step], _ = cpu_of(command, environment, folder)
    (path,) = folder.glob(f"{samples.stem}*eval_results.json")
    judged = json.loads(path.read_text())["eval"]
    position: Counter[str] = Counter()
    verdicts = []
    for row in rows:
        task_id = row["task_id"]
        found = judged[task_id][position[task_id]]
        position[task_id] += 1
        if found["solution"] != row["solution"]:
            raise SystemExit(f"evalplus gives the samples of {task_id} in another order; compare by hand.")
        base, plus = found["base_status"], found["plus_status"]
        verdicts.append({"passed": base == plus == "pass", "verdict": f"base {base}, plus {plus}"})
    return spent, verdicts


def ours(name: str, samples: Path, data: Path, folder: Path) -> tuple[float, list[Row]]:
    """Judge a file with ``codedpo eval``; return its CPU seconds and, for each sample, its verdict."""
    options = ["resources.workers=1", "sandbox.minimum_level=3", f"resources.data_folder={data}"]
    command = [sys.executable, "-m", "codedpo", "eval", str(samples), *options, "--benchmarks", name]
    spent, _ = cpu_of([*command, "--json", "--quiet", "--output", str(folder / "ours")], os.environ, folder)
    (path,) = (folder / "ours").glob(f"*/{name}.jsonl")
    found: dict[str, list[Row]] = defaultdict(list)
    for line in path.read_text().splitlines():
        row = json.loads(line)
        found[row["task_id"]].append(row)
    verdicts = []
    for line in samples.read_text().splitlines():
        row = found[json.loads(line)["task_id"]].pop(0)
        verdict = f"{row['outcome']} {row['error_type']}".strip()
        verdicts.append({"passed": row["outcome"] == Outcome.PASSED.value, "verdict": verdict})
    return spent, verdicts


def compare(name: str, rows: Sequence[Row], data: Path, folder: Path, *, ours_first: bool) -> Row:
    """Judge the samples of one benchmark with both, print what differs, and return the figures."""
    samples = folder / f"{name}.jsonl"
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if ours_first:
        own, mine = ours(name, samples, data, folder)
    other, peers = theirs(name, samples, data, folder)
    if not ours_first:
        own, mine = ours(name, samples, data, folder)
    differing = [
        {**row, "ours": one["verdict"], "evalplus": peer["verdict"]}
        for row, one, peer in zip(rows, mine, peers, strict=True)
        if one["passed"] != peer["passed"]
    ]
    for row in differing:
        print(f"{row['task_id']} ({row['source']}): ours {row['ours']}; evalplus {row['evalplus']}")
    figures = {
        "samples": len(rows),
        "tasks": len({row["task_id"] for row in rows}),
        "passed": sum(one["passed"] for one in mine),
        "passed_evalplus": sum(peer["passed"] for peer in peers),
        "agreement": round(1 - len(differing) / len(rows), 5),
        "cpu_s": round(own, 1),
        "cpu_s_evalplus": round(sum(other.values()), 1),
        "cpu_s_evalplus_expected_values": round(other["expected values"], 1),
        "ratio": round(own / sum(other.values()), 3),
    }
    print(name, *(f"{key} {value}" for key, value in figures.items()), sep="  ", flush=True)
    return {**figures, "differing": differing}


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("CODEDPO_DATA_DIR", ""), help="folder of the data")
    parser.add_argument(
        "--programs", type=int, default=8, help="distinct programs of each EvalPerf file and task"
    )
    parser.add_argument("--task-seconds", type=float, default=0.0, help="most CPU time of a task; 0: any")
    parser.add_argument("--output", default="", help="folder that keeps the files; default: none is kept")
    options = parser.parse_args()
    data = Path(options.data).resolve()
    if not (data / "evalperf").is_dir():
        raise SystemExit(f"evalperf not found in {data}: name the folder by --data.")
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    peers_environment()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.output or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        collected = collect(data, options.programs)
        tasks = {row["task_id"] for rows in collected.values() for row in rows}
        too_long = longer_than(options.task_seconds, data, tasks) if options.task_seconds else set()
        if too_long:
            print(
                f"left out, longer than {options.task_seconds} s: {', '.join(sorted(too_long))}", flush=True
            )
        results = {
            name: compare(
                name,
                [row for row in rows if row["task_id"] not in too_long],
                data,
                folder,
                ours_first=number % 2 == 1,
            )
            for number, (name, rows) in enumerate(collected.items())
        }
        differing = [row for result in results.values() for row in result.pop("differing")]
        if options.output:
            (folder / "differing.json").write_text(json.dumps(differing, indent=2))
    total = Counter[str]()
    for result in results.values():
        total.update({key: result[key] for key in ("samples", "cpu_s", "cpu_s_evalplus")})
    summary = {
        "agreement": round(1 - len(differing) / total["samples"], 5),
        "disagreements": len(differing),
        "ratio": round(total["cpu_s"] / total["cpu_s_evalplus"], 3),
    }
    summary["tasks_left_out"] = len(too_long)
    print(json.dumps({**total, **summary, "benchmarks": results}))


if __name__ == "__main__":
    main()

"""Pairs per second and peak memory of training: ours against a plain TRL script, each in a process of its own.

``python -m bench.training [--pairs 6] [--model NAME]`` trains with DPO and the NLL term on real pairs (right against
wrong answers of Qwen2.5-Coder-7B-Instruct to EvalPerf's tasks): same weights, data, order, precision and settings.
The plain script is what TRL's documentation shows: LoRA, reference log-probabilities precomputed, all else by default
(activation checkpointing is on there; ``--no-checkpointing`` takes it off). The losses are compared step by step; where
both train in bfloat16, each also with the plain script in float32, which says how much of their distance is rounding.
"""

import argparse
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from codedpo.core.config import LoraConfig, TrainingConfig
from codedpo.core.records import Pair
from codedpo.llm.device import choose_device
from codedpo.llm.template import template_of
from codedpo.llm.weights import hf_folder, resolve
from codedpo.training import data, trainers
from codedpo.training.loading import load_tokenizer, multiplies_bfloat16
from codedpo.training.stage import ENVIRONMENT

SOURCES = ("humanevalplus/HumanEvalPlus.jsonl.gz", "mbppplus/MbppPlus.jsonl.gz")
SAMPLES = "evalperf/gpu_results_initial.jsonl.gz"
MAX_LENGTH = 768
EXACT = "plain in float32"


def _rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def real_pairs(folder: Path, count: int) -> list[Pair]:
    """Return pairs of a right and a wrong answer, the longest of each, for ``count`` tasks that have both."""
    prompts = {row["task_id"]: row["prompt"] for name in SOURCES for row in _rows(folder / name)}
    pairs = []
    for row in _rows(folder / SAMPLES):
        sides: dict[bool, str] = {}
        for passed, solution in sorted(
            zip(row["passed"], row["solution"], strict=True), key=lambda item: item[1]
        ):
            sides.setdefault(passed, f"```python\n{solution.strip()}\n```")
        if len(sides) == 2:
            task = row["task_id"]
            names = (f"{task}/correctness/0", task, "correctness", prompts[task], sides[True], sides[False])
            pairs.append(Pair(*names, f"{task}/s00", f"{task}/s01", 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, "train"))
    return pairs[:count]


def measure(kind: str, base: str, count: int, folder: Path, checkpointing: bool) -> dict[str, Any]:
    """Train in this process and return speed, memory and losses."""
    import torch
    from transformers import AutoModelForCausalLM, TrainerCallback

    config = TrainingConfig(
        learning_rate=1e-4, epochs=1.0, gradient_accumulation=1, lora=LoraConfig(), max_length=MAX_LENGTH
    )
    pairs = real_pairs(folder, count)
    rows = {"train": data.preference_rows(pairs, 0), "validation": []}
    tokenizer = load_tokenizer(base, template_of(resolve(base)).source)
    device = choose_device("auto")
    bfloat16 = multiplies_bfloat16(device) and kind != EXACT
    schedule = trainers.Schedule.of(len(pairs), 1, config)
    marks: list[tuple[float, float]] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            marks.append((time.perf_counter(), time.process_time()))

        on_train_end = on_step_begin

    with tempfile.TemporaryDirectory() as output:
        options = trainers.trainer_options(
            config, schedule, Path(output), seed=1, cpu=device == "cpu", bfloat16=bfloat16
        )
        options |= {"save_strategy": "no", "logging_steps": 1}
        if kind != "ours":
            options |= {"activation_checkpointing": checkpointing}
        dtype = torch.bfloat16 if bfloat16 else torch.float32
        model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
        built = time.perf_counter(), time.process_time()
        trainer = trainers.build_trainer(
            config, model, tokenizer, rows, options, [Clock()], plain=kind != "ours"
        )
        ready = time.perf_counter(), time.process_time()
        trainer.train()
    steps = len(marks) - 1
    lengths = [len(row["prompt_ids"]) + len(row["chosen_ids"]) for row in trainer.train_dataset]
    wall, cpu = (marks[-1][index] - marks[0][index] for index in (0, 1))
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "mean_tokens_a_side": round(sum(lengths) / len(lengths), 1),
        "reference_cpu_seconds_per_pair": round((ready[1] - built[1]) / steps, 2),
        "training_wall_seconds_per_pair": round(wall / steps, 2),
        "training_cpu_seconds_per_pair": round(cpu / steps, 2),
        "pairs_per_cpu_second": round(steps / (cpu + ready[1] - built[1]), 4),
        "pairs_per_second": round(steps / (wall + ready[0] - built[0]), 4),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
    }


def _distance(one: dict[str, Any], other: dict[str, Any]) -> dict[str, float]:
    """Return how far the losses of two trainings lie apart: the mean over steps, and the largest."""
    found = [abs(a - b) for a, b in zip(one["losses"], other["losses"], strict=True)]
    return {"mean": round(sum(found) / len(found), 5), "largest": round(max(found), 5)}


def main() -> None:
    """Run both in turn and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--model", default="qwen2.5-coder-0.5b-instruct")
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("CODEDPO_DATA_DIR", "../shared/data"))
    )
    parser.add_argument("--no-checkpointing", action="store_true")
    parser.add_argument("--only", choices=("plain", "ours"))
    parser.add_argument("--child", choices=("plain", "ours", EXACT), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        result = measure(
            options.child, options.model, options.pairs, options.data, not options.no_checkpointing
        )
        print(json.dumps(result))
        return
    base = str(hf_folder(resolve(options.model)))
    results: dict[str, Any] = {}
    for kind in (options.only,) if options.only else ("ours", "plain", EXACT):
        if kind == EXACT and results["ours"]["dtype"] == "float32":
            continue
        command = [sys.executable, "-m", "bench.training", *sys.argv[1:], "--child", kind, "--model", base]
        output = subprocess.run(
            command,
            env=os.environ | ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        ).stdout
        results[kind] = json.loads(output.splitlines()[-1])
        print(kind, {key: value for key, value in results[kind].items() if key != "losses"}, flush=True)
        print(kind, "losses", [round(loss, 4) for loss in results[kind]["losses"]], flush=True)
    if "plain" in results and "ours" in results:
        ours, plain = results["ours"], results["plain"]
        results["speed_up_cpu"] = round(ours["pairs_per_cpu_second"] / plain["pairs_per_cpu_second"], 2)
        results["speed_up_wall"] = round(ours["pairs_per_second"] / plain["pairs_per_second"], 2)
        results["memory_ratio"] = round(ours["peak_gib"] / plain["peak_gib"], 2)
        results["loss_difference"] = _distance(ours, plain)
        if EXACT in results:
            results["loss_difference_from_float32"] = {
                "ours": _distance(ours, results[EXACT]),
                "plain": _distance(plain, results[EXACT]),
            }
    print(json.dumps(results))


if __name__ == "__main__":
    main()

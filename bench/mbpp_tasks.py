"""Problems of MBPP as tasks of your own, so that a run's pairs can be judged by tests that the model has not seen.

    python -m bench.mbpp_tasks TASKS.jsonl [--count 80]
    codedpo run configs/experiments/small.yaml name=mbpp tasks.file=TASKS.jsonl seeds.sources=[] decontamination=[] \\
        evaluation.benchmarks=[] --until candidates
    python -m bench.rankings --run runs/experiments/mbpp --benchmark mbppplus

A task has MBPP's words and the head of the published function, and none of its tests. Problems are those that MBPP+ has
too, in a seeded order.
"""

import argparse
import ast
import json
import os
from pathlib import Path

from codedpo.benchmarks.base import Problem
from codedpo.benchmarks.mbpp import Mbpp
from codedpo.benchmarks.plus import MbppPlus
from codedpo.core.rng import stream


def signature(problem: Problem) -> str:
    """Return the head of the function that the published solution defines."""
    functions = [
        node for node in ast.parse(problem.canonical_solution).body if isinstance(node, ast.FunctionDef)
    ]
    (function,) = [node for node in functions if node.name == problem.entry_point]
    return f"def {function.name}({ast.unparse(function.args)}):"


def main() -> None:
    """Write a seeded sample of problems."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", type=Path)
    parser.add_argument("--count", type=int, default=80)
    parser.add_argument("--data-folder", default=os.environ.get("CODEDPO_DATA_DIR", ""))
    options = parser.parse_args()
    labelled = {problem.problem_id for problem in MbppPlus(options.data_folder).problems()}
    found = [one for one in Mbpp(options.data_folder).problems() if one.problem_id in labelled]
    order = stream(0, "bench.mbpp_tasks").permutation(len(found))[: options.count]
    lines = (
        {"task_id": one.problem_id, "prompt": one.prompt, "signature": signature(one)}
        for one in map(found.__getitem__, order)
    )
    options.tasks.write_text("".join(json.dumps(line) + "\n" for line in lines))
    print(f"{len(order)} of {len(found)} problems are in {options.tasks}")


if __name__ == "__main__":
    main()

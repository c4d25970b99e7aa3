"""Known problems with known tests: for evaluation, and to keep them out of the training data."""

from pathlib import Path

from codedpo.benchmarks.base import Benchmark
from codedpo.core.registry import load

BENCHMARKS = {
    "ds1000": "codedpo.benchmarks.ds1000:DS1000",
    "enamel": "codedpo.benchmarks.enamel:Enamel",
    "humaneval": "codedpo.benchmarks.humaneval:HumanEval",
    "humanevalplus": "codedpo.benchmarks.plus:HumanEvalPlus",
    "livecodebench": "codedpo.benchmarks.livecodebench:LiveCodeBench",
    "mbpp": "codedpo.benchmarks.mbpp:Mbpp",
    "mbpp_full": "codedpo.benchmarks.mbpp:MbppFull",
    "mbppplus": "codedpo.benchmarks.plus:MbppPlus",
}


def load_benchmark(name: str, data_folder: Path | str = "") -> Benchmark:
    """Return the benchmark called ``name``; its data is read when its problems are asked for.

    Args:
        name: A key of ``BENCHMARKS``, or ``package.module:name`` of somebody else's.
        data_folder: Where data is looked for first (``resources.data_folder``).

    Raises:
        ConfigError: there is no such benchmark.
    """
    kind, path = ("plugin", name) if ":" in name else (name, "")
    benchmark: Benchmark = load(BENCHMARKS, kind, path, what="benchmark")(data_folder)
    return benchmark

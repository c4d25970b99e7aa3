"""Is the order of solutions by CPU time right, and how often is one called faster that is not?

    python -m bench.efficiency [--limit 40] [--repeats 45]

Pairs of published programs (``bench.efficiency_data``) are decided as the stage ``pairs`` decides them: 15 interleaved
repeats, faster where the 95% interval of the ratio lies above 1.1. What is known of a pair: the order that is
meant, and a longer measurement apart. A claim is false where the longer measurement has less than 10%. Every
program is also timed against itself, where any claim is false. The last line is one JSON object.
"""

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.efficiency_data import LIMITS, SOURCES, Trial
from codedpo.context import cpu_seconds
from codedpo.core.config import PairsConfig
from codedpo.sandbox.base import Sandbox, TimingJob
from codedpo.sandbox.local import LocalSandbox
from codedpo.sandbox.timing import Comparison, compare

LEAST_RATIO = PairsConfig().least_speed_ratio
REPEATS = PairsConfig().decisive_repeats


@dataclass(frozen=True, slots=True)
class Decided:
    """One pair, timed: ratios are the meant slow program's time over the meant fast one's."""

    name: str
    decision: Comparison
    longer: Comparison
    itself: Comparison
    """The meant fast program against itself, decided in the same way."""
    cpu_seconds: float
    """Of the decision alone."""

    @property
    def claim(self) -> int:
        """1: the one meant to be fast is called faster, -1: the other one, 0: no claim."""
        return claim_of(self.decision)

    @property
    def is_false(self) -> bool:
        """Whether the claim does not hold in the longer measurement."""
        return self.claim != 0 and self.longer.ratio**self.claim < LEAST_RATIO

    @property
    def is_apart(self) -> bool:
        """Whether the longer measurement is sure of 10% one way or the other."""
        return claim_of(self.longer) != 0

    @property
    def is_right(self) -> bool:
        """Whether decision and longer measurement have the same one ahead."""
        return (self.decision.ratio > 1) == (self.longer.ratio > 1)


def claim_of(comparison: Comparison) -> int:
    """Return 1 or -1 where the interval leaves no doubt that one side takes at least 10% less time, else 0."""
    if comparison.low > LEAST_RATIO:
        return 1
    return -1 if comparison.high < 1 / LEAST_RATIO else 0


def timed(
    sandbox: Sandbox, slow: str, fast: str, calls: Sequence[str], repeats: int, *, exchanged: bool
) -> Comparison | None:
    """Compare two programs, or return None where one does not finish."""
    sides = (fast, slow) if exchanged else (slow, fast)
    (result,) = sandbox.time([TimingJob("pair", sides, tuple(calls), repeats=repeats, limits=LIMITS)])
    first, second = result.samples_ns
    if not first or not second:
        return None
    return compare(second, first) if exchanged else compare(first, second)


def decide(sandbox: Sandbox, trial: Trial, repeats: int, *, exchanged: bool) -> Decided | None:
    """Decide a pair, measure it longer, and time one side against itself."""
    before = cpu_seconds()
    decision = timed(sandbox, trial.slow, trial.fast, trial.calls, REPEATS, exchanged=exchanged)
    spent = cpu_seconds() - before
    longer = timed(sandbox, trial.slow, trial.fast, trial.calls, repeats, exchanged=not exchanged)
    itself = timed(sandbox, trial.fast, trial.fast, trial.calls, REPEATS, exchanged=exchanged)
    if decision is None or longer is None or itself is None:
        return None
    return Decided(trial.name, decision, longer, itself, spent)


def summary(decided: Sequence[Decided], dropped: Counter[str]) -> dict[str, float | int | None]:
    """Return the figures of one source; shares are None where nothing is counted."""

    def share(of: Sequence[bool]) -> float | None:
        return round(sum(of) / len(of), 4) if of else None

    claims = [one for one in decided if one.claim]
    return {
        "pairs": len(decided),
        "apart": sum(one.is_apart for one in decided),
        "right_order": share([one.is_right for one in decided if one.is_apart]),
        "claims": len(claims),
        "false_claims": share([one.is_false for one in claims]),
        "claims_against_meant": share([one.claim < 0 for one in claims]),
        "claims_of_equal": share([claim_of(one.itself) != 0 for one in decided]),
        "cpu_seconds_a_decision": round(sum(one.cpu_seconds for one in decided) / max(len(decided), 1), 3),
        **{f"dropped_{reason}": count for reason, count in sorted(dropped.items())},
    }


def print_table(table: dict[str, dict[str, float | int | None]]) -> None:
    """Print one row a source."""
    heads = {
        "pairs": "pairs",
        "apart": "apart",
        "right_order": "right order",
        "claims": "claims",
        "false_claims": "false",
        "claims_against_meant": "against meant",
        "claims_of_equal": "of equal",
        "cpu_seconds_a_decision": "CPU s",
    }
    shares = ("right_order", "false_claims", "claims_against_meant", "claims_of_equal")
    print(f"{'':<18}", *(f"{head:>15}" for head in heads.values()))
    for name, figures in table.items():
        cells = []
        for head in heads:
            value = figures[head]
            cells.append("-" if value is None else f"{value:.1%}" if head in shares else f"{value}")
        print(f"{name:<18}", *(f"{cell:>15}" for cell in cells))
        dropped = {
            key.removeprefix("dropped_"): of for key, of in figures.items() if key.startswith("dropped_")
        }
        print(f"{'':<18} no trial: {', '.join(f'{of} {key}' for key, of in dropped.items()) or 'none'}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--limit", type=int, default=0, help="first so many pairs of every source; 0: all")
    parser.add_argument("--repeats", type=int, default=45, help="repeats of the longer measurement")
    parser.add_argument("--seconds", type=float, default=0, help="stop a source after so long; 0: never")
    parser.add_argument("--data-folder", default=os.environ.get("CODEDPO_DATA_DIR", ""))
    options = parser.parse_args(arguments)
    folder = Path(options.data_folder)
    missing = [name for name in ("enamel", "coffe", "evalperf") if not (folder / name).is_dir()]
    if missing:
        raise SystemExit(f"{', '.join(missing)} not found in {folder}: name the folder by --data-folder.")
    table = {}
    with LocalSandbox(workers=1) as sandbox:
        for name, source in SOURCES.items():
            decided: list[Decided] = []
            dropped: Counter[str] = Counter()
            end = time.monotonic() + options.seconds
            for number, trial in enumerate(source(folder, sandbox)):
                if isinstance(trial, str):
                    dropped[trial] += 1
                    continue
                found = decide(sandbox, trial, options.repeats, exchanged=number % 2 == 1)
                if found is None:
                    dropped["unfinished"] += 1
                else:
                    decided.append(found)
                is_enough = 0 < options.limit <= len(decided) + dropped["unfinished"]
                if is_enough or (options.seconds and time.monotonic() > end):
                    break
            table[name] = summary(decided, dropped)
    print_table(table)
    print(json.dumps(table))


if __name__ == "__main__":
    main()

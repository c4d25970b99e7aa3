"""Does a pair teach what the model would not do anyway? ``python scripts/greedy_agreement.py RUN [OUTPUT.csv]``.

For every correctness pair of a run the model that wrote it answers the pair's prompt once more, greedily. That
answer, the chosen and the rejected side run on the task's tests; two programs behave alike where they pass the same
tests and return the same values. Replies are kept in ``greedy.sqlite`` of the run, so the command can be repeated.
"""

import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

from run_tables import rows_of, write_table

from codedpo.core.config import Config
from codedpo.core.progress import Voice
from codedpo.core.records import Outcome, Pair, PairKind, Task, Test
from codedpo.llm.base import Message, Request, Sampling
from codedpo.llm.cache import CachedGenerator
from codedpo.llm.parse import extract_code
from codedpo.sandbox.base import Cell, Limits, job_of
from codedpo.services import Services

BINS = (0.2, 0.4, 0.6, 1.01)


def code_of(answer: str, entry_point: str) -> str:
    """Return the program of an answer; empty where there is none."""
    return extract_code(answer, entry_point).code or ""


def behaviour(row: tuple[Cell, ...]) -> tuple[tuple[bool, str], ...]:
    """Return what a program does on each test."""
    return tuple((cell.outcome is Outcome.PASSED, cell.value_digest) for cell in row)


def main() -> None:
    """Ask, run, compare, and print shares by the pair's probability."""
    run = Path(sys.argv[1])
    config = Config.model_validate_json((run / "config.resolved.json").read_text())
    pairs = [pair for pair in rows_of(run, "pairs", Pair) if pair.kind == PairKind.CORRECTNESS.value]
    tasks = {task.task_id: task for task in rows_of(run, "tasks", Task)}
    tests: defaultdict[str, list[Test]] = defaultdict(list)
    for test in rows_of(run, "candidates", Test):
        tests[test.task_id].append(test)
    services = Services(config, run, Voice())
    generator = CachedGenerator(services.generator.inner, run / "greedy.sqlite")
    prompts = {pair.task_id: pair.prompt for pair in pairs}
    sampling = Sampling(max_tokens=config.candidates.solution_sampling.max_tokens)
    requests = [Request(task_id, (Message("user", text),), sampling) for task_id, text in prompts.items()]
    greedy = {reply.request_id: reply.text for reply in generator.generate(requests)}
    generator.close()
    limits = Limits.from_config(config.sandbox)
    jobs, rows = [], []
    for pair in pairs:
        entry_point = tasks[pair.task_id].entry_point
        codes = [code_of(text, entry_point) for text in (pair.chosen, pair.rejected, greedy[pair.task_id])]
        jobs.append(job_of(pair.pair_id, codes, tests[pair.task_id], limits))
    for pair, matrix in zip(pairs, services.sandbox.run(jobs), strict=True):
        chosen, rejected, own = map(behaviour, matrix.cells)
        rows.append(
            (
                pair.pair_id,
                pair.split,
                round(pair.probability, 4),
                own == chosen,
                own == rejected,
                *(sum(passed for passed, _ in one) for one in (chosen, rejected, own)),
            )
        )
    services.close()
    for low, high in pairwise(BINS):
        some = [row for row in rows if low <= row[2] < high]
        like = [100 * sum(bool(row[place]) for row in some) / max(len(some), 1) for place in (3, 4)]
        print(
            f"probability {low} to {min(high, 1)}: {len(some)} pairs, the greedy answer behaves like chosen in "
            f"{like[0]:.0f}%, like rejected in {like[1]:.0f}%"
        )
    if len(sys.argv) > 2:
        names = (
            "pair_id split probability like_chosen like_rejected passed_chosen passed_rejected passed_greedy"
        )
        write_table(Path(sys.argv[2]), names.split(), rows)


if __name__ == "__main__":
    main()

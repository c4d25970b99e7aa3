"""Does a pair teach what the model would not do anyway? ``python scripts/greedy_agreement.py RUN OUTPUT.csv``.

For every correctness pair of a run the model that wrote it answers the pair's prompt once more, greedily, and the
answer is run beside the pair's sides. Prints shares by the pair's probability. Replies are kept in ``greedy.sqlite``
of the run, so the command can be repeated.
"""

from pathlib import Path

from pair_sides import behaviours
from run_tables import read_table, rows_of, start, truth, write_table

from codedpo.core.config import Config
from codedpo.core.progress import Voice
from codedpo.core.records import Pair, PairKind
from codedpo.llm.base import Message, Request, Sampling
from codedpo.llm.cache import CachedGenerator
from codedpo.services import Services

BINS = {
    "no probability": (-1.0, 0.0),
    "probability 0 to 0.2": (0.0, 0.2),
    "probability 0.2 to 0.4": (0.2, 0.4),
    "probability 0.4 to 0.6": (0.4, 0.6),
    "probability 0.6 to 1": (0.6, 1.01),
}
COLUMNS = (
    "pair_id",
    "split",
    "probability",
    "like_chosen",
    "like_rejected",
    "passed_chosen",
    "passed_rejected",
    "passed_greedy",
)


def compare(run: Path, output: Path) -> None:
    """Ask, run, write the table and print shares of it."""
    pairs = [pair for pair in rows_of(run, "pairs", Pair) if pair.kind == PairKind.CORRECTNESS.value]
    config = Config.model_validate_json((run / "config.resolved.json").read_text())
    services = Services(config, run, Voice())
    generator = CachedGenerator(services.generator.inner, run / "greedy.sqlite")
    prompts = {pair.task_id: pair.prompt for pair in pairs}
    sampling = Sampling(max_tokens=config.candidates.solution_sampling.max_tokens)
    requests = [Request(task_id, (Message("user", text),), sampling) for task_id, text in prompts.items()]
    greedy = {reply.request_id: reply.text for reply in generator.generate(requests)}
    generator.close()
    found = behaviours(run, services, [(pair, [greedy[pair.task_id]]) for pair in pairs])
    rows = []
    for pair, (own,) in zip(pairs, found, strict=True):
        passed = (own.passed_chosen, own.passed_rejected, own.passed)
        probability = round(pair.probability, 4)
        rows.append((pair.pair_id, pair.split, probability, own.like_chosen, own.like_rejected, *passed))
    services.close()
    write_table(output, COLUMNS, rows)
    print_shares(output)


def print_shares(table: Path) -> None:
    """Print how often the greedy answer behaves like a side, by the pair's probability."""
    rows = read_table(table, {"probability": float, "like_chosen": truth, "like_rejected": truth})
    for name, (low, high) in BINS.items():
        if some := [row for row in rows if low <= row["probability"] < high]:
            chosen, rejected = (
                100 * sum(row[side] for row in some) / len(some) for side in ("like_chosen", "like_rejected")
            )
            print(
                f"{name}: {len(some)} pairs, the greedy answer behaves like chosen in {chosen:.0f}%, like rejected in "
                f"{rejected:.0f}%"
            )


if __name__ == "__main__":
    start(compare)

"""Make the preference pairs of every task, and export them for trainers."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import asdict, replace

import numpy as np

from codedpo.context import StageContext
from codedpo.core.config import PairsConfig
from codedpo.core.errors import ConfigError
from codedpo.core.records import (
    AlternativePair,
    Pair,
    PairKind,
    Reject,
    Task,
    Timing,
)
from codedpo.core.split import held_out_tasks
from codedpo.core.stage import write_json
from codedpo.core.tables import RowsOfTable, write_atomically
from codedpo.pairs.alternatives import alternative_pairs
from codedpo.pairs.card import dataset_card
from codedpo.pairs.correctness import Choice, Rule, correctness_choices, kept_choices, surest
from codedpo.pairs.efficiency import fast_against_slow
from codedpo.pairs.export import MEASURED, write_exports
from codedpo.pairs.inputs import Inputs, provenance, rescored, without_probabilities
from codedpo.pairs.measure import TimingRule, measure
from codedpo.pairs.preflight import preflight
from codedpo.pairs.scored import Scored
from codedpo.pairs.slow_inputs import GrowthRule
from codedpo.sandbox.base import Limits
from codedpo.sandbox.timing import compare

NO_PROBABILITIES = (
    "pairs.least_probability and pairs.share_kept need probabilities, which the ranking strategy does not estimate; "
    "set rankings.strategy.kind to consensus, or leave both out."
)


def run(context: StageContext) -> None:
    """Make correctness and efficiency pairs, split them by task, and write every export.

    Raises:
        ConfigError: a threshold or share by probability with a strategy that does not estimate probabilities.
    """
    section, strategy = context.config.pairs, context.config.rankings.strategy.label
    rule = rule_of(section)
    unsure = without_probabilities(context) if by_probability(section) else set()
    if strategy in unsure:
        raise ConfigError(NO_PROBABILITIES)
    inputs = Inputs(context)
    is_shared = "correctness" in section.kinds and section.share_kept < 1
    kept = kept_tasks(context, inputs, rule) if is_shared else {}
    held_out = held_out_tasks(
        context.columns(Task, "task_id").column(0).to_pylist(), section.validation_share, context.config.seed
    )
    timing = TimingRule(
        Limits.from_config(context.config.sandbox),
        section.timing_repeats,
        section.decisive_repeats,
        GrowthRule(section.slow_inputs, section.slow_input_ms, section.slow_input_factor),
    )
    for part in context.parts(inputs.task_ids):
        results: list[Pair | Reject] = []
        alternatives: list[AlternativePair] = []
        timings: list[Timing] = []
        here = inputs.of(part.items)
        if "correctness" in section.kinds:
            others = {name: of for name, of in here.scores.items() if name != strategy and name not in unsure}
            for task in here.tasks:
                results.extend(correctness_pairs(task, kept_choices(task, rule, kept.get(strategy))))
                alternatives.extend(alternative_pairs(task, others, rule, kept))
        if "efficiency" in section.kinds:
            measured = measure(here.tasks, here.calls, context.sandbox, timing, context.voice)
            for task, timed in zip(here.tasks, measured, strict=True):
                if isinstance(timed, str):
                    results.append(_reject(task, PairKind.EFFICIENCY, timed))
                else:
                    timings.extend(timed)
                    part.count("timed_on_grown_inputs", any(row.are_grown for row in timed))
                    results.append(efficiency_pair(task, timed, section))
        pairs = [
            replace(result, split="validation" if result.task_id in held_out else "train")
            for result in results
            if isinstance(result, Pair)
        ]
        rejects = [result for result in results if isinstance(result, Reject)]
        part.write({Pair: pairs, AlternativePair: alternatives, Timing: timings}, rejects)
    made = RowsOfTable(context.folder.parts_of(Pair), Pair)
    export = context.folder.path / "export"
    origin = provenance(context)
    exported = write_exports(made, export, origin.source_ids)
    for line in empty_splits(exported.splits, len(held_out)):
        context.voice.say(f"  {line}")
    write_atomically(export / "README.md", dataset_card(made, exported, origin).encode())
    found = preflight(made)
    write_json(context.folder.path / "preflight.json", asdict(found))
    for line in found.lines() if found.is_blocking else ():
        context.voice.say(f"  {line}", event="preflight")


def kept_tasks(context: StageContext, inputs: Inputs, rule: Rule) -> dict[str, frozenset[str]]:
    """Go through all tasks for those whose pairs each strategy keeps, as ``pairs.share_kept`` says."""
    probabilities: dict[str, dict[str, float]] = defaultdict(dict)
    size = context.config.shard_size
    with context.progress("pairs: the surest tasks", len(inputs.task_ids)) as advance:
        for start in range(0, len(inputs.task_ids), size):
            here = inputs.of(inputs.task_ids[start : start + size])
            for strategy, scores in here.scores.items():
                for task in here.tasks:
                    choices = correctness_choices(rescored(task, scores), rule)
                    if not isinstance(choices, str):
                        probabilities[strategy][task.task_id] = choices[0].probability
            advance(len(here.tasks))
    share = context.config.pairs.share_kept
    return {strategy: surest(of_tasks, share) for strategy, of_tasks in probabilities.items()}


def by_probability(section: PairsConfig) -> bool:
    """Tell whether pairs are chosen by probability, which only some ranking strategies estimate."""
    return section.least_probability > 0 or section.share_kept < 1


def rule_of(section: PairsConfig) -> Rule:
    """Return the rule of correctness pairs that a config asks for."""
    return Rule(
        rejected=section.rejected,
        most_pairs=section.pairs_per_task,
        least_margin=section.least_margin,
        least_chosen_score=section.least_chosen_score,
        least_rejected_score=section.least_rejected_score,
        least_probability=section.least_probability,
    )


def empty_splits(splits: Collection[str], held_out: int) -> Iterator[str]:
    """Say of each split that was asked for and got no pair what to change.

    Args:
        splits: those with a pair.
        held_out: how many tasks are held out.
    """
    if splits and held_out and "validation" not in splits:
        yield (
            f"none of the {held_out} held-out tasks has a pair, so there is no validation pair; raise "
            "pairs.validation_share or make more tasks."
        )
    if splits and "train" not in splits:
        yield (
            f"all tasks with a pair are among the {held_out} held-out ones, so there is no training pair; lower "
            "pairs.validation_share or make more tasks."
        )


def answer(code: str) -> str:
    """Write a solution as the model is trained to answer: one fenced block and nothing else."""
    return f"```python\n{code.strip()}\n```"


def correctness_pairs(task: Scored, choices: list[Choice] | str) -> Iterator[Pair | Reject]:
    """Turn the choices of a task into pairs, or the reason why there are none into a reject."""
    if isinstance(choices, str):
        yield _reject(task, PairKind.CORRECTNESS, choices)
        return
    for number, choice in enumerate(choices):
        pair = _pair(task, PairKind.CORRECTNESS, choice.chosen, choice.rejected, number)
        yield replace(pair, probability=choice.probability)


def efficiency_pair(task: Scored, timed: list[Timing], section: PairsConfig) -> Pair | Reject:
    """Pair the fastest with the slowest of the timed solutions of a task, or say why not.

    Only solutions of the decisive measurement are paired: the samples of the first one chose which those are.
    """
    decisive = [row for row in timed if row.repeats == section.decisive_repeats]
    choice = fast_against_slow([row.samples_ns for row in decisive], compare, section.least_speed_ratio)
    if isinstance(choice, str):
        return _reject(task, PairKind.EFFICIENCY, choice)
    fast, slow = decisive[choice.chosen], decisive[choice.rejected]
    position = {solution_id: row for row, solution_id in enumerate(task.matrix.solution_ids)}
    return _pair(
        task,
        PairKind.EFFICIENCY,
        position[fast.solution_id],
        position[slow.solution_id],
        chosen_cpu_ns=float(np.median(fast.samples_ns)),
        rejected_cpu_ns=float(np.median(slow.samples_ns)),
        speed_ratio=choice.ratio,
        speed_ratio_low=choice.low,
        speed_ratio_high=choice.high,
    )


def _pair(task: Scored, kind: PairKind, chosen: int, rejected: int, number: int = 0, **speeds: float) -> Pair:
    measured = dict.fromkeys(MEASURED, 0.0) | speeds
    return Pair(
        pair_id=f"{task.task_id}/{kind.value}/{number}",
        task_id=task.task_id,
        kind=kind.value,
        prompt=task.prompt,
        chosen=answer(task.codes[chosen]),
        rejected=answer(task.codes[rejected]),
        chosen_solution_id=task.matrix.solution_ids[chosen],
        rejected_solution_id=task.matrix.solution_ids[rejected],
        chosen_score=float(task.scores[chosen]),
        rejected_score=float(task.scores[rejected]),
        split="train",
        **measured,
    )


def _reject(task: Scored, kind: PairKind, reason: str) -> Reject:
    return Reject(f"{task.task_id}/{kind.value}", reason, "")

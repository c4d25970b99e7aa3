"""What the strategies that are only compared would have made of the same tasks: correctness pairs by the same rules."""

from collections.abc import Collection, Iterator, Mapping

from codedpo.core.records import AlternativePair, SolutionScore
from codedpo.pairs.correctness import Choice, Rule, kept_choices
from codedpo.pairs.inputs import rescored
from codedpo.pairs.scored import Scored


def alternative_pairs(
    task: Scored,
    scores: Mapping[str, Mapping[str, SolutionScore]],
    rule: Rule,
    kept: Mapping[str, Collection[str]],
) -> Iterator[AlternativePair]:
    """Yield the pairs that each strategy would make of a task.

    Args:
        task: the task, whatever it is scored by.
        scores: strategy -> solution id -> its score.
        rule: of the run's own pairs.
        kept: strategy -> the tasks whose pairs it would keep; all where it is not in it.
    """
    for strategy, of_strategy in scores.items():
        again = rescored(task, of_strategy)
        choices = kept_choices(again, rule, kept.get(strategy))
        if not isinstance(choices, str):
            yield from (_row(again, strategy, choice) for choice in choices)


def _row(task: Scored, strategy: str, choice: Choice) -> AlternativePair:
    ids = task.matrix.solution_ids
    return AlternativePair(
        task.task_id, strategy, ids[choice.chosen], ids[choice.rejected], choice.probability
    )

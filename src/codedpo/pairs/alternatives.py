"""What the strategies that are only compared would have made of the same tasks: correctness pairs by the same rules."""

from collections.abc import Mapping, Sequence

from codedpo.core.records import AlternativePair, SolutionScore
from codedpo.pairs.correctness import Choice, Rule, correctness_choices, surest
from codedpo.pairs.inputs import rescored
from codedpo.pairs.scored import Scored


def alternative_pairs(
    tasks: Sequence[Scored],
    scores: Mapping[str, Mapping[str, SolutionScore]],
    rule: Rule,
    share_kept: float,
) -> dict[str, list[AlternativePair]]:
    """Return the pairs of every strategy by task.

    Args:
        tasks: the tasks, whatever they are scored by.
        scores: strategy -> solution id -> its score.
        rule: of the run's own pairs.
        share_kept: of the run's own pairs.

    A strategy without probabilities makes none where the rules ask for them, as it could not make the run's own.
    """
    found: dict[str, list[AlternativePair]] = {task.task_id: [] for task in tasks}
    for strategy, of_strategy in scores.items():
        again = [rescored(task, of_strategy) for task in tasks]
        if (rule.least_probability > 0 or share_kept < 1) and any(
            task.probabilities is None for task in again
        ):
            continue
        choices = surest([correctness_choices(task, rule) for task in again], share_kept)
        for task, of_task in zip(again, choices, strict=True):
            if not isinstance(of_task, str):
                found[task.task_id] += [_row(task, strategy, choice) for choice in of_task]
    return found


def _row(task: Scored, strategy: str, choice: Choice) -> AlternativePair:
    ids = task.matrix.solution_ids
    return AlternativePair(
        task.task_id, strategy, ids[choice.chosen], ids[choice.rejected], choice.probability
    )

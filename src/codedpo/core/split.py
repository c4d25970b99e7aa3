"""Which tasks of a run are held out: training sees none of their pairs, validation and evaluation ask them."""

from collections.abc import Iterable

from codedpo.core.rng import seed_for


def held_out_tasks(task_ids: Iterable[str], share: float, seed: int) -> frozenset[str]:
    """Draw ``share`` of the tasks, at least one where there are two and ``share`` is above 0.

    The draw depends on ids, share and seed alone, never on rankings or pairs: all variants of a run hold out the same
    tasks, so that they can be compared on them and none has trained on what another is judged by. By task, since
    pairs of one task share their prompt.

    Args:
        task_ids: all tasks of the run, whether they give a pair or not.
        share: 0 to 1.
        seed: of the run.
    """
    in_order = sorted(task_ids, key=lambda task_id: seed_for(seed, "pairs", "validation", task_id))
    if share == 0 or len(in_order) < 2:
        return frozenset()
    return frozenset(in_order[: max(1, round(share * len(in_order)))])

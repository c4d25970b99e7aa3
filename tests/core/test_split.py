from codedpo.core.split import held_out_tasks

TASK_IDS = [f"t{number:06d}" for number in range(50)]


def test_the_share_is_exact_and_the_draw_depends_on_ids_and_seed_alone() -> None:
    drawn = held_out_tasks(TASK_IDS, 0.1, 0)
    assert len(drawn) == 5
    assert drawn == held_out_tasks(TASK_IDS[::-1], 0.1, 0)
    assert drawn != held_out_tasks(TASK_IDS, 0.1, 1)
    assert drawn < held_out_tasks(TASK_IDS, 0.2, 0)
    assert held_out_tasks(TASK_IDS, 1.0, 0) == set(TASK_IDS)


def test_at_least_one_task_is_held_out_where_there_are_two() -> None:
    assert len(held_out_tasks(TASK_IDS[:2], 0.01, 0)) == 1
    assert held_out_tasks(TASK_IDS[:1], 0.5, 0) == set()
    assert held_out_tasks(TASK_IDS, 0.0, 0) == set()

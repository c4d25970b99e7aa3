from dataclasses import replace

from tests.training.conftest import make_pair

from codedpo.core.config import TrainingConfig
from codedpo.pairs.export import EXPORTS
from codedpo.training.data import chosen_rows, preference_rows, select, unpaired_rows


def test_kinds_and_most_pairs_choose_training_pairs_and_leave_validation() -> None:
    pairs = [make_pair(index) for index in range(20)]
    pairs += [make_pair(index, kind="efficiency") for index in range(5)]
    pairs += [make_pair(index, "validation") for index in range(20, 24)]
    assert select(pairs, TrainingConfig(), 0) == pairs
    efficient = select(pairs, TrainingConfig(kinds=("efficiency",)), 0)
    assert [pair.kind for pair in efficient] == ["efficiency"] * 5
    few = select(pairs, TrainingConfig(most_pairs=6), 0)
    assert [pair.split for pair in few].count("train") == 6
    assert few[6:] == pairs[25:]
    assert few == select(pairs, TrainingConfig(most_pairs=6), 0)
    assert few != select(pairs, TrainingConfig(most_pairs=6), 1)


def test_validation_pairs_are_the_same_whatever_the_seed() -> None:
    pairs = [make_pair(index) for index in range(8)]
    pairs += [make_pair(index, "validation") for index in range(8, 28)]
    few = select(pairs, TrainingConfig(validation_pairs=5), 0)
    assert [pair.split for pair in few] == ["train"] * 8 + ["validation"] * 5
    assert few == select(pairs, TrainingConfig(validation_pairs=5), 1)
    more = select(pairs, TrainingConfig(validation_pairs=9), 0)
    assert {pair.pair_id for pair in few} < {pair.pair_id for pair in more}
    assert select(pairs, TrainingConfig(validation_pairs=20), 0) == pairs


def test_views_hold_messages_only() -> None:
    pair = make_pair(0)
    user, chosen, rejected = ([{"role": role, "content": text}] for role, text in (
        ("user", pair.prompt), ("assistant", pair.chosen), ("assistant", pair.rejected)))  # fmt: skip
    assert preference_rows([pair], 0) == [{"prompt": user, "chosen": chosen, "rejected": rejected}]
    assert chosen_rows([pair, make_pair(0, kind="efficiency")], 0) == [{"prompt": user, "completion": chosen}]
    unpaired = unpaired_rows([pair], 0)
    assert {row["label"]: row["completion"] for row in unpaired} == {True: chosen, False: rejected}


def test_kto_trains_on_what_the_export_holds() -> None:
    pairs = [make_pair(index) for index in range(4)]
    best, wrong = pairs[0].chosen, pairs[0].rejected
    pairs += [
        replace(make_pair(0), pair_id="again"),
        replace(make_pair(0), pair_id="other", chosen="better", rejected=best),
        replace(make_pair(0, kind="efficiency"), chosen="fast", rejected="slow"),
        replace(make_pair(0, kind="efficiency"), chosen="fast", rejected=best),
    ]
    rows = unpaired_rows(pairs, 0)
    of_first = {
        row["completion"][0]["content"]: row["label"]
        for row in rows
        if row["prompt"][0]["content"] == pairs[0].prompt
    }
    assert of_first == {best: True, wrong: False, "better": True, "fast": True}
    assert len(rows) == len(of_first) + 2 * 3
    exported = [
        (row["prompt"], row["completion"], row["label"]) for row in EXPORTS["unpaired"].rows_of(pairs)
    ]
    assert sorted(exported, key=str) == sorted(
        [(row["prompt"], row["completion"], row["label"]) for row in rows], key=str
    )
    assert [row["completion"] for row in chosen_rows(pairs, 0)] == [
        row["completion"] for row in EXPORTS["chosen"].rows_of(pairs)
    ]


def test_the_order_of_unpaired_rows_is_mixed_and_seeded() -> None:
    pairs = [make_pair(index) for index in range(8)]
    first = unpaired_rows(pairs, 0)
    assert first == unpaired_rows(pairs, 0)
    assert first != unpaired_rows(pairs, 1)
    assert [row["label"] for row in first] != [True, False] * 8

"""Pairs to the rows that each trainer reads, after the checks that trainers do not make."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from codedpo.core.config import TrainingConfig
from codedpo.core.errors import DataError
from codedpo.core.records import Pair, Reject
from codedpo.core.rng import seed_for, stream
from codedpo.core.unpaired import Answer, unpaired
from codedpo.llm.token_checks import Tokenize, pair_problem, preamble_of, tokenize_pair
from codedpo.training.length import length_balanced

TrainingRow = dict[str, Any]
WEIGHT = "weight"
"""Column with the weight of a pair; absent: every pair weighs 1."""


def select(pairs: Iterable[Pair], config: TrainingConfig, seed: int) -> list[Pair]:
    """Keep the kinds asked for, ``most_pairs`` of the training split (seeded), ``validation_pairs`` of the other.

    Lengths are balanced, where asked for, before the sample is drawn, and in the training split alone.

    The validation pairs depend on no seed, so that trainings which differ by it are compared on the same ones.
    """
    wanted = [pair for pair in pairs if pair.kind in config.kinds]
    train = [pair for pair in wanted if pair.split == "train"]
    if config.balance_length:
        train = length_balanced(train)
    if config.most_pairs and len(train) > config.most_pairs:
        kept = stream(seed, "training", "most_pairs").choice(len(train), config.most_pairs, replace=False)
        train = [train[index] for index in sorted(kept)]
    validation = [pair for pair in wanted if pair.split == "validation"]
    if config.validation_pairs:
        drawn = sorted(validation, key=lambda pair: seed_for(0, "training", "validation_pairs", pair.pair_id))
        chosen = {pair.pair_id for pair in drawn[: config.validation_pairs]}
        validation = [pair for pair in validation if pair.pair_id in chosen]
    return train + validation


def check_pairs(
    pairs: Iterable[Pair], tokenize: Tokenize, max_length: int, end_tokens: Collection[int]
) -> tuple[list[Pair], list[Reject]]:
    """Sort pairs into those that can be trained on and those that cannot, each with its reason."""
    kept, rejects = [], []
    preamble = preamble_of(tokenize)
    for pair in pairs:
        tokens = tokenize_pair(tokenize, pair.prompt, pair.chosen, pair.rejected)
        problem = pair_problem(tokens, max_length, end_tokens, preamble)
        if problem is None:
            kept.append(pair)
        else:
            rejects.append(Reject(pair.pair_id, problem.reason, problem.detail))
    return kept, rejects


def _user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _assistant(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def preference_rows(pairs: Sequence[Pair], seed: int) -> list[TrainingRow]:
    """Return TRL's preference form: an explicit prompt, never with the chat template applied."""
    del seed
    return [
        {
            "prompt": _user(pair.prompt),
            "chosen": _assistant(pair.chosen),
            "rejected": _assistant(pair.rejected),
        }
        for pair in pairs
    ]


def unpaired_rows(pairs: Sequence[Pair], seed: int) -> list[TrainingRow]:
    """Return TRL's unpaired form: every answer once, with its label (``core.unpaired``), in a seeded order.

    KTO estimates its KL term from prompts joined to the answer of the row before. Side by side, the two answers
    of one pair would give that answer to its own prompt, so the order is mixed.
    """
    rows = [_completion(answer) | {"label": answer.is_desirable} for answer in unpaired(pairs).answers]
    order = stream(seed, "training", "unpaired").permutation(len(rows))
    return [rows[index] for index in order]


def chosen_rows(pairs: Sequence[Pair], seed: int) -> list[TrainingRow]:
    """Return TRL's prompt-completion form with the chosen answers, each prompt and answer once."""
    del seed
    return [_completion(answer) for answer in unpaired(pairs).desirable]


def _completion(answer: Answer) -> TrainingRow:
    return {"prompt": _user(answer.pair.prompt), "completion": _assistant(answer.text)}


VIEWS: Mapping[str, Callable[[Sequence[Pair], int], list[TrainingRow]]] = {
    "dpo": preference_rows,
    "kto": unpaired_rows,
    "sft": chosen_rows,
}


def pair_weights(pairs: Sequence[Pair]) -> list[float]:
    """Return each pair's probability over the mean of the training pairs that have one; 1 where it has none.

    Raises:
        DataError: no training pair has a probability above 0.
    """
    estimates = [pair.probability for pair in pairs if pair.split == "train" and pair.probability >= 0]
    mean = sum(estimates) / max(len(estimates), 1)
    if not mean:
        found = "is 0 for every pair" if estimates else "is estimated for no pair"
        raise DataError(
            f"training.confidence_weighted: the probability {found} of the training split; set it to false, or "
            "make the pairs with a rankings.strategy that estimates one, such as consensus."
        )
    return [pair.probability / mean if pair.probability >= 0 else 1.0 for pair in pairs]


def rows_of(pairs: Sequence[Pair], config: TrainingConfig, seed: int) -> dict[str, list[TrainingRow]]:
    """Return the rows of both splits in the form of the method, with weights where pairs are weighted.

    Raises:
        DataError: pairs are to be weighted, but none has a probability above 0; or KTO has no undesirable answer to
            train on.
    """
    view = VIEWS[config.method]
    splits = {split: [pair for pair in pairs if pair.split == split] for split in ("train", "validation")}
    rows = {split: view(found, seed) for split, found in splits.items()}
    if config.method == "kto" and all(row["label"] for row in rows["train"]):
        raise DataError(
            f"training.method kto: none of the {len(splits['train'])} training pairs gives an undesirable answer, "
            "since slow sides are believed right; add correctness to training.kinds and pairs.kinds."
        )
    if config.confidence_weighted:
        weights = dict(zip((pair.pair_id for pair in pairs), pair_weights(pairs), strict=True))
        rows = {
            split: [
                row | {WEIGHT: weights[pair.pair_id]} for row, pair in zip(rows[split], found, strict=True)
            ]
            for split, found in splits.items()
        }
    return rows

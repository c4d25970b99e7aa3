"""The dataset card of the exported pairs: what they are, where they come from, and what they are not."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from codedpo import __version__
from codedpo.core.config import Config
from codedpo.core.records import Pair
from codedpo.core.unpaired import CHOSEN_ELSEWHERE, REPEATED, SLOW_SIDE, sides
from codedpo.pairs.export import SPLITS, Exported, OfSplit
from codedpo.pairs.preflight import Lengths, length_bias

DEFAULT_EXPORT = "preferences"
"""What ``datasets.load_dataset(folder)`` loads where no name is given."""
MOST_SOURCES = 50
MAKES_PAIRS = (
    *("name", "seed", "shard_size", "decontamination"),
    *("seeds", "tasks", "candidates", "sandbox", "rankings", "pairs"),
)
"""Settings and sections that the stages up to the pairs depend on, beside some of model and evaluation."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What the card says of a seed."""

    seed_id: str
    repo_name: str
    license: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where pairs come from."""

    config: Config
    seed_of_task: Mapping[str, Origin]
    """Task id -> the seed that the task was made from; empty for given tasks."""
    seeds: int
    """Seeds of the whole run, those without a pair included."""
    decontaminated: Mapping[str, Mapping[str, int]]
    """Stage (``seeds``, ``tasks``) -> reason -> rows dropped because they repeat a benchmark problem."""
    source_ids: Mapping[str, str] = field(default_factory=dict)
    """Task id -> what ``tasks.file`` calls the task; empty for tasks made from seeds."""
    model_identity: str = ""
    """What the model calls itself, which is said where the config does not name it."""


def dataset_card(pairs: Iterable[Pair], exported: Exported, provenance: Provenance) -> str:
    """Write the card.

    Args:
        pairs: all pairs; gone through several times, and never held.
        exported: what ``export.write_exports`` wrote of them.
        provenance: where the pairs come from.
    """
    config = provenance.config
    header = yaml.safe_dump(front_matter(exported), sort_keys=False)
    description = [config.description] if config.description else []
    return (
        "\n\n".join(
            [
                f"---\n{header}---",
                f"# Preference pairs of the run {config.name}",
                *description,
                f"A code model wrote {'' if config.tasks.file else 'the tasks, '}the solutions and the tests; "
                "execution and ranking chose between the "
                f"solutions ([arXiv 2410.05605](https://arxiv.org/abs/2410.05605)). Made by codedpo {__version__}. "
                "Chosen means believed right or measured faster, not proven: nobody checked the pairs by hand.",
                *_contents(pairs, exported.rows),
                *_origin(pairs, provenance),
                *_decontamination(provenance),
                *_reproduction(config),
                "## Licence",
                f"None is granted here. What binds: {_tasks_licence(config)}, and the terms of the model that wrote "
                "the texts. Set `license` before you publish.",
            ]
        )
        + "\n"
    )


def _tasks_licence(config: Config) -> str:
    if config.tasks.file:
        return "the licence of the tasks, which were given"
    return "the licences of the seeds above, from whose functions the tasks were made"


def front_matter(exported: Exported) -> dict[str, Any]:
    """Return the metadata that the Hub and ``datasets.load_dataset`` read: every export is a configuration.

    Its description is the fingerprint of its rows. ``datasets`` stores a loaded folder under the folder's name and the
    hash of these configurations, so that without it every run's ``export`` would be read from the cache of the first.
    """
    files: dict[str, list[dict[str, str]]] = {}
    for place in exported.rows:
        name, _, split = place.partition("/")
        files.setdefault(name, []).append({"split": split, "path": f"{place}.parquet"})
    sizes = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    return {
        "license": "other",
        "language": ["en"],
        "task_categories": ["text-generation"],
        "tags": ["codedpo", "dpo", "preference", "code", "python", "synthetic"],
        "size_categories": [next((name for most, name in sizes if exported.pairs < most), "1M<n<10M")],
        "configs": [
            {
                "config_name": name,
                "description": f"fingerprint {exported.fingerprints[name]}",
                "data_files": of_name,
            }
            | ({"default": True} if name == DEFAULT_EXPORT else {})
            for name, of_name in files.items()
        ],
    }


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', ' ') for cell in line)} |" for line in lines)


@dataclass(slots=True)
class _OfKind:
    """What the card says of the pairs of one kind."""

    splits: Counter[str] = field(default_factory=Counter)
    lengths: list[Lengths] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)

    def add(self, pair: Pair) -> None:
        self.splits[pair.split] += 1
        self.lengths.append((len(pair.chosen), len(pair.rejected)))
        if pair.probability >= 0:
            self.probabilities.append(pair.probability)
        if pair.speed_ratio > 0:
            self.ratios.append(pair.speed_ratio)

    def cells(self) -> tuple[object, ...]:
        (chosen, rejected), longer = length_bias(self.lengths)
        return (
            *(self.splits[split] for split in SPLITS),
            f"{chosen:.0f}",
            f"{rejected:.0f}",
            f"{longer:.0%}",
            f"{statistics.median(self.probabilities):.2f}" if self.probabilities else "not estimated",
            f"{statistics.median(self.ratios):.2f}" if self.ratios else "",
        )


def _contents(pairs: Iterable[Pair], rows: Mapping[str, int]) -> list[str]:
    kinds: dict[str, _OfKind] = defaultdict(_OfKind)
    for pair in pairs:
        kinds[pair.kind].add(pair)
    columns = ("kind", "train", "validation", "characters of chosen", "of rejected", "chosen longer")
    return [
        "## Contents",
        _table(
            (*columns, "probability", "times faster"), ((kind, *of.cells()) for kind, of in kinds.items())
        ),
        "Characters, probability (that chosen is right and rejected wrong) and times faster are medians. Where chosen "
        "is longer far from 50% of the time, length alone tells the sides apart and training may learn just that.",
        _table(("configuration and split", "rows"), rows.items()),
        "`preferences`, `plain`, `unpaired` and `chosen` are in TRL's forms for DPO, DPO without a chat template, KTO "
        "and SFT; `llama_factory/dataset_info.json` and `axolotl.yaml` are for those trainers.",
        _left_out(pairs),
    ]


def _left_out(pairs: Iterable[Pair]) -> str:
    """Say which sides of pairs are no row of ``unpaired``."""
    counts = Counter(reason for split in SPLITS for _, reason in sides(OfSplit(pairs, split)))
    return (
        f"`unpaired` leaves out {counts[SLOW_SIDE]} slow sides of efficiency pairs, which are believed right, "
        f"{counts[CHOSEN_ELSEWHERE]} rejected sides that another pair prefers, and {counts[REPEATED]} that repeat "
        "a row."
    )


def _origin(pairs: Iterable[Pair], provenance: Provenance) -> list[str]:
    section = provenance.config.model
    model = f"`{section.name or provenance.model_identity}` (kind `{section.kind}`)"
    given = provenance.config.tasks.file
    if given:
        return [
            "## Provenance",
            f"Tasks: given, `{Path(given).name}`. Solutions and tests: {model}.",
        ]
    of_pairs = [provenance.seed_of_task[pair.task_id] for pair in pairs]
    licences = Counter(seed.license for seed in of_pairs)
    sources = Counter((seed.repo_name, seed.license) for seed in of_pairs)
    seeds = {seed.seed_id: seed for seed in of_pairs}.values()
    seeds_by_licence = Counter(seed.license for seed in seeds)
    seeds_by_source = Counter((seed.repo_name, seed.license) for seed in seeds)
    more = len(sources) - MOST_SOURCES
    return [
        "## Provenance",
        f"Tasks, solutions and tests: {model}. Seeds: {len(seeds)} functions of {provenance.seeds} drawn led to a "
        "pair.",
        _table(
            ("licence of the seeds", "seeds", "pairs"),
            [(name, seeds_by_licence[name], count) for name, count in licences.most_common()],
        ),
        _table(
            ("source", "licence", "seeds", "pairs"),
            [
                (repo, licence, seeds_by_source[repo, licence], count)
                for (repo, licence), count in sources.most_common(MOST_SOURCES)
            ],
        ),
        *([f"And {more} more sources."] if more > 0 else []),
    ]


def _decontamination(provenance: Provenance) -> list[str]:
    benchmarks = ", ".join(provenance.config.kept_out) or "no benchmark"
    rows = [
        (stage, reason, count)
        for stage, reasons in provenance.decontaminated.items()
        for reason, count in reasons.items()
    ]
    dropped = sum(count for _, _, count in rows)
    return [
        "## Decontamination",
        f"Against {benchmarks}: {dropped} seeds and tasks that repeat a problem were dropped, by shared runs of words, "
        "equal code, prompt or distinctive name.",
        *([_table(("stage", "sign", "dropped"), rows)] if rows else []),
    ]


def _reproduction(config: Config) -> list[str]:
    plain = config.model_dump(mode="json")
    model = {key: plain["model"][key] for key in ("kind", "name", "path", "template", "options")}
    if config.model.kind == "plugin":
        del model["options"]  # nobody knows what they hold
    settings: dict[str, Any] = {key: plain[key] for key in MAKES_PAIRS}
    settings |= {"model": model, "evaluation": {"benchmarks": plain["evaluation"]["benchmarks"]}}
    return [
        "## How it was made",
        "`codedpo run config.yaml --until pairs` with this config (a model's address and recorded replies, and options "
        "of a plug-in, are left out):",
        f"```yaml\n{yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)}```",
    ]

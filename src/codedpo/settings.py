"""Settings of several stages that must go together, seen before any of them runs."""

from pathlib import Path

from codedpo.benchmarks import load_benchmark
from codedpo.core.config import Config
from codedpo.core.config_files import variants_of
from codedpo.core.errors import ConfigError
from codedpo.pairs.stage import NO_PROBABILITIES, by_probability
from codedpo.rankings.stage import build
from codedpo.stages import stages_until

_NO_WEIGHTS = (
    "training.confidence_weighted needs probabilities, which the ranking strategy does not estimate; set "
    "rankings.strategy.kind to consensus, or confidence_weighted to false."
)


def check_settings(config: Config, until: str) -> None:
    """See that names are known, and that a stage up to ``until`` is not asked for what an earlier one does not give.

    Those of the config's variants are looked at too.

    Raises:
        ConfigError: ``base_run`` is no run, there is no such benchmark, no pairs are made of a kind that training can
            use, or a later stage needs probabilities and the ranking strategy cannot be built or estimates none; what a
            plug-in estimates is known by trying only.
    """
    if config.base_run and not (Path(config.base_run) / "run.json").exists():
        raise ConfigError(
            f"base_run {config.base_run} is not a run folder; name one such as runs/quickstart."
        )
    for one in (config, *variants_of(config).values()):
        _check_one(one, until)


def _check_one(config: Config, until: str) -> None:
    for name in config.kept_out:
        load_benchmark(name, config.resources.data_folder)
    names = {stage.name for stage in stages_until(until, config)}
    if "training" in names:
        _check_kinds(config)
    for_pairs = "pairs" in names and by_probability(config.pairs)
    for_training = "training" in names and config.training.confidence_weighted
    if not for_pairs and not for_training:
        return
    if not build(config.rankings.strategy, config.seed).estimates_probabilities():
        raise ConfigError(NO_PROBABILITIES if for_pairs else _NO_WEIGHTS)


def _check_kinds(config: Config) -> None:
    """See that the stage pairs makes pairs of a kind that training can use."""
    kinds = {*config.training.kinds} & {*config.pairs.kinds}
    if not kinds:
        raise ConfigError(
            f"training.kinds ({', '.join(config.training.kinds)}) has no kind of pairs.kinds "
            f"({', '.join(config.pairs.kinds)}), so there would be no pair to train on; give both a common one."
        )
    if config.training.method == "kto" and "correctness" not in kinds:
        raise ConfigError(
            "training.method is kto, but its undesirable answers come from correctness pairs alone; add correctness to "
            "training.kinds and pairs.kinds, or train by another method."
        )

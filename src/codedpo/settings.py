"""Settings of several stages that must go together, seen before any of them runs."""

from codedpo.benchmarks import load_benchmark
from codedpo.core.config import Config
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

    Raises:
        ConfigError: there is no such benchmark, or a later stage needs probabilities and the ranking strategy cannot
            be built or estimates none; what a plug-in estimates is known by trying only.
    """
    for name in config.kept_out:
        load_benchmark(name, config.resources.data_folder)
    names = {stage.name for stage in stages_until(until, config)}
    for_pairs = "pairs" in names and by_probability(config.pairs)
    for_training = "training" in names and config.training.confidence_weighted
    if not for_pairs and not for_training:
        return
    if not build(config.rankings.strategy, config.seed).estimates_probabilities():
        raise ConfigError(NO_PROBABILITIES if for_pairs else _NO_WEIGHTS)

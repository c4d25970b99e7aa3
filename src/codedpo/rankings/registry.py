"""The ranking strategies by name: each a pure function ``rank(matrix, **options) -> Scores``."""

STRATEGIES = {
    "consensus": "codedpo.rankings.consensus:rank",
    "self_validation": "codedpo.rankings.self_validation:rank",
    "hits": "codedpo.rankings.hits:rank",
    "number_passed": "codedpo.rankings.baselines:number_passed",
    "all_tests_filter": "codedpo.rankings.baselines:all_tests_filter",
    "random": "codedpo.rankings.baselines:random",
    "codet": "codedpo.rankings.codet:rank",
    "b4": "codedpo.rankings.b4:rank",
    "minimum_bayes_risk": "codedpo.rankings.outputs:minimum_bayes_risk",
    "agreement": "codedpo.rankings.outputs:agreement",
    "agreement_times_self_validation": "codedpo.rankings.outputs:agreement_times_self_validation",
}
"""Kind -> module:function; ``core.registry`` loads them and plug-ins of the same signature."""
NEED_VALUES = frozenset({"minimum_bayes_risk", "agreement", "agreement_times_self_validation"})
"""Kinds that score by returned values, and are refused where there are none."""

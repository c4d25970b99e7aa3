"""The ranking strategies by name: each a pure function ``rank(matrix, **options) -> Scores``."""

STRATEGIES = {
    "self_validation": "codedpo.rankings.self_validation:rank",
    "number_passed": "codedpo.rankings.baselines:number_passed",
    "all_tests_filter": "codedpo.rankings.baselines:all_tests_filter",
    "random": "codedpo.rankings.baselines:random",
}
"""Kind -> module:function; ``core.registry`` loads them and plug-ins of the same signature."""

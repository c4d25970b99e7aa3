"""What ``bench.efficiency`` counts, and that it gets real trials of real data."""

from collections import Counter
from itertools import islice

import pytest
from bench.efficiency import Decided, claim_of, summary
from bench.efficiency_data import SOURCES, Trial

from codedpo.core.records import Outcome
from codedpo.sandbox.base import Check, Job
from codedpo.sandbox.local import LocalSandbox
from codedpo.sandbox.timing import Comparison


def ratio(middle, spread=0.05):
    return Comparison(middle, middle - spread, middle + spread, 15)


EQUAL = ratio(1.0)


@pytest.mark.parametrize(("middle", "claim"), [(1.2, 1), (1.12, 0), (1.0, 0), (0.9, 0), (0.8, -1)])
def test_a_claim_needs_the_whole_interval(middle, claim):
    assert claim_of(ratio(middle)) == claim


def test_the_shares_are_of_what_they_say():
    decided = [
        Decided("right", ratio(2.0), ratio(1.9), EQUAL, 1.0),
        Decided("exaggerated", ratio(1.3), ratio(1.05), EQUAL, 1.0),
        Decided("against", ratio(0.5), ratio(0.6), ratio(1.4), 1.0),
        Decided("missed", ratio(1.1), ratio(1.3), EQUAL, 3.0),
        Decided("wrong way", ratio(0.99), ratio(1.3), EQUAL, 4.0),
    ]
    figures = summary(decided, Counter(disagree=2))
    assert (figures["pairs"], figures["apart"], figures["right_order"]) == (5, 4, 0.75)
    assert (figures["claims"], figures["false_claims"]) == (3, pytest.approx(1 / 3, abs=1e-4))
    assert figures["claims_against_meant"] == pytest.approx(1 / 3, abs=1e-4)
    assert (figures["claims_of_equal"], figures["cpu_seconds_a_decision"]) == (0.2, 2.0)
    assert figures["dropped_disagree"] == 2
    assert summary([], Counter())["right_order"] is None


@pytest.mark.parametrize("name", SOURCES)
def test_trials_hold_two_programs_that_agree(name, data_folder):
    if not all((data_folder / one).is_dir() for one in ("enamel", "coffe", "evalperf")):
        pytest.skip("needs enamel, coffe and evalperf in the data folder")
    with LocalSandbox(workers=1) as sandbox:
        found = (one for one in SOURCES[name](data_folder, sandbox) if isinstance(one, Trial))
        for trial in islice(found, 2):
            assert trial.slow != trial.fast
            checks = tuple(Check(call=call) for call in trial.calls)
            (matrix,) = sandbox.run([Job("job", (trial.slow, trial.fast), checks)])
            for slow, fast in zip(*matrix.cells, strict=True):
                assert slow.outcome is fast.outcome is Outcome.PASSED
                assert slow.value_digest == fast.value_digest

"""Every attack is run at both levels; the honest solutions after it must still score, and nothing may be left."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sandbox.attacks import ATTACKS
from tests.sandbox.honest import HONEST

from codedpo.core.records import Outcome
from codedpo.sandbox.base import Check, Job, Limits
from codedpo.sandbox.local import LocalSandbox

LIMITS = Limits(cpu_seconds=0.15, wall_factor=2, memory_mib=256)
TESTS = tuple(Check(f"assert f({x!r}) == {2 * x!r}", f"f({x!r})", repr(2 * x)) for x in (10, 21, -3, "ab"))
TAME = "def f(x):\n    return x + x\n"
OWN_CHILD = "import sys\ndef f(x):\n    return sys.intern('a') and x + x\n"


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("host")
    file = folder / "canary"
    file.write_text("alive")
    for path in (file, folder):
        path.chmod(0o777)
    return file


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_gains_nothing(sandbox: LocalSandbox, canary: Path, name: str) -> None:
    source = ATTACKS[name].replace("CANARY", str(canary))
    (matrix,) = sandbox.run([Job(name, (TAME, source, TAME, OWN_CHILD), TESTS, LIMITS)])
    before, attack, after, alone = ([cell.outcome for cell in row] for row in matrix.cells)
    assert Outcome.PASSED not in attack
    assert before == after == alone == [Outcome.PASSED] * 4
    assert canary.read_text() == "alive"
    assert [path.name for path in canary.parent.iterdir()] == ["canary"]


@pytest.mark.parametrize("name", HONEST)
def test_honest_work_passes(sandbox: LocalSandbox, name: str) -> None:
    (matrix,) = sandbox.run([Job(name, (HONEST[name], TAME), TESTS, LIMITS)])
    assert [[(cell.outcome, cell.error_type) for cell in row] for row in matrix.cells] == [
        [(Outcome.PASSED, "")] * 4
    ] * 2


def test_the_attacks_are_counted() -> None:
    assert len(ATTACKS) >= 62

"""The sandboxes that the tests share: started once, at the two levels that are accepted by default."""

from collections.abc import Iterator

import pytest

from codedpo.core.errors import BackendError
from codedpo.sandbox.local import LocalSandbox

LAYERS = {3: ("namespaces", "landlock", "seccomp"), 2: ("landlock", "seccomp")}


def _open(level: int) -> Iterator[LocalSandbox]:
    with LocalSandbox(workers=1, minimum_level=level, layers=LAYERS[level]) as sandbox:
        try:
            sandbox.probe()
        except BackendError as error:
            pytest.skip(f"this machine cannot reach level {level}: {error}")
        yield sandbox


@pytest.fixture(scope="session")
def level_3() -> Iterator[LocalSandbox]:
    yield from _open(3)


@pytest.fixture(scope="session")
def level_2() -> Iterator[LocalSandbox]:
    yield from _open(2)


@pytest.fixture(params=[3, 2], ids=["level_3", "level_2"])
def sandbox(request: pytest.FixtureRequest) -> LocalSandbox:
    """Give each test both levels."""
    found: LocalSandbox = request.getfixturevalue(f"level_{request.param}")
    return found

"""The sandboxes that the tests share: started once, at the two levels that are accepted by default."""

from collections.abc import Iterator

import pytest

from codedpo.benchmarks.ds1000 import DS1000, STANDARD_LIBRARY
from codedpo.core.errors import BackendError
from codedpo.sandbox.local import PRELOAD, LocalSandbox

LAYERS = {3: ("namespaces", "landlock", "seccomp"), 2: ("landlock", "seccomp")}


def _open(level: int, *packages: str, temporary_folder_kib: int = 0) -> Iterator[LocalSandbox]:
    with LocalSandbox(
        workers=1,
        minimum_level=level,
        layers=LAYERS[level],
        preload=(*PRELOAD, *packages),
        temporary_folder_kib=temporary_folder_kib,
    ) as sandbox:
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


@pytest.fixture(scope="session")
def packages() -> Iterator[LocalSandbox]:
    """Load real packages whole, one with lazy submodules, one with a data file, and add all that DS-1000 adds.

    With ctypes, socket and subprocess at hand an attack is stopped by the kernel, where a refused import would do.
    """
    folder_kib = DS1000.temporary_folder_kib
    yield from _open(3, *STANDARD_LIBRARY, "numpy.*", "certifi.*", temporary_folder_kib=folder_kib)


@pytest.fixture(params=["level_3", "level_2", "packages"])
def sandbox(request: pytest.FixtureRequest) -> LocalSandbox:
    """Give each test both levels, and the first one also with packages, their data files in memory and a folder."""
    found: LocalSandbox = request.getfixturevalue(request.param)
    return found

import pytest

from codedpo.sandbox import conformance
from codedpo.sandbox.local import LocalSandbox


@pytest.mark.parametrize("name", conformance.names())
def test_the_local_sandbox_conforms(sandbox: LocalSandbox, name: str) -> None:
    assert conformance.run_check(sandbox, name) == ""


def test_all_checks_are_counted(level_3: LocalSandbox) -> None:
    assert conformance.check_backend(level_3) == len(conformance.names())

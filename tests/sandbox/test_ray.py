"""Ray workers as a sandbox. Ray is an extra: ``pip install 'codedpo[ray]'``; without it only its absence is tested."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from codedpo.core.config import Config, ResourcesConfig, SandboxConfig
from codedpo.core.errors import BackendError
from codedpo.core.progress import Voice
from codedpo.core.records import Outcome
from codedpo.sandbox import conformance
from codedpo.sandbox.base import Check, Job, Limits
from codedpo.sandbox.local import LocalSandbox
from codedpo.sandbox.ray import RaySandbox
from codedpo.sandbox.ray_cluster import remove_abandoned
from codedpo.services import Services

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs ray: pip install 'codedpo[ray]'")
pytestmark = [
    pytest.mark.xdist_group("ray"),
    # Ray's own warnings are not ours to mend.
    pytest.mark.filterwarnings(
        "ignore::FutureWarning", "ignore::ResourceWarning", "ignore::DeprecationWarning"
    ),
]
CHECKS = tuple(Check("", f"f({n})", str(2 * n)) for n in range(5))
DRIVER = """
from codedpo.core.config import ResourcesConfig, SandboxConfig
from codedpo.sandbox.base import Check, Job, Limits
from codedpo.sandbox.ray import RaySandbox

loop = "def f(x):\\n    while True:\\n        pass"
jobs = [Job(str(n), (loop,) * 20, (Check("", "f(1)", "1"),) * 4, Limits(cpu_seconds=60)) for n in range(50)]
with RaySandbox.from_config(SandboxConfig(), ResourcesConfig(workers=1)) as sandbox:
    sandbox.probe()
    print("ready", flush=True)
    list(sandbox.run(jobs))
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RaySandbox]:
    """What ``sandbox.kind: ray`` gives."""
    if find_spec("ray") is None:
        pytest.skip("needs ray: pip install 'codedpo[ray]'")
    config = Config(name="x", sandbox=SandboxConfig(kind="ray"), resources=ResourcesConfig(workers=2))
    services = Services(config, Path(), Voice(quiet=True))
    assert isinstance(services.sandbox, RaySandbox)
    yield services.sandbox
    services.close()


@pytest.mark.parametrize("name", conformance.names())
def test_ray_conforms(sandbox: RaySandbox, name: str) -> None:
    assert conformance.run_check(sandbox, name) == ""


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Return a temporary folder in which Ray's sockets still have names of the length that Linux allows."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:
        yield Path(folder)


def jobs(count: int) -> list[Job]:
    return [
        Job(str(n), (f"def f(x):\n    return {n % 3} * x", "def f(x):\n    return 2 * x"), CHECKS)
        for n in range(count)
    ]


def verdicts(sandbox: RaySandbox | LocalSandbox, count: int) -> list[tuple[str, list[list[tuple[str, str]]]]]:
    return [
        (matrix.job_id, [[(cell.outcome, cell.value_digest) for cell in row] for row in matrix.cells])
        for matrix in sandbox.run(iter(jobs(count)))
    ]


def test_verdicts_and_order_are_those_of_the_local_sandbox(sandbox: RaySandbox) -> None:
    with LocalSandbox(workers=1) as local:
        assert verdicts(sandbox, 300) == verdicts(local, 300)
        assert sandbox.probe().level == local.probe().level
        assert sandbox.identity == f"ray {local.identity}"


def test_jobs_are_read_as_they_are_needed(sandbox: RaySandbox) -> None:
    asked: list[int] = []

    def stream() -> Iterator[Job]:
        for number, job in enumerate(jobs(5000)):
            asked.append(number)
            yield job

    results = sandbox.run(stream())
    assert next(results).job_id == "0"
    assert len(asked) < 1000
    results.close()
    assert len(verdicts(sandbox, 3)) == 3


def workers() -> list[psutil.Process]:
    family = {process.pid for process in psutil.Process().children(recursive=True)}
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.pid in family and "RayWorker" in " ".join(process.info["cmdline"] or ())
    ]


def test_a_worker_that_is_lost_is_replaced(sandbox: RaySandbox) -> None:
    def stream() -> Iterator[Job]:
        """Lose one in the middle: whether it was at work or idle, it has or is given batches that only it can end."""
        for number, job in enumerate(jobs(600)):
            if number == 300:
                assert len(workers()) == 2
                workers()[0].send_signal(signal.SIGKILL)
            yield job

    results = list(sandbox.run(stream()))
    assert [matrix.job_id for matrix in results] == [str(n) for n in range(600)]
    assert {cell.outcome for matrix in results for cell in matrix.cells[1]} == {Outcome.PASSED}
    assert len(workers()) == 2


@needs_ray
def test_more_workers_than_the_cluster_has_are_refused(sandbox: RaySandbox) -> None:
    """Ray runs already (the fixture's), with two processors."""
    assert sandbox.probe().level
    with (
        RaySandbox(SandboxConfig(), workers=3) as greedy,
        pytest.raises(BackendError, match="has 2 processors and 3"),
    ):
        greedy.probe()
    assert len(verdicts(sandbox, 3)) == 3


@needs_ray
def test_another_sandbox_can_stand_beside(sandbox: RaySandbox) -> None:
    """As an audit and benchmarks with modules of their own need it: the processors are not held."""
    import_html = Job("a", ("import html.parser\ndef f(x):\n    return 2 * x",), CHECKS)
    assert [matrix.cells[0][0].outcome for matrix in sandbox.run([import_html])] == [Outcome.NOT_LOADED]
    section = SandboxConfig(kind="ray", modules=("html.parser",))
    with RaySandbox(section, workers=2) as other:
        assert [matrix.cells[0][0].outcome for matrix in other.run([import_html])] == [Outcome.PASSED]
        assert other.identity != sandbox.identity
    assert len(verdicts(sandbox, 3)) == 3


@needs_ray
def test_who_closes_first_takes_no_cluster_from_another() -> None:
    program = (
        "import ray\n"
        "from codedpo.core.config import SandboxConfig\n"
        "from codedpo.sandbox.base import Check, Job\n"
        "from codedpo.sandbox.ray import RaySandbox\n"
        "job = Job('a', ('def f(x):\\n    return x',), (Check('', 'f(1)', '1'),))\n"
        "first, second = RaySandbox(SandboxConfig(), 1), RaySandbox(SandboxConfig(), 1)\n"
        "outcomes = [list(first.run([job])), list(second.run([job]))]\n"
        "first.close()\n"
        "outcomes.append(list(second.run([job])))\n"
        "second.close()\n"
        "print([one[0].cells[0][0].outcome.value for one in outcomes], ray.is_initialized())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.stdout == "['passed', 'passed', 'passed'] False\n", done.stderr


@needs_ray
def test_an_interrupt_ends_the_only_batch_too(sandbox: RaySandbox) -> None:
    loops = Job("a", ("def f(x):\n    while True:\n        pass",) * 20, CHECKS, Limits(cpu_seconds=60))
    sandbox.probe()
    before = workers()
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest-xdist ignores interrupts.
    try:
        threading.Timer(2, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            list(sandbox.run([loops]))
    finally:
        signal.signal(signal.SIGINT, handler)
    _, alive = psutil.wait_procs(before, timeout=30)
    assert alive == []
    assert len(verdicts(sandbox, 3)) == 3


@needs_ray
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_when_the_driver_ends(
    how: signal.Signals, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = os.environ | {"TMPDIR": str(short_path)}
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    assert driver.stdout
    assert driver.stdout.readline() == b"ready\n"
    time.sleep(1)  # Until the loops run.
    names = {process: process.name() for process in psutil.Process(driver.pid).children(recursive=True)}
    assert {"raylet", "gcs_server"} <= set(names.values())
    assert sum(name.startswith("python") for name in names.values()) > 2
    monkeypatch.setattr(tempfile, "tempdir", str(short_path))
    remove_abandoned()  # Another's start leaves the folder of one that lives.
    assert len(list(short_path.glob("codedpo-ray-*"))) == 1
    driver.send_signal(how)
    driver.wait()
    driver.stdout.close()
    # Two agents of Ray's own look for a lost cluster for a minute, whatever it was used for, and then end too.
    agents = {process for process, name in names.items() if name.endswith("Agent")}
    _, alive = psutil.wait_procs(names.keys() - agents, timeout=30)
    assert alive == []
    for agent in agents:
        with suppress(psutil.NoSuchProcess):
            agent.kill()
    psutil.wait_procs(agents, timeout=10)
    assert len(list(short_path.glob("codedpo-ray-*"))) == (how is signal.SIGKILL)
    remove_abandoned()  # As the next start does.
    assert list(short_path.iterdir()) == []


@needs_ray
def test_a_running_cluster_is_used_and_left_as_it_was(short_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        Path(sys.executable).with_name("ray"),
        "start",
        "--head",
        "--block",
        f"--port={port}",
        "--num-cpus=1",
    ]
    options = ["--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={short_path}"]
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "3" * 64}
    cluster = subprocess.Popen(
        [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    program = (
        "import sys\n"
        "from codedpo.core.config import ResourcesConfig, SandboxConfig\n"
        "from codedpo.sandbox.base import Check, Job\n"
        "from codedpo.sandbox.ray import RaySandbox\n"
        "job = Job('a', ('def f(x):\\n    return x',), (Check('', 'f(1)', '1'),))\n"
        "with RaySandbox.from_config(SandboxConfig(), ResourcesConfig(ray_address=sys.argv[1])) as sandbox:\n"
        "    print([matrix.cells[0][0].outcome.value for matrix in sandbox.run([job] * 3)])\n"
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            assert time.monotonic() < deadline
            time.sleep(0.2)
        time.sleep(3)  # The port listens before the node has joined.
        driver = [sys.executable, "-c", program, f"127.0.0.1:{port}"]
        for _ in range(2):
            done = subprocess.run(driver, capture_output=True, text=True, timeout=120, env=environment)
            assert done.stdout == "['passed', 'passed', 'passed']\n", done.stderr
        stranger = environment | {"RAY_AUTH_TOKEN": "4" * 64}
        done = subprocess.run(driver, capture_output=True, text=True, timeout=120, env=stranger)
        assert re.search(r"BackendError: The Ray cluster .* cannot be reached \(.*AuthToken", done.stderr)
        assert cluster.poll() is None
    finally:
        family = psutil.Process(cluster.pid).children(recursive=True)
        cluster.terminate()
        cluster.wait(30)
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@needs_ray
def test_a_cluster_that_is_not_there_is_one_sentence() -> None:
    program = (
        "from codedpo.core.config import SandboxConfig\n"
        "from codedpo.core.errors import BackendError\n"
        "from codedpo.sandbox.ray import RaySandbox\n"
        "try:\n"
        "    RaySandbox(SandboxConfig(), address='127.0.0.1:1').probe()\n"
        "except BackendError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True
    )
    (line,) = done.stdout.strip().splitlines()
    assert line.startswith("The Ray cluster 127.0.0.1:1 cannot be reached (")


def test_without_ray_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BackendError, match=r"pip install 'codedpo\[ray\]'"):
        RaySandbox(SandboxConfig()).probe()


def test_the_identity_is_found_once_and_leaves_no_process() -> None:
    sandbox = RaySandbox(SandboxConfig(modules=("numpy",)))
    before = set(psutil.Process().children(recursive=True))
    assert sandbox.identity == sandbox.identity
    assert "numpy" in sandbox.identity
    assert set(psutil.Process().children(recursive=True)) <= before

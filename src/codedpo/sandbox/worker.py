"""Starts a worker, two processes, and talks to it."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import codedpo
from codedpo.core.errors import BackendError
from codedpo.sandbox import launchers, wire
from codedpo.sandbox.values import OpaqueError

_BOOT = "import sys; sys.path.append({root!r}); from codedpo.sandbox.{module} import main; main()"
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "NUMEXPR_MAX_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "MPLBACKEND": "agg",
}
"""Fixed, so that runs repeat themselves. One malloc arena, or every thread would reserve 64 MiB of the limit. No
threads of preloaded modules (BLAS, numexpr, the allocator of Arrow): a process that has some can enter no user
namespace, and a child has them no more. Pictures without a window."""


def _interpreter(module: str) -> list[str]:
    """Return the command that runs a module of this package, without the site packages."""
    root = str(Path(codedpo.__file__).resolve().parents[1])
    return [sys.executable, "-S", "-s", "-P", "-c", _BOOT.format(root=root, module=module)]


class Worker:
    """An oracle process and the channel to it."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            _interpreter("oracle"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_ENVIRONMENT,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._channel = wire.Channel(self._process.stdout.fileno(), self._process.stdin.fileno())
        self.ready = self.ask(options)

    def ask(self, request: Any) -> Any:
        """Send a request and return the reply, or None where the worker died of it."""
        try:
            self._channel.send(request)
            return self._channel.receive()
        except (OSError, OpaqueError):
            return None

    def kill(self) -> None:
        """End both processes; the zygote goes with its oracle. An ``ask`` under way returns None."""
        self._process.kill()

    def close(self) -> None:
        """End both processes and the channel, on which nobody may ask any more."""
        assert self._process.stdin
        assert self._process.stdout
        self.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


def start(
    layers: Sequence[str],
    preload: Sequence[str],
    launcher: launchers.Launcher | None,
    temporary_folder_kib: int,
) -> Worker:
    """Start an oracle and its zygote; ``Worker.ready`` then holds what the zygote found.

    Raises:
        BackendError: this is not Linux, or a helper did not start.
    """
    if sys.platform != "linux":
        raise BackendError(
            "The sandbox needs Linux; on this system run codedpo inside a Linux container (docker run -it python:3.11)."
        )
    if launcher and shutil.which(launcher.prefix[0]) is None:
        raise BackendError(
            f"The launcher {launcher.name} needs the program {launcher.prefix[0]}, which is not installed; install it,"
            " or set sandbox.launcher.kind=none."
        )
    # A port on which the host listens: the zygote tries to reach it.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        worker = Worker(
            {
                **_start_of_zygote(launcher),
                "zygote": {
                    "layers": list(layers),
                    "preload": list(preload),
                    "paths": None if launcher else [path for path in sys.path if path.endswith("-packages")],
                    "temporary_folder_kib": temporary_folder_kib,
                    "port": listener.getsockname()[1],
                },
            }
        )
    if worker.ready is None:
        worker.close()
        place = f" behind the launcher {launcher.name}" if launcher else ""
        raise BackendError(f"The sandbox's helper process did not start{place}; see its message above.")
    return worker


def _start_of_zygote(launcher: launchers.Launcher | None) -> dict[str, Any]:
    if launcher is None:
        return {"zygote_argv": _interpreter("zygote"), "zygote_source": b"", "environment": _ENVIRONMENT}
    return {
        "zygote_argv": launcher.argv(_ENVIRONMENT),
        "zygote_source": launchers.source(),
        "environment": dict(os.environ),
    }

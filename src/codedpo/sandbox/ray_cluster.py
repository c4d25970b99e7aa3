"""The connection to a Ray cluster: another's, which is left as it was, or one of our own, which ends with us."""

import fcntl
import os
import shutil
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

from codedpo.core.errors import BackendError

_PREFIX = "codedpo-ray-"
_LOCK = "lock"
_KNOCK_SECONDS = 10.0
_LONGEST_REASON = 300


class RayCluster:
    """Connects on construction; all of a process share a connection, and what was started ends with the last of them.

    Args:
        address: of a running cluster; empty: start one on this machine.
        processors: of the cluster that is started.

    Raises:
        BackendError: Ray is not installed, or the cluster cannot be reached or started.
    """

    _users = 0
    _folder: Path | None = None
    """Ray's files, where this process started the cluster."""
    _lock: IO[bytes] | None = None

    def __init__(self, address: str, processors: int) -> None:
        try:
            import ray
        except ImportError as error:
            raise BackendError(
                f"sandbox.kind=ray needs the package ray ({error}); pip install 'codedpo[ray]',"
                " or set sandbox.kind=local."
            ) from None
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        RayCluster._users += 1
        if ray.is_initialized():
            return
        try:
            if address:
                _knock(address)
                ray.init(address, log_to_driver=False, configure_logging=False)
            else:
                remove_abandoned()
                RayCluster._folder, RayCluster._lock = _new_folder()
                ray.init(
                    "local",
                    num_cpus=processors,
                    include_dashboard=False,
                    log_to_driver=False,
                    configure_logging=False,
                    _temp_dir=str(self._folder),
                )
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            self.close()
            # Ray says why, a wrong token for example, at the end of the cause only.
            reason = str(error.__cause__ or error).strip().split("\n")[-1].strip()[:_LONGEST_REASON]
            place = f"The Ray cluster {address} cannot be reached" if address else "Ray cannot be started"
            raise BackendError(
                f"{place} ({reason}); look at resources.ray_address and at Ray's own log."
            ) from error

    def close(self) -> None:
        """End the cluster and remove its files, if this process started it and nobody else here uses it."""
        import ray

        RayCluster._users -= 1
        if not self._users and self._folder and self._lock:
            ray.shutdown()
            shutil.rmtree(self._folder, ignore_errors=True)
            self._lock.close()
            RayCluster._folder = RayCluster._lock = None


def _knock(address: str) -> None:
    """Try whether somebody listens at ``host:port``: Ray itself would try for minutes.

    Raises:
        OSError: nobody does.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()


def _new_folder() -> tuple[Path, IO[bytes]]:
    """Return a new folder and its lock, which this process holds as long as it lives."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    made = folder / "making"
    lock = made.open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    made.rename(folder / _LOCK)  # Others see it only locked.
    return folder, lock


def remove_abandoned() -> None:
    """Remove the files of clusters whose process was killed: their locks are free."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError), (folder / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)

"""The folder of things that are made once per user, and the lock under which they are made."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return the user's cache folder of this project: ``CODEDPO_CACHE_DIR``, or the platform's place."""
    override = os.environ.get("CODEDPO_CACHE_DIR")
    folder = Path(override).expanduser() if override else Path(platformdirs.user_cache_dir("codedpo"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the machine-wide lock ``name`` so that two processes do not make the same thing.

    The kernel frees it when the process ends, however it ends.
    """
    folder = cache_folder() / "locks"
    folder.mkdir(exist_ok=True)
    with (folder / f"{name.replace('/', '--')}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

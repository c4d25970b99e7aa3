"""Which of several training processes this is, as ``torchrun`` says it."""

import os


def count() -> int:
    """Return how many processes share this training."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the process that writes files and tells the stage."""
    return os.environ.get("RANK", "0") == "0"


def gpu() -> int:
    """Return the number of the GPU that is this process's own."""
    return int(os.environ.get("LOCAL_RANK", "0"))

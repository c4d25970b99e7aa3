"""Fixtures that several test folders share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A deadline is a timed assertion: it fails where another process holds the disk or the processor for a second.
settings.register_profile("codedpo", deadline=None)
settings.load_profile("codedpo")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Return the folder of real benchmark data, or skip where this machine has none."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("CODEDPO_DATA_DIR", default))
    if not folder.is_dir():
        pytest.skip(f"needs the benchmark data: set CODEDPO_DATA_DIR to its folder ({folder} does not exist)")
    return folder

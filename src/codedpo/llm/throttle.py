"""How many calls an endpoint is given at once: grows while it answers, halves where it is overloaded."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Throttle:
    """Additive increase, multiplicative decrease, and one cool-down that all calls share.

    The limit starts at an eighth of the most, grows by one after as many successes as it allows calls, and
    halves on overload, at most once a cool-down. While an endpoint cools down nobody asks, so that waiting
    calls do not spend their attempts on it.

    Args:
        most: Calls at once that are never exceeded.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = max(1, most // 8)
        self.running = 0
        self._successes = 0
        self._open_at = 0.0
        self._freed = asyncio.Condition()
        self._closing = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether no further call may be made."""
        return self._closing.is_set()

    def close(self) -> None:
        """Let no further call be made: whoever cools down or pauses goes on at once, without a place."""
        self._closing.set()

    async def pause(self, seconds: float) -> None:
        """Sleep, but no longer than until the throttle is closed."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[bool]:
        """Wait for the cool-down and for a free place, and hold the place; False: closed, no call may be made."""
        while True:
            async with self._freed:
                # Only calls under way take all places: each wakes the waiting ones when it ends, also after a close.
                await self._freed.wait_for(lambda: self.closed or self.running < self.limit)
                wait = self._open_at - time.monotonic()
                if self.closed or wait <= 0:
                    self.running += 1
                    break
            await self.pause(wait)
        try:
            yield not self.closed
        finally:
            async with self._freed:
                self.running -= 1
                self._freed.notify_all()

    def succeeded(self) -> None:
        """Note an answer."""
        self._successes += 1
        if self._successes >= self.limit:
            self._successes = 0
            self.limit = min(self.most, self.limit + 1)

    def overloaded(self, seconds: float) -> None:
        """Note that the endpoint asked for fewer calls; nobody calls it for ``seconds``."""
        now = time.monotonic()
        if now >= self._open_at:
            self.limit = max(1, self.limit // 2)
            self._successes = 0
        self._open_at = max(self._open_at, now + seconds)

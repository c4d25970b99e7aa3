"""Workers that threads take turns with: started when they are needed, replaced when they die, ended together."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from codedpo.sandbox.batches import BATCHES_AHEAD
from codedpo.sandbox.worker import Worker

Given = TypeVar("Given")
Made = TypeVar("Made")
Ask = Callable[[Any], Any]
"""Sends a request to a worker and returns its reply; None where workers died of the request repeatedly."""
_ATTEMPTS = 2


class WorkerPool:
    """Lends a worker to one request at a time.

    Args:
        count: number of workers that live at once.
        start: starts one.
    """

    def __init__(self, count: int, start: Callable[[], Worker]) -> None:
        self.count = count
        self._start = start
        self._places = threading.Semaphore(count)
        self._lock = threading.Lock()
        self._alive: set[Worker] = set()
        self._idle: list[Worker] = []
        """Those of them that nobody asks at the moment."""

    def start_one(self) -> None:
        """Start a worker if none is idle."""
        with self._places:
            self._give_back(self._take(), usable=True)

    def ask(self, request: Any, given_up: threading.Event | None = None) -> Any:
        """Return a worker's reply; None where workers died of the request repeatedly.

        Raises:
            CancelledError: the caller has given up meanwhile, which is what killed the worker.
        """
        for attempt in range(_ATTEMPTS):
            _check(given_up)
            with self._places:
                # Those that are idle may all have died meanwhile; of a new one it is known that the request kills it.
                worker, reply = self._take(new=attempt > 0), None
                try:
                    _check(given_up)  # The others may have been ended while this one was started.
                    reply = worker.ask(request)
                finally:
                    self._give_back(worker, usable=reply is not None)
            if reply is not None:
                return reply
        return None

    def in_order(
        self, work: Callable[[Given, Ask], Made], items: Iterable[Given], workers: int
    ) -> Iterator[Made]:
        """Do work on several workers; results come in the order of the items, some items are read ahead.

        Where it fails, or the caller stops listening, every worker of the pool ends.
        """
        waiting: deque[Future[Made]] = deque()
        given_up = threading.Event()
        ask = partial(self.ask, given_up=given_up)
        threads = ThreadPoolExecutor(workers, thread_name_prefix="sandbox")
        try:
            for item in items:
                waiting.append(threads.submit(work, item, ask))
                if len(waiting) > BATCHES_AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            given_up.set()
            self.close()
            raise
        finally:
            threads.shutdown(cancel_futures=True)

    def close(self) -> None:
        """End every worker; the next request starts one anew."""
        with self._lock:
            for worker in self._alive:
                worker.kill()
            self._alive.clear()
            idle, self._idle = self._idle, []
        for worker in idle:  # The others are closed by those who ask them.
            worker.close()

    def _take(self, *, new: bool = False) -> Worker:
        with self._lock:
            idle = self._idle.pop() if self._idle else None
        if idle and not new:
            return idle
        if idle:
            self._give_back(idle, usable=False)
        worker = self._start()
        with self._lock:
            self._alive.add(worker)
        return worker

    def _give_back(self, worker: Worker, *, usable: bool) -> None:
        with self._lock:
            if usable and worker in self._alive:
                self._idle.append(worker)
                return
            self._alive.discard(worker)
        worker.close()


def _check(given_up: threading.Event | None) -> None:
    if given_up and given_up.is_set():
        raise CancelledError

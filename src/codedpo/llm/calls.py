"""The calls of one ``OpenAIGenerator.generate``: what is sent when, and what is done about each failure."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from codedpo.core.errors import BackendError
from codedpo.llm.base import Message, Reply, Request
from codedpo.llm.chat import Choice
from codedpo.llm.endpoint import ChangedError, Endpoint, FailedError, OverloadedError, RefusedError
from codedpo.llm.stopping import refusals
from codedpo.llm.throttle import Throttle

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
_LONGEST_COOL_DOWN = 600.0
_TELLING_REFUSALS = 3
"""So many different prompts refused, and none answered: perhaps it is not the prompts that are refused."""
_TELLING_FAILURES = 16
"""So many different prompts that always fail, and none of the run's own answered: it is not the prompts."""


@dataclass(frozen=True, slots=True)
class _Call:
    request: Request
    first: int
    count: int

    def without(self, done: int) -> "_Call":
        """Return what is left when the first samples are there."""
        return replace(self, first=self.first + done, count=self.count - done)


class Calls:
    """The calls of one ``generate``.

    Args:
        endpoint: Whom to ask.
        take: Gets the replies of each call as it is answered, in the thread of ``make``; what it raises ends all calls.
        concurrency: Most calls at once.
        attempts: Tries of one call, overload not counted.
        patience_seconds: Longest time without any answer from an overloaded endpoint.
        samples_per_call: Most samples asked for in one call; 0: all of a request.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        take: Callable[[Sequence[Reply]], None],
        *,
        concurrency: int,
        attempts: int,
        patience_seconds: float,
        samples_per_call: int,
    ) -> None:
        self._endpoint, self._take = endpoint, take
        self._concurrency, self._attempts = concurrency, attempts
        self._patience_seconds, self._samples_per_call = patience_seconds, samples_per_call
        self._throttle = Throttle(concurrency)
        self._failure: BackendError | None = None
        self._last_answer = time.monotonic()
        self._has_answered = False
        """Whether it has answered anything, a short prompt of ours too."""
        self._has_answered_own = False
        """Whether it has answered one of the run's prompts."""
        self._refused_keys: set[str] = set()
        self._failed_keys: set[str] = set()
        self._last_refused: _Call | None = None
        self._last_refusal = ""
        self._busy_workers = 0
        self._may_go_on = asyncio.Event()
        """Set when refusals are in doubt no more: something was answered, or no call will be made."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_left = False

    def leave(self) -> None:
        """Make no further call, since nobody waits for replies any more; for other threads to call."""
        self._is_left = True
        if self._loop is not None:
            with suppress(RuntimeError):  # all calls have ended
                self._loop.call_soon_threadsafe(self._stop)

    def _fail(self, failure: BackendError) -> None:
        """Make no further call, and raise this, the first failure, when those under way have ended."""
        self._failure = self._failure or failure
        self._stop()

    def _stop(self) -> None:
        self._throttle.close()
        self._may_go_on.set()

    async def make(self, requests: Iterable[Request]) -> None:
        """Make all calls; those under way when it stops are awaited, so that nothing paid for is lost.

        Raises:
            BackendError: the endpoint cannot be reached, refuses the key, or answers nothing but failures.
        """
        self._loop = asyncio.get_running_loop()
        if self._is_left:
            return
        calls = [call for request in requests for call in self._cut(request)]
        waiting = iter(calls)
        async with self._endpoint.client() as client:

            async def worker() -> None:
                for call in waiting:
                    self._busy_workers += 1
                    await self._answer(client, call)
                    self._busy_workers -= 1
                    await self._wait_in_doubt(client)
                    if self._throttle.closed:
                        return

            # As many as there may be calls in all, for a call becomes several where one gives a sample only.
            count = min(self._concurrency, sum(call.count for call in calls))
            await asyncio.gather(*(worker() for _ in range(count)))
        if self._failure:
            raise self._failure

    def _cut(self, request: Request) -> Iterator[_Call]:
        size = self._samples_per_call or request.count
        for first in range(request.first, request.first + request.count, size):
            yield _Call(request, first, min(size, request.first + request.count - first))

    async def _answer(self, client: "AsyncOpenAI", call: _Call) -> None:
        """Get the samples of one call, in several calls where the endpoint gives fewer than asked."""
        failures = 0
        while call.count and not self._throttle.closed:
            try:
                async with self._throttle.slot() as may_call:
                    if not may_call:
                        return
                    part = replace(call, count=1) if self._endpoint.single else call
                    choices = await self._endpoint.send(client, part.request, part.first, part.count)
            except BackendError as failure:
                self._fail(failure)
            except ChangedError:
                continue
            except OverloadedError as overload:
                self._cool_down(overload)
            except RefusedError as refusal:
                self._refused_keys.add(part.request.key)
                self._last_refused, self._last_refusal = part, str(refusal)
                self._take_refused(part, str(refusal))
                call = call.without(part.count)
            except FailedError as failed:
                failures += 1
                self._endpoint.counters["retries"] += 1
                if failures < self._attempts:
                    await self._throttle.pause(min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (failures - 1)))
                else:
                    await self._give_up(client, part, failed)
                    call = call.without(part.count)
                    failures = 0
            else:
                self._note_answer()
                self._has_answered_own = True
                self._take(_replies(part, choices))
                call = call.without(len(choices))
                failures = 0

    def _cool_down(self, overload: OverloadedError) -> None:
        """Give an overloaded endpoint time, but stop where it has been given all of our patience."""
        self._throttle.overloaded(min(overload.seconds, _LONGEST_COOL_DOWN))
        if time.monotonic() - self._last_answer > self._patience_seconds:
            self._fail(
                BackendError(
                    f"{self._endpoint.url} has answered only {overload.status} for "
                    f"{self._patience_seconds:.0f} s; run again later, everything so far is kept."
                )
            )

    def _note_answer(self) -> None:
        self._has_answered = True
        self._may_go_on.set()
        self._last_answer = time.monotonic()
        self._throttle.succeeded()

    def _take_refused(self, part: _Call, reason: str) -> None:
        self._take(refusals(replace(part.request, first=part.first, count=part.count), reason, 0))

    async def _wait_in_doubt(self, client: "AsyncOpenAI") -> None:
        """Begin no further call after several refusals until something is answered; stop where nothing is.

        Refusals come fast and answers slowly, and after a resume the prompts that are too long may be all that is left:
        where no call is under way, a short prompt of our own tells whether it is the prompts that are refused.
        """
        if self._may_go_on.is_set() or len(self._refused_keys) < _TELLING_REFUSALS:
            return
        if not self._busy_workers:
            assert self._last_refused
            fault = await self._fault_of_short_prompt(client, self._last_refused)
            if isinstance(fault, RefusedError):
                self._fail(
                    BackendError(
                        f"{self._endpoint.url} refuses every prompt so far, the last one with {self._last_refusal}; "
                        "mend what it names in the config or at the server."
                    )
                )
            self._may_go_on.set()
        await self._may_go_on.wait()

    async def _give_up(self, client: "AsyncOpenAI", part: _Call, failed: FailedError) -> None:
        """Refuse a prompt that always fails, which after a resume may be all that is asked; stop where all fails."""
        if failed.fatal:
            self._fail(self._endpoint.unreachable(failed))
        elif await self._answers_others(client, part):
            self._take_refused(part, f"{failed} ({self._attempts} attempts)")
        else:
            text = (
                f"{self._endpoint.url} gave only failures, the last one {failed}; look at the server's log."
            )
            self._fail(BackendError(text))

    async def _answers_others(self, client: "AsyncOpenAI", part: _Call) -> bool:
        """Tell whether the prompt is at fault: another one was answered, or a short one is and few have failed."""
        if self._has_answered_own:
            return True
        self._failed_keys.add(part.request.key)
        few = len(self._failed_keys) <= _TELLING_FAILURES
        return few and (self._has_answered or await self._fault_of_short_prompt(client, part) is None)

    async def _fault_of_short_prompt(self, client: "AsyncOpenAI", call: _Call) -> Exception | None:
        """Ask a short prompt of our own, sampled as ``call`` was: its settings may be at fault. None: answered."""
        probe = Request("probe", (Message("user", "Write a Python function."),), call.request.sampling)
        while not self._throttle.closed:
            try:
                await self._endpoint.send(client, probe, 0, 1)
            except ChangedError:
                continue
            except BackendError as failure:
                self._fail(failure)
                return failure
            except (RefusedError, OverloadedError, FailedError) as fault:
                return fault
            self._note_answer()
            return None
        return ChangedError()


def _replies(part: _Call, choices: Sequence[Choice]) -> list[Reply]:
    return [
        Reply(
            part.request.request_id,
            part.first + number,
            choice.text,
            choice.finish_reason,
            choice.prompt_tokens,
            choice.completion_tokens,
        )
        for number, choice in enumerate(choices)
    ]

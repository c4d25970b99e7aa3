"""The calls of one ``OpenAIGenerator.generate``: what is sent when, and what is done about each failure."""

import asyncio
import queue
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from codedpo.core.errors import BackendError
from codedpo.llm.base import Message, Reply, Request
from codedpo.llm.chat import (
    UnusableAnswerError,
    body_of,
    choices_of,
    names,
    refused_parameter,
    retry_after,
)
from codedpo.llm.throttle import Throttle

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from codedpo.llm.openai import OpenAIGenerator

_OVERLOADED = {429, 503, 529}
_PASSING = {408, 409, 425, 500, 502, 504}
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 60.0
_TELLING_REFUSALS = 3
"""So many different prompts refused, and none answered: perhaps it is not the prompts that are refused."""
_TELLING_FAILURES = 16
"""So many different prompts that always fail, and none of the run's own answered: it is not the prompts."""


@dataclass(frozen=True, slots=True)
class _Call:
    request: Request
    first: int
    count: int


class Run:
    """The calls of one ``generate``."""

    def __init__(
        self, owner: "OpenAIGenerator", replies: "queue.SimpleQueue[Reply | BaseException | None]"
    ) -> None:
        self.owner, self.replies = owner, replies
        self.throttle = Throttle(owner.concurrency)
        self.failure: BackendError | None = None
        self.answers = 0
        self.last_answer = time.monotonic()
        self._answered_temperatures: set[float] = set()
        self._refused_keys: set[str] = set()
        self._failed_keys: set[str] = set()
        self._own_answers = 0
        self._refused: _Call | None = None
        self._refusal = ""
        self._busy_workers = 0
        self._may_go_on = asyncio.Event()
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
        self.failure = self.failure or failure
        self._stop()

    def _stop(self) -> None:
        self.throttle.close()
        self._may_go_on.set()

    async def all(self, requests: list[Request]) -> None:
        """Make all calls; those under way when it stops are awaited, so that nothing paid for is lost."""
        self._loop = asyncio.get_running_loop()
        if self._is_left:
            return
        waiting = iter([call for request in requests for call in self._cut(request)])
        async with self.owner.client() as client:

            async def worker() -> None:
                for call in waiting:
                    self._busy_workers += 1
                    await self._answer(client, call)
                    self._busy_workers -= 1
                    await self._wait_in_doubt(client)
                    if self.throttle.closed:
                        return

            count = min(self.owner.concurrency, sum(request.count for request in requests))
            await asyncio.gather(*(worker() for _ in range(count)))
        if self.failure:
            raise self.failure

    async def _wait_in_doubt(self, client: "AsyncOpenAI") -> None:
        """Begin no further call after several refusals until something is answered; stop where nothing is.

        Refusals come fast and answers slowly, and after a resume the prompts that are too long may be all that is left:
        where no call is under way, a short prompt of our own tells whether it is the prompts that are refused.
        """
        if self.answers or self._may_go_on.is_set() or len(self._refused_keys) < _TELLING_REFUSALS:
            return
        if not self._busy_workers:
            assert self._refused
            fault = await self._fault_of_short_prompt(client, self._refused)
            if isinstance(fault, _RefusedError):
                self._fail(
                    BackendError(
                        f"{self.owner.url} refuses every prompt so far, the last one with {self._refusal}; "
                        "mend what it names in the config or at the server."
                    )
                )
            self._may_go_on.set()
        await self._may_go_on.wait()

    async def _fault_of_short_prompt(self, client: "AsyncOpenAI", call: _Call) -> Exception | None:
        """Ask a short prompt of our own, sampled as ``call`` was: its settings may be at fault. None: answered."""
        probe = Request("probe", (Message("user", "Write a Python function."),), call.request.sampling)
        while not self.throttle.closed:
            try:
                await self._send(client, _Call(probe, 0, 1))
            except _ChangedError:
                continue
            except (_RefusedError, _OverloadedError, _FailedError) as fault:
                return fault
            self._note_answer(probe)
            return None
        return _ChangedError()

    def _cut(self, request: Request) -> Iterator[_Call]:
        size = self.owner.samples_per_call or request.count
        for first in range(request.first, request.first + request.count, size):
            yield _Call(request, first, min(size, request.first + request.count - first))

    async def _answer(self, client: "AsyncOpenAI", call: _Call) -> None:
        """Get the samples of one call, in several calls where the endpoint gives fewer than asked."""
        owner = self.owner
        failures = 0
        while call.count and not self.throttle.closed:
            try:
                async with self.throttle.slot() as may_call:
                    if not may_call:
                        return
                    part = replace(call, count=1) if owner.single else call
                    choices = await self._send(client, part)
            except _OverloadedError as overload:
                self.throttle.overloaded(min(overload.seconds, _LONGEST_WAIT * 10))
                if time.monotonic() - self.last_answer > owner.patience_seconds:
                    self._fail(
                        BackendError(
                            f"{owner.url} has answered only {overload.status} for "
                            f"{owner.patience_seconds:.0f} s; run again later, everything so far is kept."
                        )
                    )
            except _RefusedError as refusal:
                self._refused_keys.add(part.request.key)
                self._refused = part
                self._refusal = str(refusal)
                self._yield_refused(part, self._refusal)
                call = replace(call, first=call.first + part.count, count=call.count - part.count)
            except _ChangedError:
                continue
            except _FailedError as failed:
                failures += 1
                owner.counters["retries"] += 1
                if failures >= owner.attempts:
                    await self._give_up(client, part, failed)
                    call = replace(call, first=call.first + part.count, count=call.count - part.count)
                    failures = 0
                else:
                    await self.throttle.pause(min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (failures - 1)))
            else:
                if len(choices) < part.count:
                    owner.ask_singly()
                self._yield(part, choices[: part.count])
                done = min(len(choices), part.count)
                call = replace(call, first=call.first + done, count=call.count - done)
                failures = 0

    async def _give_up(self, client: "AsyncOpenAI", part: _Call, failed: "_FailedError") -> None:
        """Refuse a prompt that always fails, which after a resume may be all that is asked; stop where all fails."""
        if failed.fatal:
            self._fail(self.owner.unreachable(failed))
        elif await self._answers_others(client, part):
            self._yield_refused(part, f"{failed} ({self.owner.attempts} attempts)")
        else:
            text = f"{self.owner.url} gave only failures, the last one {failed}; look at the server's log."
            self._fail(BackendError(text))

    async def _answers_others(self, client: "AsyncOpenAI", part: _Call) -> bool:
        """Tell whether the prompt is at fault: another one was answered, or a short one is and few have failed."""
        if self._own_answers:
            return True
        self._failed_keys.add(part.request.key)
        few = len(self._failed_keys) <= _TELLING_FAILURES
        return few and (self.answers > 0 or await self._fault_of_short_prompt(client, part) is None)

    def _note_answer(self, request: Request) -> None:
        self.answers += 1
        self._answered_temperatures.add(request.sampling.temperature)
        self._may_go_on.set()
        self.last_answer = time.monotonic()
        self.throttle.succeeded()

    def _yield(self, part: _Call, choices: list[Any]) -> None:
        self._note_answer(part.request)
        self._own_answers += 1
        for number, choice in enumerate(choices):
            tokens = choice.prompt_tokens, choice.completion_tokens
            reply = Reply(
                part.request.request_id, part.first + number, choice.text, choice.finish_reason, *tokens
            )
            self.replies.put(reply)

    def _yield_refused(self, part: _Call, text: str) -> None:
        for number in range(part.first, part.first + part.count):
            self.replies.put(Reply(part.request.request_id, number, text, "refused", 0, 0))

    async def _send(self, client: "AsyncOpenAI", call: _Call) -> list[Any]:
        """Make one HTTP call, and sort its failures by what is to be done about them."""
        import openai

        owner = self.owner
        owner.counters["calls"] += 1
        body = body_of(call.request, call.first, call.count, owner.model, owner.prompt_style, owner.dropped)
        path = "/chat/completions" if owner.prompt_style == "chat" else "/completions"
        headers = {"X-Request-Id": f"{call.request.key}-{call.first}"}
        try:
            response = await client.post(
                path, body=body, options={"headers": headers}, cast_to=_raw_response_type()
            )
            return choices_of(response.content, owner.prompt_style)
        except openai.APIStatusError as error:
            raise self._sorted(error, body) from error
        except openai.APITimeoutError as error:
            raise _FailedError(f"no answer within {owner.timeout_seconds:.0f} s") from error
        except openai.APIConnectionError as error:
            raise _FailedError(str(error.__cause__ or error), fatal=True) from error
        except UnusableAnswerError as error:
            raise _FailedError(str(error)) from error

    def _sorted(self, error: Any, body: dict[str, Any]) -> Exception:
        owner, status = self.owner, error.status_code
        message = str(error.message).removeprefix(f"Error code: {status} - ")
        name = refused_parameter(status, message, body)
        if failure := self._concerns_all(error, message, None if name else body["temperature"]):
            self._fail(failure)
            return _ChangedError()
        if status in _OVERLOADED:
            owner.counters["overloads"] += 1
            wait = retry_after(error.response.headers)
            return _OverloadedError(status, _FIRST_WAIT * 4 if wait is None else wait)
        if name == "n":
            owner.ask_singly()
            return _ChangedError()
        if name:
            owner.leave_out(name)
            return _ChangedError()
        if status in _PASSING or status >= 500:
            return _FailedError(f"status {status}: {message[:100]}")
        return _RefusedError(f"status {status}: {message[:200]}")

    def _concerns_all(self, error: Any, message: str, temperature: float | None) -> BackendError | None:
        """Return the failure where no prompt would fare better; without a temperature, that is not what is refused."""
        owner, status = self.owner, error.status_code
        if status in (401, 403):
            return owner.no_access(status)
        if status == 402 or error.code == "insufficient_quota":
            return BackendError(
                f"{owner.url} answers {status} ({message[:200]}); add credit there and run again."
            )
        if status == 404:
            return BackendError(
                f"{owner.url} answers 404 for {owner.model} ({message[:100]}); mend model.url or model.name."
            )
        is_new = temperature not in self._answered_temperatures
        if temperature is not None and status in (400, 422) and is_new and names(message, "temperature"):
            return BackendError(
                f"{owner.url} does not take the temperature {temperature} ({message[:200]}); "
                "set one that it takes, in the sampling of this stage."
            )
        return None


def _raw_response_type() -> Any:
    import httpx2

    return httpx2.Response


class _OverloadedError(Exception):
    def __init__(self, status: int, seconds: float) -> None:
        super().__init__(status)
        self.status, self.seconds = status, seconds


class _FailedError(Exception):
    """May go better next time; ``fatal`` where there was no connection, which stops the run if that stays so."""

    def __init__(self, text: str, *, fatal: bool = False) -> None:
        super().__init__(text)
        self.fatal = fatal


class _RefusedError(Exception):
    """Will not go better: this prompt is refused."""


class _ChangedError(Exception):
    """Something was learnt of the endpoint: send again, or stop."""

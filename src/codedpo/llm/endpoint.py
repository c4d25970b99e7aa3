"""One call of an OpenAI-compatible endpoint: its failures by what is to be done, and what they tell of the endpoint."""

import asyncio
import os
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from codedpo.core.errors import BackendError, ConfigError
from codedpo.llm.base import Request
from codedpo.llm.chat import (
    Choice,
    PromptStyle,
    UnusableAnswerError,
    body_of,
    choices_of,
    names,
    refused_parameter,
    retry_after,
)

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_OVERLOADED = {429, 503, 529}
_PASSING = {408, 409, 425, 500, 502, 504}
_USUAL_WAIT = 2.0
"""Seconds that an overloaded endpoint is given where it does not say how many."""


class OverloadedError(Exception):
    """Has too many calls; to be asked again after so many seconds."""

    def __init__(self, status: int, seconds: float) -> None:
        super().__init__(status)
        self.status, self.seconds = status, seconds


class FailedError(Exception):
    """May go better next time; ``fatal`` where there was no connection, which stops the run if that stays so."""

    def __init__(self, text: str, *, fatal: bool = False) -> None:
        super().__init__(text)
        self.fatal = fatal


class RefusedError(Exception):
    """Will not go better: this prompt is refused."""


class ChangedError(Exception):
    """Something was learnt of the endpoint: to be sent again."""


def _is_address(url: str) -> bool:
    """Tell whether a text is the address of a server: a scheme, a host and, if any, a port that is a number."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is none
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


class Endpoint:
    """An endpoint and what is known of it.

    Args:
        url: Base address, ``http://localhost:8000`` or ``https://host/v1``.
        model: Name of a model that it serves; may be empty where it serves one.
        key_variable: Environment variable that holds the key.
        timeout_seconds: Longest wait for one answer.
        prompt_style: ``chat`` or ``completion``.

    Raises:
        ConfigError: the address is none.
    """

    def __init__(
        self, url: str, model: str, *, key_variable: str, timeout_seconds: float, prompt_style: PromptStyle
    ) -> None:
        if not _is_address(url):
            raise ConfigError(f"model.url is {url!r}; give an address such as http://localhost:8000/v1.")
        parts = urlsplit(url)
        self.url = url.rstrip("/") if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}/v1"
        self.asked_model, self._model = model, ""
        self.key_variable = key_variable
        self.timeout_seconds = timeout_seconds
        self.prompt_style = prompt_style
        self.counters: Counter[str] = Counter()
        """Calls, overloads, and parameters that it refused."""
        self.single = False
        """Whether it gives one sample a call only."""
        self._dropped: frozenset[str] = frozenset()
        self._answered_temperatures: set[float] = set()

    @property
    def model(self) -> str:
        """The model's name as the endpoint reports it.

        Raises:
            BackendError: the endpoint cannot be reached, or does not serve the model.
        """
        if not self._model:
            self._model = asyncio.run(self._resolve_model())
        return self._model

    @property
    def _key(self) -> str:
        """The key, '' where there is none; a line break at its end is that of the file which it was read from."""
        return os.environ.get(self.key_variable, "").strip()

    def client(self) -> "AsyncOpenAI":
        """Make a client that leaves all retries to us.

        Raises:
            BackendError: the key cannot be sent; the library's own error would show it.
        """
        from openai import AsyncOpenAI

        if not (self._key.isascii() and self._key.isprintable()):
            raise BackendError(f"{self.key_variable} holds characters that no key has; set a valid key.")
        return AsyncOpenAI(
            base_url=self.url,
            api_key=self._key or "none",
            max_retries=0,
            timeout=self.timeout_seconds,
            organization="",
        )

    async def _resolve_model(self) -> str:
        import openai

        try:
            async with self.client() as client:
                served = [model.id async for model in client.models.list()]
        except openai.APIStatusError as error:
            if error.status_code in (401, 403):
                raise self._no_access(error.status_code) from error
            served = []  # an endpoint that lists no models takes the name as it is given
        except openai.APIConnectionError as error:
            raise self.unreachable(error) from error
        except (openai.OpenAIError, ValueError, TypeError, AttributeError):
            served = []
        if not self.asked_model and len(served) == 1:
            return served[0]
        if not self.asked_model or (served and self.asked_model not in served):
            named = f"no model {self.asked_model}" if self.asked_model else "not one single model"
            available = ", ".join(sorted(served)[:20]) or "none that it lists"
            raise BackendError(f"{self.url} serves {named}; set model.name to one of: {available}.")
        return self.asked_model

    async def send(self, client: "AsyncOpenAI", request: Request, first: int, count: int) -> list[Choice]:
        """Make one HTTP call for ``count`` samples from number ``first`` on; fewer may come, at least one.

        Raises:
            OverloadedError, FailedError, RefusedError, ChangedError: see there.
            BackendError: no prompt would fare better: no key, no credit, no such model or temperature.
        """
        import httpx2
        import openai

        self.counters["calls"] += 1
        body = body_of(request, first, count, self.model, self.prompt_style, self._dropped)
        path = "/chat/completions" if self.prompt_style == "chat" else "/completions"
        headers = {"X-Request-Id": f"{request.key}-{first}"}
        try:
            response = await client.post(
                path, body=body, options={"headers": headers}, cast_to=httpx2.Response
            )
            choices = choices_of(response.content, self.prompt_style)
        except openai.APIStatusError as error:
            raise self._sorted(error, body) from error
        except openai.APITimeoutError as error:
            raise FailedError(f"no answer within {self.timeout_seconds:.0f} s") from error
        except openai.APIConnectionError as error:
            raise FailedError(str(error.__cause__ or error), fatal=True) from error
        except UnusableAnswerError as error:
            raise FailedError(str(error)) from error
        self._answered_temperatures.add(request.sampling.temperature)
        if len(choices) < count:
            self._ask_singly()
        return choices[:count]

    def _sorted(self, error: Any, body: dict[str, Any]) -> Exception:
        """Return what to raise for an answer with an error status."""
        status = error.status_code
        message = str(error.message).removeprefix(f"Error code: {status} - ")
        name = refused_parameter(status, message, body)
        if failure := self._concerns_all(error, message, None if name else body["temperature"]):
            return failure
        if status in _OVERLOADED:
            self.counters["overloads"] += 1
            wait = retry_after(error.response.headers)
            return OverloadedError(status, _USUAL_WAIT if wait is None else wait)
        if name == "n":
            self._ask_singly()
            return ChangedError()
        if name:
            self._leave_out(name)
            return ChangedError()
        if status in _PASSING or status >= 500:
            return FailedError(f"status {status}: {message[:100]}")
        return RefusedError(f"status {status}: {message[:200]}")

    def _concerns_all(self, error: Any, message: str, temperature: float | None) -> BackendError | None:
        """Return the failure where no prompt would fare better; without a temperature, that is not what is refused."""
        status = error.status_code
        if status in (401, 403):
            return self._no_access(status)
        if status == 402 or error.code == "insufficient_quota":
            return BackendError(
                f"{self.url} answers {status} ({message[:200]}); add credit there and run again."
            )
        if status == 404:
            return BackendError(
                f"{self.url} answers 404 for {self.model} ({message[:100]}); mend model.url or model.name."
            )
        is_new = temperature not in self._answered_temperatures
        if temperature is not None and status in (400, 422) and is_new and names(message, "temperature"):
            return BackendError(
                f"{self.url} does not take the temperature {temperature} ({message[:200]}); "
                "set one that it takes, in the sampling of this stage."
            )
        return None

    def _leave_out(self, parameter: str) -> None:
        """Send a parameter no more; it counts once, however many calls under way carried it."""
        if parameter not in self._dropped:
            self._dropped |= {parameter}
            self.counters[f"parameter_{parameter}_refused"] += 1

    def _ask_singly(self) -> None:
        """Ask for one sample a call from now on."""
        if not self.single:
            self.single = True
            self.counters["single_sample_fallbacks"] += 1

    def unreachable(self, error: BaseException) -> BackendError:
        """Say that nobody answers at the address."""
        cause = error.__cause__ or error
        unnamed = "" if self.asked_model else " or, to use what it wrote before, give model.name"
        return BackendError(
            f"{self.url} cannot be reached ({str(cause) or type(cause).__name__}); "
            f"start the server there or mend model.url{unnamed}."
        )

    def _no_access(self, status: int) -> BackendError:
        """Say that the key is missing or refused."""
        known = "holds a key that it refuses" if self._key else "is not set"
        return BackendError(f"{self.url} answers {status}, and {self.key_variable} {known}; set a valid key.")

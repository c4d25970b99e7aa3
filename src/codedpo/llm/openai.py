"""Any OpenAI-compatible endpoint: vLLM, llama-server, a vendor."""

import asyncio
import os
import queue
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from codedpo.core.config import ModelConfig, ResourcesConfig
from codedpo.core.errors import BackendError, ConfigError
from codedpo.core.registry import call
from codedpo.llm.base import Reply, Request
from codedpo.llm.chat import PromptStyle
from codedpo.llm.endpoint import Run

if TYPE_CHECKING:
    from openai import AsyncOpenAI


def _is_address(url: str) -> bool:
    """Tell whether a text is the address of a server: a scheme, a host and, if any, a port that is a number."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is none
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


class OpenAIGenerator:
    """Asks an OpenAI-compatible endpoint, many calls at once.

    An overloaded endpoint (429, 503, 529) is given time, as long as ``retry-after`` says, by all calls
    together; that costs no attempt. Other passing failures (500, 502, a time-out, garbage, an empty answer)
    are tried again ``attempts`` times; then the sample is yielded as refused, or, where the endpoint has not
    answered anything yet, the run stops. So it does where no prompt would fare better: no key, no credit, no such
    model or temperature, or several different prompts refused and none answered. A prompt that is refused while
    others are answered is yielded as refused. Replies that have arrived are yielded before an error is raised.

    Args:
        url: Base address, ``http://localhost:8000`` or ``https://host/v1``.
        model: Name of a model that the endpoint serves; may be empty where it serves one.
        key_variable: Environment variable that holds the key; an endpoint without keys needs none.
        concurrency: Most calls at once; fewer are used while the endpoint is overloaded.
        timeout_seconds: Longest wait for one answer.
        attempts: Tries of one call, overload not counted.
        patience_seconds: Longest time without any answer from an overloaded endpoint.
        samples_per_call: Most samples asked for in one call (``n``); 0: all of a request.
        prompt_style: ``chat``, or ``completion`` for base models (``/completions``, messages joined).
    """

    def __init__(
        self,
        url: str,
        model: str = "",
        *,
        key_variable: str = "OPENAI_API_KEY",
        concurrency: int = 32,
        timeout_seconds: float = 600.0,
        attempts: int = 5,
        patience_seconds: float = 900.0,
        samples_per_call: int = 0,
        prompt_style: PromptStyle = "chat",
    ) -> None:
        if not _is_address(url):
            raise ConfigError(f"model.url is {url!r}; give an address such as http://localhost:8000/v1.")
        parts = urlsplit(url)
        self.url = url.rstrip("/") if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}/v1"
        self.key_variable = key_variable
        self.concurrency, self.timeout_seconds = concurrency, timeout_seconds
        self.attempts, self.patience_seconds = attempts, patience_seconds
        self.samples_per_call, self.prompt_style = samples_per_call, prompt_style
        self.counters: Counter[str] = Counter()
        """Calls, retries, overloads, and parameters that the endpoint refused, since this object was made."""
        self._asked_model, self._model = model, ""
        self.dropped: frozenset[str] = frozenset()
        """Parameters that the endpoint has refused."""
        self.single = False
        """Whether the endpoint gives one sample a call only."""
        self._late: list[Reply] = []

    @classmethod
    def from_config(cls, section: ModelConfig, resources: ResourcesConfig) -> Self:
        """Make the generator that a config asks for; ``model.options`` are further keyword arguments."""
        made: Self = call(
            cls,
            section.url,
            section.name,
            options=section.options,
            place="model.options",
            key_variable=section.key_variable,
            concurrency=resources.max_sequences,
        )
        return made

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
    def identity(self) -> str:
        """The model's name and the prompt style: the same model at another address is the same.

        A model that the config names is not asked for: what it wrote can be used when its server is gone.
        """
        return f"openai/{self._asked_model or self.model}/{self.prompt_style}"

    def check(self) -> None:
        """Make sure that the endpoint is there, takes the key, and serves the model.

        Raises:
            BackendError: it does not.
        """
        _ = self.model

    def client(self) -> "AsyncOpenAI":
        """Make a client that leaves all retries to us."""
        from openai import AsyncOpenAI

        key = os.environ.get(self.key_variable) or "none"
        return AsyncOpenAI(
            base_url=self.url, api_key=key, max_retries=0, timeout=self.timeout_seconds, organization=""
        )

    async def _resolve_model(self) -> str:
        import openai

        try:
            async with self.client() as client:
                served = [model.id async for model in client.models.list()]
        except openai.APIStatusError as error:
            if error.status_code in (401, 403):
                raise self.no_access(error.status_code) from error
            served = []  # an endpoint that lists no models takes the name as it is given
        except openai.APIConnectionError as error:
            raise self.unreachable(error) from error
        except (openai.OpenAIError, ValueError, TypeError, AttributeError):
            served = []
        if not self._asked_model and len(served) == 1:
            return served[0]
        if not self._asked_model or (served and self._asked_model not in served):
            named = f"no model {self._asked_model}" if self._asked_model else "not one single model"
            available = ", ".join(sorted(served)[:20]) or "none that it lists"
            raise BackendError(f"{self.url} serves {named}; set model.name to one of: {available}.")
        return self._asked_model

    def leave_out(self, parameter: str) -> None:
        """Send a parameter no more; it counts once, however many calls under way carried it."""
        if parameter not in self.dropped:
            self.dropped |= {parameter}
            self.counters[f"parameter_{parameter}_refused"] += 1

    def ask_singly(self) -> None:
        """Ask for one sample a call from now on."""
        if not self.single:
            self.single = True
            self.counters["single_sample_fallbacks"] += 1

    def unreachable(self, error: BaseException) -> BackendError:
        """Say that nobody answers at the address."""
        cause = error.__cause__ or error
        unnamed = "" if self._asked_model else " or, to use what it wrote before, give model.name"
        return BackendError(
            f"{self.url} cannot be reached ({str(cause) or type(cause).__name__}); "
            f"start the server there or mend model.url{unnamed}."
        )

    def no_access(self, status: int) -> BackendError:
        """Say that the key is missing or refused."""
        known = "holds a key that it refuses" if os.environ.get(self.key_variable) else "is not set"
        return BackendError(f"{self.url} answers {status}, and {self.key_variable} {known}; set a valid key.")

    def generate(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """Yield every sample as its call is answered.

        A stream that is left early waits for the calls under way; ``late_replies`` gives what they bring.

        Raises:
            BackendError: the endpoint cannot be reached, refuses the key, or answers nothing but failures.
        """
        replies: queue.SimpleQueue[Reply | BaseException | None] = queue.SimpleQueue()
        calls = list(requests)
        _ = self.model
        run = Run(self, replies)

        def work() -> None:
            try:
                asyncio.run(run.all(calls))
                replies.put(None)
            except BaseException as error:
                replies.put(error)

        thread = threading.Thread(target=work, name="codedpo-openai", daemon=True)
        thread.start()
        try:
            while (item := replies.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            run.leave()
            try:
                thread.join()
            finally:  # A second interrupt ends the waiting, and keeps what has come so far.
                while not replies.empty():
                    item = replies.get()
                    if isinstance(item, Reply):
                        self._late.append(item)

    def late_replies(self) -> list[Reply]:
        """Hand out, once, the replies that nobody took from a stream that was left early."""
        late, self._late = self._late, []
        return late

    def close(self) -> None:
        """Nothing to free: connections live as long as a call of ``generate``."""

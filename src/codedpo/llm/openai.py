"""Any OpenAI-compatible endpoint: vLLM, llama-server, a vendor."""

import asyncio
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Self

from codedpo.core.config import ModelConfig, ResourcesConfig
from codedpo.core.registry import call
from codedpo.llm.base import Reply, Request
from codedpo.llm.calls import Calls
from codedpo.llm.chat import PromptStyle
from codedpo.llm.endpoint import Endpoint


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
        self.endpoint = Endpoint(
            url, model, key_variable=key_variable, timeout_seconds=timeout_seconds, prompt_style=prompt_style
        )
        self._calls = partial(
            Calls,
            self.endpoint,
            concurrency=concurrency,
            attempts=attempts,
            patience_seconds=patience_seconds,
            samples_per_call=samples_per_call,
        )

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
    def counters(self) -> Counter[str]:
        """Calls, retries, overloads, and parameters that the endpoint refused, since this object was made."""
        return self.endpoint.counters

    @property
    def identity(self) -> str:
        """The model's name and the prompt style: the same model at another address is the same.

        A model that the config names is not asked for: what it wrote can be used when its server is gone.
        """
        return f"openai/{self.endpoint.asked_model or self.endpoint.model}/{self.endpoint.prompt_style}"

    def check(self) -> None:
        """Make sure that the endpoint is there, takes the key, and serves the model.

        Raises:
            BackendError: it does not.
        """
        _ = self.endpoint.model

    def generate(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """Yield every sample as its call is answered.

        Raises:
            BackendError: the endpoint cannot be reached, refuses the key, or answers nothing but failures.
        """
        return self.receive(requests, lambda _: None)

    def receive(
        self, requests: Iterable[Request], keep: Callable[[Sequence[Reply]], None]
    ) -> Iterator[Reply]:
        """Yield every sample as its call is answered; ``keep`` gets those of a call at once, before they are yielded.

        A stream that is left early waits for the calls under way, whose samples ``keep`` gets too.

        Raises:
            BackendError: the endpoint cannot be reached, refuses the key, or answers nothing but failures.
        """
        wanted = list(requests)
        arrived: queue.SimpleQueue[Reply | BaseException | None] = queue.SimpleQueue()
        self.check()

        def take(replies: Sequence[Reply]) -> None:
            keep(replies)
            for reply in replies:
                arrived.put(reply)

        calls = self._calls(take)

        def work() -> None:
            try:
                asyncio.run(calls.make(wanted))
                arrived.put(None)
            except BaseException as error:
                arrived.put(error)

        thread = threading.Thread(target=work, name="codedpo-openai", daemon=True)
        thread.start()
        try:
            while (item := arrived.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            calls.leave()
            thread.join()

    def close(self) -> None:
        """Nothing to free: connections live as long as a call of ``generate``."""

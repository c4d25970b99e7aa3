"""The seam between stages and models: requests in, replies out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from codedpo.core.fingerprint import digest_of

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How replies are drawn. ``temperature`` 0 is greedy decoding."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512
    """Most new tokens of one reply."""
    stop: tuple[str, ...] = ()
    """Strings that end a reply; the string itself is not part of the reply."""


@dataclass(frozen=True, slots=True)
class Request:
    """``count`` independent samples for one conversation."""

    request_id: str
    """Chosen by the caller, returned with every reply; not part of ``key``."""
    messages: tuple[Message, ...]
    sampling: Sampling
    count: int = 1
    seed: int = 0
    first: int = 0
    """Number of the first sample: those from ``first`` to ``first + count - 1`` are wanted (others are cached)."""

    @property
    def key(self) -> str:
        """Digest of all that decides the answers but the model and which samples are wanted."""
        return digest_of({"messages": self.messages, "sampling": self.sampling, "seed": self.seed})


@dataclass(frozen=True, slots=True)
class Reply:
    """One sample."""

    request_id: str
    position: int
    """Number of the sample: ``first`` to ``first + count - 1`` of its request."""
    text: str
    finish_reason: Literal["stop", "length", "refused"]
    """``refused``: the endpoint gave no usable choice for this sample; ``text`` then says what it gave."""
    prompt_tokens: int
    completion_tokens: int


class Generator(Protocol):
    """A model that answers requests.

    Constructing one is cheap: weights are loaded, and endpoints asked, on the first ``generate``. Every kind also
    has a class method ``from_config(model: ModelConfig, resources: ResourcesConfig)``, and may have a method
    ``check()`` that raises early, before other stages run, where the model cannot be asked.

    Raises:
        BackendError: the model or endpoint is unavailable; nothing that was yielded before is lost.
    """

    @property
    def identity(self) -> str:
        """Names the weights and template, equal for equal distributions: it enters fingerprints and cache keys."""
        ...

    def generate(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """Yield every sample of every request, in any order, as soon as it is there.

        A single reply that cannot be had (an empty choice, a refused prompt) is yielded with
        ``finish_reason="refused"``, not raised.
        """
        ...

    def close(self) -> None:
        """Free the model or connection."""
        ...


@runtime_checkable
class ReceivesAhead(Protocol):
    """A generator whose replies arrive while its caller deals with those before, such as an endpoint's."""

    def receive(
        self, requests: Iterable[Request], keep: Callable[[Sequence[Reply]], None]
    ) -> Iterator[Reply]:
        """Yield as ``generate`` does; ``keep`` gets all replies as they arrive, in the thread that receives them.

        So nothing that was paid for waits for the caller to come for it. What ``keep`` raises ends the stream.
        """
        ...

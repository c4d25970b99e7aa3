"""Kind ``local``: OpenVINO GenAI on the CPU, many sequences at once, samples handed out as they end.

Sequences join and leave the running batch at every step (continuous batching), the samples of a request share
the work on its prompt, and so do requests that begin alike (prefix caching).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from codedpo.core.config import ModelConfig, ResourcesConfig
from codedpo.core.errors import BackendError, DataError
from codedpo.core.fingerprint import digest_of
from codedpo.llm.base import Reply, Request
from codedpo.llm.gguf_header import read_header
from codedpo.llm.stopping import before_stop, refusals
from codedpo.llm.template import END_TOKENS, template_of
from codedpo.llm.weights import ENGINE_FORMAT, ResolvedModel, engine_gguf, resolve

IN_FLIGHT = 2
"""Sequences handed to the engine, in multiples of ``max_sequences``: samples that have ended keep their place until
the last one of their request ends, so that with one multiple a part of the batch would be idle."""


@dataclass(slots=True)
class _Job:
    """A request that the engine works on."""

    request: Request
    handle: Any
    prompt_tokens: int


class OpenVinoGenerator:
    """A ``Generator`` on this machine's CPU."""

    def __init__(
        self,
        model: ResolvedModel,
        *,
        template: str = "auto",
        cache_gb: int = 4,
        max_sequences: int = 128,
        max_batched_tokens: int = 512,
        properties: dict[str, Any] | None = None,
    ) -> None:
        """Describe the engine; the weights are loaded on the first ``generate``.

        Args:
            model: The weights, rewritten for the engine on first use.
            template: As ``template_of`` takes it.
            cache_gb: Memory of the key-value cache, GB. When it is full, sequences wait or are computed anew.
            max_sequences: Sequences that run at once; up to ``IN_FLIGHT`` times as many are handed to the engine.
            max_batched_tokens: Prompt and answer tokens of one step: bounds the memory of a step.
            properties: Further properties of the OpenVINO CPU plug-in.
        """
        self.model = model
        self.template = template_of(model, template)
        self._cache_gb = cache_gb
        self._max_sequences = max_sequences
        self._max_batched_tokens = max(max_batched_tokens, max_sequences)
        self._properties = properties or {}
        self._pipeline: Any = None
        self._end_ids: set[int] = set()
        self._context = 0
        self._next_id = 0

    @classmethod
    def from_config(cls, model: ModelConfig, resources: ResourcesConfig) -> "OpenVinoGenerator":
        """Build what the config names."""
        return cls(
            resolve(model.name),
            template=model.template,
            cache_gb=resources.engine_cache_gb,
            max_sequences=resources.max_sequences,
        )

    @property
    def origin(self) -> str:
        """Say which copy of the weights this is."""
        return self.model.origin

    @property
    def identity(self) -> str:
        """Name the weights, their format in the engine, and the template."""
        return f"openvino/{self.model.digest[:16]}-{ENGINE_FORMAT}/{digest_of(self.template)}"

    def generate(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """Yield every sample of every request as soon as all samples of its request have ended.

        Raises:
            BackendError: the engine cannot be loaded or stops working.
        """
        self._load()
        waiting = iter(requests)
        jobs: list[_Job] = []
        more = is_first = True
        try:
            while more or jobs:
                while more and sum(job.request.count for job in jobs) < IN_FLIGHT * self._max_sequences:
                    request = next(waiting, None)
                    if request is None:
                        more = False
                        break
                    started = self._start(request)
                    if isinstance(started, _Job):
                        jobs.append(started)
                        if is_first:
                            self._take_in(started)
                            is_first = False
                    else:
                        yield from started
                if jobs:
                    self._step()
                    ended = [job for job in jobs if self._ended(job)]
                    jobs = [job for job in jobs if job not in ended]
                    for job in ended:
                        yield from self._replies(job)
        finally:
            self._cancel(jobs)

    def close(self) -> None:
        """Free the weights and the key-value cache."""
        self._pipeline = None

    def _load(self) -> None:
        """Load the weights."""
        if self._pipeline is not None:
            return
        try:
            import openvino_genai as genai
        except ImportError as error:
            raise BackendError(
                f"the local engine needs OpenVINO GenAI ({error}): pip install 'codedpo[local]', or use another "
                "kind of model"
            ) from error
        file = engine_gguf(self.model)
        scheduler = genai.SchedulerConfig()
        scheduler.cache_size = self._cache_gb
        scheduler.enable_prefix_caching = True
        scheduler.max_num_batched_tokens = self._max_batched_tokens
        try:
            self._pipeline = genai.ContinuousBatchingPipeline(
                str(file), scheduler, "CPU", self._properties, {}
            )
        except RuntimeError as error:
            raise BackendError(
                f"OpenVINO cannot load {self.model.name} from {file} ({_first_line(error)}): use kind transformers"
            ) from error
        header = read_header(file)
        ends = {*END_TOKENS, self.template.eos}
        self._end_ids = {
            number for number, token in enumerate(header["tokenizer.ggml.tokens"]) if token in ends
        }
        self._context = header[f"{header['general.architecture']}.context_length"]

    def _start(self, request: Request) -> "_Job | list[Reply]":
        """Hand a request to the engine, or return the refusals of one that it cannot take."""
        try:
            prompt = self.template.render(request.messages)
        except DataError as error:
            return refusals(request, str(error), 0)
        # The tokenizer cuts at 8192 tokens unless it is told otherwise.
        tokenizer = self._pipeline.get_tokenizer()
        ids = tokenizer.encode(prompt, add_special_tokens=False, max_length=self._context + 1).input_ids
        length = int(ids.shape[1])
        if length + request.sampling.max_tokens > self._context:
            reason = (
                f"the prompt has {length} tokens: with {request.sampling.max_tokens} new ones it exceeds the "
                f"model's context of {self._context}"
            )
            return refusals(request, reason, length)
        self._next_id += 1
        try:
            handle = self._pipeline.add_request(self._next_id, ids, self._settings(request))
        except RuntimeError as error:
            return refusals(request, _first_line(error), length)
        return _Job(request, handle, length)

    def _settings(self, request: Request) -> Any:
        """Translate the sampling of a request."""
        import openvino_genai as genai

        sampling = request.sampling
        settings = genai.GenerationConfig()
        settings.max_new_tokens = sampling.max_tokens
        settings.apply_chat_template = False
        settings.stop_token_ids = self._end_ids
        settings.ignore_eos = not self._end_ids
        settings.stop_strings = set(sampling.stop)
        settings.do_sample = sampling.temperature > 0
        if settings.do_sample:
            settings.temperature = sampling.temperature
            settings.top_p = sampling.top_p
            settings.num_return_sequences = request.count
            # Samples that are asked for later (``first`` > 0) are new draws, not the first ones again.
            settings.rng_seed = int(digest_of({"key": request.key, "first": request.first}), 16) >> 1
        return settings

    def _take_in(self, job: _Job) -> None:
        """Compute a prompt before others join: only what is computed can be shared with those that begin alike."""
        for _ in range(0, job.prompt_tokens, self._max_batched_tokens):
            self._step()

    def _step(self) -> None:
        """Compute one more token of every running sequence."""
        if not self._pipeline.has_non_finished_requests():
            return
        try:
            self._pipeline.step()
        except RuntimeError as error:
            self._pipeline = None
            raise BackendError(
                f"the local engine stopped ({_first_line(error)}): lower resources.max_sequences or raise "
                "resources.engine_cache_gb"
            ) from error

    def _ended(self, job: _Job) -> bool:
        import openvino_genai as genai

        return bool(job.handle.get_status() != genai.GenerationStatus.RUNNING)

    def _replies(self, job: _Job) -> list[Reply]:
        """Turn the engine's token ids into replies."""
        import openvino_genai as genai

        request = job.request
        if job.handle.get_status() != genai.GenerationStatus.FINISHED:
            reason = "the engine has no room for the prompt: raise resources.engine_cache_gb"
            return refusals(request, reason, job.prompt_tokens)
        outputs = job.handle.read_all()
        ids = [list(output.generated_ids) for output in outputs]
        texts = self._pipeline.get_tokenizer().decode(ids, skip_special_tokens=True)
        if request.sampling.temperature == 0:
            # Greedy decoding has one answer, however often it is asked for.
            outputs, ids, texts = outputs * request.count, ids * request.count, list(texts) * request.count
        replies = []
        for number, (output, tokens, text) in enumerate(zip(outputs, ids, texts, strict=True)):
            length = output.finish_reason == genai.GenerationFinishReason.LENGTH
            kept = before_stop(text, request.sampling.stop)
            cut = not length or kept != text
            replies.append(
                Reply(
                    request_id=request.request_id,
                    position=request.first + number,
                    text=kept,
                    finish_reason="stop" if cut else "length",
                    prompt_tokens=job.prompt_tokens,
                    completion_tokens=len(tokens),
                )
            )
        return replies

    def _cancel(self, jobs: list[_Job]) -> None:
        """Drop what a caller no longer wants, so that the next ``generate`` begins with an empty engine."""
        for job in jobs:
            job.handle.cancel()
        while jobs and self._pipeline is not None and self._pipeline.has_non_finished_requests():
            self._step()


def _first_line(error: Exception) -> str:
    """Return the line of an OpenVINO error that says what happened (the last non-empty one)."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

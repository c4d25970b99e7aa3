"""Kind ``transformers``: a Hugging Face folder or id through ``transformers``, on a GPU where there is one."""

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import Any

from codedpo.core.config import ModelConfig, ResourcesConfig
from codedpo.core.errors import BackendError, DataError
from codedpo.core.fingerprint import digest_of
from codedpo.core.processor import this_processor
from codedpo.core.registry import call
from codedpo.llm.base import Reply, Request, Sampling
from codedpo.llm.device import choose_device
from codedpo.llm.stopping import before_stop, refusals
from codedpo.llm.template import END_TOKENS, template_of
from codedpo.llm.weights import ResolvedModel, hf_folder, resolve

WINDOW = 8
"""Batches that are read ahead, so that prompts of like length and sampling come together."""

Sample = tuple[Request, int, list[int]]
"""A request, the number of one of its samples, and the ids of its prompt."""


class TransformersGenerator:
    """A ``Generator`` that runs the very weights that are trained, in batches of like length."""

    def __init__(
        self,
        model: ResolvedModel,
        *,
        template: str = "auto",
        batch_size: int = 48,
        device: str = "auto",
        dtype: str = "auto",
    ) -> None:
        """Describe the model; it is loaded on the first ``generate``.

        Args:
            model: The weights; a GGUF file is de-quantised once.
            template: As ``template_of`` takes it.
            batch_size: Sequences that run at once.
            device: ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``.
            dtype: ``auto`` (as stored on a GPU; on a CPU 32-bit unless it multiplies bfloat16 itself), or a
                name in torch, ``float32``.
        """
        self.model = model
        self.template = template_of(model, template)
        self._batch_size = batch_size
        self._device = device
        self._dtype = dtype
        self._network: Any = None
        self._tokenizer: Any = None
        self._end_ids: list[int] = []

    @classmethod
    def from_config(cls, model: ModelConfig, resources: ResourcesConfig) -> "TransformersGenerator":
        """Build what the config names.

        Raises:
            ConfigError: ``model.options`` has an unknown name.
        """
        made: TransformersGenerator = call(
            cls,
            resolve(model.name),
            options=model.options,
            place="model.options",
            template=model.template,
            batch_size=resources.max_sequences,
            device=resources.device,
        )
        return made

    @property
    def origin(self) -> str:
        """Say which copy of the weights this is."""
        return self.model.origin

    @property
    def identity(self) -> str:
        """Name the weights, the template, and the precision where it is not the stored one."""
        precision = "" if self._dtype == "auto" else f"/{self._dtype}"
        return f"transformers/{self.model.digest[:16]}/{digest_of(self.template)}{precision}"

    def generate(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """Yield samples batch by batch; a batch shares its sampling and holds prompts of like length.

        Raises:
            BackendError: torch or transformers is missing, the device is not there or has too little memory.
        """
        self._load()
        waiting = iter(requests)
        while window := list(islice(waiting, WINDOW * self._batch_size)):
            samples: list[Sample] = []
            for request in window:
                try:
                    samples.extend(self._samples(request))
                except DataError as error:
                    yield from refusals(request, str(error), 0)
            samples.sort(key=lambda item: (digest_of(item[0].sampling), len(item[2]), item[0].seed))
            for _, same in groupby(samples, key=lambda item: item[0].sampling):
                group = iter(same)
                while batch := list(islice(group, self._batch_size)):
                    yield from self._batch(batch)

    def close(self) -> None:
        """Free the model."""
        self._network = self._tokenizer = None

    def _samples(self, request: Request) -> list[Sample]:
        """Render and tokenise a request, once for each of its samples.

        Raises:
            DataError: the template refuses the messages, or the prompt leaves no room for an answer.
        """
        text = self.template.render(request.messages)
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        context = getattr(self._network.config, "max_position_embeddings", None)
        if context and len(ids) + request.sampling.max_tokens > context:
            raise DataError(
                f"the prompt has {len(ids)} tokens: with {request.sampling.max_tokens} new ones it exceeds the "
                f"model's context of {context}"
            )
        return [(request, request.first + number, ids) for number in range(request.count)]

    def _batch(self, batch: list[Sample]) -> list[Reply]:
        """Generate one sample for each entry."""
        import torch

        sampling = batch[0][0].sampling
        longest = max(len(ids) for _, _, ids in batch)
        pad = self._end_ids[0]
        rows = [[pad] * (longest - len(ids)) + ids for _, _, ids in batch]
        mask = [[0] * (longest - len(ids)) + [1] * len(ids) for _, _, ids in batch]
        torch.manual_seed(int(digest_of([[request.key, number] for request, number, _ in batch]), 16) >> 1)
        try:
            with torch.inference_mode():
                output = self._network.generate(
                    input_ids=torch.tensor(rows, device=self._network.device),
                    attention_mask=torch.tensor(mask, device=self._network.device),
                    generation_config=self._settings(sampling),
                    tokenizer=self._tokenizer,
                )
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise BackendError(
                f"{len(batch)} sequences do not fit into memory: lower resources.max_sequences"
            ) from error
        return [
            self._reply(request, number, len(ids), row)
            for (request, number, ids), row in zip(batch, output[:, longest:].tolist(), strict=True)
        ]

    def _settings(self, sampling: Sampling) -> Any:
        """Translate the sampling of a batch."""
        from transformers import GenerationConfig

        drawn: dict[str, Any] = {"do_sample": False}
        if sampling.temperature > 0:
            # top_k=0: transformers would otherwise keep the fifty most probable tokens only.
            drawn = {
                "do_sample": True,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": 0,
            }
        return GenerationConfig(
            max_new_tokens=sampling.max_tokens,
            eos_token_id=self._end_ids,
            pad_token_id=self._end_ids[0],
            stop_strings=list(sampling.stop) or None,
            **drawn,
        )

    def _reply(self, request: Request, number: int, prompt_tokens: int, row: list[int]) -> Reply:
        """Cut one row of the output at the first token that ends it."""
        end = next((place for place, token in enumerate(row) if token in self._end_ids), None)
        kept = row if end is None else row[: end + 1]
        text = self._tokenizer.decode(kept, skip_special_tokens=True)
        cut = before_stop(text, request.sampling.stop)
        stopped = end is not None or cut != text
        return Reply(
            request_id=request.request_id,
            position=number,
            text=cut,
            finish_reason="stop" if stopped else "length",
            prompt_tokens=prompt_tokens,
            completion_tokens=len(kept),
        )

    def _load(self) -> None:
        """Load weights and tokenizer."""
        if self._network is not None:
            return
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
            from transformers.utils import logging
        except ImportError as error:
            raise BackendError(
                f"kind transformers needs torch and transformers ({error}): pip install 'codedpo[train]'"
            ) from error
        folder = str(hf_folder(self.model))
        device = choose_device(self._device)
        dtype: Any = "auto" if self._dtype == "auto" else getattr(torch, self._dtype)
        if self._dtype == "auto" and device == "cpu" and not this_processor().multiplies_bfloat16:
            dtype = torch.float32
        logging.disable_progress_bar()
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            network = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
            self._network = network.to(device).eval()
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise BackendError(
                f"transformers cannot load {folder} ({reason}): check the model's files"
            ) from error
        ends = {*END_TOKENS, self.template.eos}
        self._end_ids = sorted(
            number for token, number in self._tokenizer.get_vocab().items() if token in ends
        )
        if not self._end_ids:
            raise BackendError(
                f"the tokenizer of {self.model.name} has no token that ends a text: name its eos_token"
            )

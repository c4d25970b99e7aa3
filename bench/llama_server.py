"""A llama.cpp server on loopback (extra ``bench``): a peer, and a live OpenAI-compatible endpoint."""

import os
import socket
from typing import Self

from codedpo.llm.weights import ResolvedModel, engine_gguf

ERRORS_ONLY = 1
"""llama.cpp's log level: a line for every batch would hide the bench's table."""


class LlamaServer:
    """Serves a model's GGUF file as it was published; lives from construction to ``close``.

    Args:
        model: The weights; a Hugging Face folder is exported first.
        slots: Requests that it works on at once.
        context: Tokens of prompt and answer of one slot.
    """

    def __init__(self, model: ResolvedModel, *, slots: int, context: int = 1024) -> None:
        import xllamacpp

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(model.gguf or engine_gguf(model))
        parameters.n_ctx = context * slots
        parameters.n_parallel = slots
        parameters.cpuparams.n_threads = len(os.sched_getaffinity(0))
        parameters.port = port
        parameters.verbosity = ERRORS_ONLY
        self._server = xllamacpp.Server(parameters)
        self.url = f"http://127.0.0.1:{port}/v1"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server, which lives as long as its object."""
        del self._server

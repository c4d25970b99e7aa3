"""A GGUF file as a Hugging Face folder, so that a quantised copy can be trained."""

from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from codedpo.core.errors import BackendError, DataError


def dequantise(gguf: Path, folder: Path) -> None:
    """Write the weights (bf16), config and tokenizer of ``gguf`` into ``folder``.

    Peak memory is about six bytes a parameter. The weights keep what quantisation cost: only their storage
    changes.

    Raises:
        BackendError: torch or transformers is missing.
        DataError: transformers cannot read the file.
    """
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    except ImportError as error:
        raise BackendError(
            f"turning {gguf.name} into trainable weights needs torch and transformers ({error}): "
            "pip install 'codedpo[train]'"
        ) from error
    from transformers.utils import logging

    logging.disable_progress_bar()
    source = {"gguf_file": gguf.name, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), **source)
        # Without this transformers keeps the weights packed, and save_pretrained refuses them.
        unpacked = GgufConfig(dequantize=True)
        with redirect_stderr(StringIO()):  # its progress bar has no switch
            model = AutoModelForCausalLM.from_pretrained(
                str(gguf.parent), dtype=torch.bfloat16, quantization_config=unpacked, **source
            )
    except (ValueError, KeyError, OSError, RuntimeError, NotImplementedError) as error:
        raise DataError(
            f"{gguf} cannot be read by transformers ({error}): use a Hugging Face folder"
        ) from error
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)

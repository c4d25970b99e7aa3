"""The Hugging Face hub as the user's variables name it; asked by urllib where its client need not be installed."""

import os
from pathlib import Path

from codedpo.core.errors import ConfigError


def endpoint() -> str:
    """Return the hub's address, ``HF_ENDPOINT`` or the public one, without a slash at its end.

    Raises:
        ConfigError: the variable holds no address.
    """
    address = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    if not address.startswith(("http://", "https://")):
        raise ConfigError(
            f"HF_ENDPOINT is {address}, which is no address; begin it with https:// or unset it."
        )
    return address.rstrip("/")


def offline() -> bool:
    """Say whether ``HF_HUB_OFFLINE`` or ``TRANSFORMERS_OFFLINE`` forbids to fetch, as the hub's client does."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in ("1", "ON", "YES", "TRUE")


def model_id(name: str) -> tuple[str, str] | None:
    """Return id and revision (empty: the main one) of ``organisation/name[@revision]``; None for any other name.

    An existing path wins over an id of the same form.
    """
    found, _, revision = name.partition("@")
    is_id = found.count("/") == 1 and not name.startswith((".", "/", "~")) and not Path(name).exists()
    return (found, revision) if is_id else None

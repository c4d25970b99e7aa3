"""The Hugging Face hub as the user's variables name it; asked by urllib where its client need not be installed."""

import os


def endpoint() -> str:
    """Return the hub's address, ``HF_ENDPOINT`` or the public one, without a slash at its end."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def offline() -> bool:
    """Say whether ``HF_HUB_OFFLINE`` forbids to fetch anything."""
    return os.environ.get("HF_HUB_OFFLINE", "0").lower() not in ("0", "", "false", "no")

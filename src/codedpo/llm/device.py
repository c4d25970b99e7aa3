"""Where torch runs: ``resources.device`` as it holds on this machine."""

from codedpo.core.errors import BackendError


def choose_device(device: str) -> str:
    """Return ``cuda`` or ``cpu`` for a device setting that may be ``auto``.

    Raises:
        BackendError: a GPU is asked for and torch finds none.
    """
    import torch

    found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise BackendError("resources.device is cuda, but torch finds no GPU; set it to auto or cpu.")
    return ("cuda" if found else "cpu") if device == "auto" else device

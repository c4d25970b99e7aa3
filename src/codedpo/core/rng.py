"""Every random number comes from here: streams that depend on the seed and on a name, nothing else."""

import hashlib

import numpy as np


def seed_for(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for the stream that ``names`` call for, stable across machines and versions."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return a numpy generator for the stream that ``names`` call for."""
    return np.random.default_rng(seed_for(seed, *names))

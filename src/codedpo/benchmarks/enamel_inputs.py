"""What ENAMEL's input generators call: random brackets and numbers that are prime or hard to tell from primes.

Runs inside the sandbox beside a generator, never here. Standard library only.
"""

import random

_WITNESSES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
"""Miller-Rabin with these is exact below 3.3e24 (Sorenson and Webster, Strong pseudoprimes to twelve prime bases)."""


def rand_parens(size: int, valid: bool = True, par: str = "()", sep: str | None = "") -> "str | list[str]":
    """Return some ``size`` brackets, balanced groups between ``sep`` (``None``: a list of groups).

    Where not ``valid``, a closing bracket stands before its opening one between two balanced halves.
    """
    if not valid:
        first, second = (rand_parens((size + 1) // 2 - 1, True, par, "") for _ in range(2))
        return f"{first}{par[1]}{par[0]}{second}"
    groups: list[list[str]] = []
    depth = 0
    for left in range(size + size % 2, 0, -1):
        if depth == 0:
            groups.append([])
        opens = depth == 0 or (depth < left and random.random() < 0.5)
        groups[-1].append(par[0] if opens else par[1])
        depth += 1 if opens else -1
    joined = ["".join(group) for group in groups]
    return joined if sep is None else sep.join(joined)


def passes_miller_rabin(number: int) -> bool:
    """Decide whether a number is prime (some problems ask for an ``is_prime``, so this one has another name)."""
    if number < 2 or any(number % prime == 0 for prime in _WITNESSES):
        return number in _WITNESSES
    odd = number - 1
    twos = (odd & -odd).bit_length() - 1
    odd >>= twos
    for base in _WITNESSES:
        power = pow(base, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


def rand_probably_prime(low: int, high: int | None = None) -> int:
    """Return a prime between ``low`` and ``high``; without ``high`` between half of ``low`` and ``low``."""
    if high is None:
        high = max(low, 3)
        low = high // 2
    low = max(low, 0)
    high = max(high, 2 * low, 3)
    while not passes_miller_rabin(found := random.randint(low, high)):
        pass
    return found


def rand_primality(size: int, lid: int, cid: int) -> int:
    """Return a number around ``size`` for a primality test: a prime, a prime's square or a product of two primes.

    The first four of level 0 are a product of two large primes, a Carmichael number, 2 and a prime's cube.
    """
    if lid == 0 and cid < 4:
        return (41 * 43, 561, 2, 125)[cid]
    size = max(size, 4)
    root = int(size**0.5 + 1)
    if cid % 3 == 0:
        return rand_probably_prime(size)
    if cid % 3 == 1:
        return rand_probably_prime(root) ** 2
    return rand_probably_prime(root) * rand_probably_prime(root)

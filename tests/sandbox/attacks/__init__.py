"""Hostile solutions of the task ``f(x) -> 2 * x``, by what they attack.

An attack answers rightly only where it succeeded: a cell that passes is a hole. ``CANARY`` in a text stands for
the path of a file of the host that every user may read and write.
"""

from tests.sandbox.attacks import files, forging, limits, loops, network, processes, tampering, verdicts

ATTACKS: dict[str, str] = {
    f"{module.__name__.rsplit('.', 1)[1]}: {name}": text
    for module in (files, forging, limits, loops, network, processes, tampering, verdicts)
    for name, text in module.ATTACKS.items()
}

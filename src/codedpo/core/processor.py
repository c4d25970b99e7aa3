"""What this machine's processor multiplies fast: the engine and training take their number formats, plans their speed
from it."""

import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Processor:
    """A kind of processor."""

    name: str
    instructions: frozenset[str] = frozenset()
    """Names of instruction sets as Linux gives them; empty where they are not known."""

    @property
    def multiplies_bytes(self) -> bool:
        """Whether it has dot products of 8-bit integers (VNNI, AMX); without, the local engine multiplies floats."""
        return bool(self.instructions & {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})

    @property
    def multiplies_bfloat16(self) -> bool:
        """Whether it has products of bfloat16.

        Emulated on an AVX2 core, they reach 9 GFLOP/s forward and 1 backward, where float32 has 57.
        """
        return bool(self.instructions & {"avx512_bf16", "amx_bf16", "bf16"})


@cache
def this_processor() -> Processor:
    """Describe the processor that this runs on."""
    try:
        text = CPUINFO.read_text()
    except OSError:
        text = ""
    return parse_cpuinfo(text, platform.processor() or platform.machine())


def parse_cpuinfo(text: str, name: str) -> Processor:
    """Read the first processor of ``/proc/cpuinfo``.

    Args:
        text: The file, or nothing on a system without it.
        name: The name where the file gives none, as on ARM.
    """
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = fields.get("flags", fields.get("Features", ""))
    return Processor(fields.get("model name", name), frozenset(flags.split()))

from codedpo.core.processor import Processor, parse_cpuinfo, this_processor

X86 = """processor\t: 0
model name\t: AMD EPYC
flags\t\t: fpu avx2 avx512f avx512_vnni avx512_bf16

processor\t: 1
model name\t: another
flags\t\t: fpu
"""
ARM = """processor\t: 0
Features\t: fp asimd asimddp i8mm bf16
"""


def test_the_first_processor_is_described() -> None:
    found = parse_cpuinfo(X86, "unknown")
    assert found.name == "AMD EPYC"
    assert found.multiplies_bytes
    assert found.multiplies_bfloat16


def test_arm_gives_features_and_no_name() -> None:
    found = parse_cpuinfo(ARM, "aarch64")
    assert found.name == "aarch64"
    assert found.multiplies_bytes
    assert found.multiplies_bfloat16


def test_without_the_file_nothing_is_promised() -> None:
    found = parse_cpuinfo("", "arm64")
    assert found == Processor("arm64")
    assert not found.multiplies_bytes
    assert not found.multiplies_bfloat16


def test_this_machine_has_a_name() -> None:
    assert this_processor().name

"""HumanEval+ and MBPP+ (Liu et al., arXiv 2305.01210; evalplus): the same tasks with some hundred inputs each.

The expected value of an input is what the published canonical solution returns for it, in a child of its own
(``Job.reference``). The rules by which an answer's value is compared are those of evalplus 0.3.1: equal, or
floats within a tolerance; a few problems have oracles of their own.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from codedpo.benchmarks import arguments
from codedpo.benchmarks.base import MODULES, Problem
from codedpo.benchmarks.data import DataFile, find, read_json_lines
from codedpo.benchmarks.humaneval import completion_request, program
from codedpo.sandbox.base import Check, Job, Limits

HUMANEVAL_PLUS = DataFile(
    path="humanevalplus/HumanEvalPlus.jsonl",
    sha256="42526ec0e7d5f3ee0b06d6ced98f8c8bae3d76519151bfb3d36f79010645bd7f",
    urls=(
        "https://raw.githubusercontent.com/evalplus/humanevalplus_release/200defce9e3429d28ca215b6dd061c0f7f31c18b"
        "/HumanEvalPlus.jsonl.gz",
    ),
    megabytes=0.9,
    licence="Apache-2.0",
)
"""Version 0.1.10; the tag of that name has the file of 0.1.9."""
MBPP_PLUS = DataFile(
    path="mbppplus/MbppPlus.jsonl",
    sha256="b54e762755248ca411b523c917fa9f93c07b5ff2966bf60b3917b853926a3dad",
    urls=(
        "https://raw.githubusercontent.com/evalplus/mbppplus_release/64fc4195b858a17cdfdb3324f0baf37939144e14"
        "/MbppPlus.jsonl.gz",
    ),
    megabytes=0.3,
    licence="Apache-2.0",
)
"""Version 0.2.0."""
CPU_SECONDS = 1.0
SLOW = {
    "catalan_number": 2.0,
    "combinations_colors": 35.0,
    "find_lucas": 2.0,
    "make_a_pile": 2.0,
    "sum_average": 6.0,
    "tri": 2.0,
}
"""evalplus allows an input ``CPU_SECONDS``, or four times what the published solution takes: where that is more."""
MEMORY_MIB, LARGE_MEMORY_MIB = 1024, 1900
"""Of all functions, and of those whose published solution needs a gigabyte for some inputs (``HUGE_VALUED``)."""
FLOAT_TOLERANCE = 1e-6
"""What evalplus allows from the first input on whose expected value is a float, or a list or tuple of floats."""
FLOAT_VALUED = frozenset(
    [f"HumanEval/{number}" for number in (20, 21, 34, 37, 42, 45, 47, 58, 71, 137)]
    + [
        f"Mbpp/{number}"
        for number in (
            *(14, 17, 65, 80, 93, 108, 126, 133, 145, 161, 171, 227, 234, 252, 257, 261, 264, 266, 267, 282),
            *(287, 308, 309, 404, 422, 432, 441, 447, 458, 470, 572, 577, 579, 597, 606, 615, 618, 622, 623),
            *(626, 721, 726, 728, 731, 743, 755, 767, 769, 796),
        )
    ]
)
"""Problems without a published tolerance whose canonical solution returns such a value for some input."""

NOT_NONE = frozenset({"check_str", "text_match_three", "text_starta_endb"})
"""MBPP+ functions whose value counts only as None or not (their canonical values are match objects)."""
AS_SETS = frozenset(
    {
        "similar_elements",
        "find_char_long",
        "common_in_nested_lists",
        "extract_singly",
        "larg_nnum",
        "intersection_array",
        "find_dissimilar",
        "Diff",
    }
)
"""MBPP+ functions whose value is compared as a set."""
HUGE_VALUED = {
    "string_sequence": "(value,)",
    "make_a_pile": "map(float, value)",
    "tri": "map(float, value)",
    "combinations_colors": "value",
    "get_coordinates": "value",
}
"""Functions that return millions of items for some inputs, and the items of a value that its digest is made of."""


def _condensed(call: str, items: str) -> str:
    """Return an expression that gives a large list or string as a digest, anything else as it is."""
    return (
        "(lambda value, digest: (any(map(digest.update, (repr(item).encode() for item in "
        f"{items}))) or digest.hexdigest()) if type(value) in (list, str) and len(value) > 10000 else value)"
        f"({call}, __import__('hashlib').sha256())"
    )


class HumanEvalPlus:
    """164 problems; the first ``len(problem.base_inputs)`` checks of a job are HumanEval's own inputs."""

    modules: tuple[str, ...] = MODULES
    name = "humanevalplus"
    data_files: tuple[DataFile, ...] = (HUMANEVAL_PLUS,)

    def __init__(self, data_folder: Path | str = "") -> None:
        self._data_folder = data_folder

    def problems(self) -> tuple[Problem, ...]:
        """Return the problems."""
        (file,) = self.data_files
        return tuple(_problem(self.name, row) for row in read_json_lines(find(file, self._data_folder)))

    def request(self, problem: Problem) -> str:
        """Return the message of a chat model."""
        return completion_request(problem)

    def job(self, problem: Problem, codes: Sequence[str]) -> Job:
        """Return the job: one check an input, base inputs first."""
        programs = tuple(program(problem, code) for code in codes)
        return Job(
            problem.problem_id,
            programs,
            checks(problem),
            limits(problem.entry_point),
            problem.canonical_solution,
        )


class MbppPlus(HumanEvalPlus):
    """378 problems; the first ``len(problem.base_inputs)`` checks of a job are MBPP's own inputs."""

    name = "mbppplus"
    data_files = (MBPP_PLUS,)


def limits(function: str) -> Limits:
    """Return what an answer may use on one input; one time-out decides."""
    memory_mib = LARGE_MEMORY_MIB if function in HUGE_VALUED else MEMORY_MIB
    return Limits(cpu_seconds=SLOW.get(function, CPU_SECONDS), memory_mib=memory_mib, timeouts_per_solution=1)


def _problem(benchmark: str, row: dict[str, Any]) -> Problem:
    def texts(inputs: list[Any]) -> tuple[str, ...]:
        restored = arguments.restore(row["task_id"], inputs)
        return tuple(", ".join(map(arguments.expression, values)) for values in restored)

    tolerance = float(row["atol"]) or (FLOAT_TOLERANCE if row["task_id"] in FLOAT_VALUED else 0.0)
    return Problem(
        benchmark=benchmark,
        problem_id=row["task_id"],
        prompt=row["prompt"],
        entry_point=row["entry_point"],
        canonical_solution=row["prompt"] + row["canonical_solution"],
        test="",
        base_inputs=texts(row["base_input"]),
        plus_inputs=texts(row["plus_input"] or []),
        absolute_tolerance=tolerance,
    )


@cache
def checks(problem: Problem) -> tuple[Check, ...]:
    """Return one check an input, base inputs first."""
    return tuple(_checks(problem))


def _checks(problem: Problem) -> Iterator[Check]:
    name, tolerance = problem.entry_point, problem.absolute_tolerance
    for values in problem.base_inputs + problem.plus_inputs:
        call = f"{name}({values})"
        if problem.benchmark == "humanevalplus" and name == "find_zero":
            value = f"(lambda xs, x: abs(sum(c * float(x) ** i for i, c in enumerate(xs))))({values}, {call})"
            yield Check(call=value, expected="0.0", tolerance=tolerance)
        elif name in HUGE_VALUED:
            yield Check(call=_condensed(call, HUGE_VALUED[name]), tolerance=tolerance)
        elif problem.benchmark == "humanevalplus":
            yield Check(call=call, tolerance=tolerance)
        elif name in _ALTERNATIVES:
            yield Check(code=_either(problem, values, _ALTERNATIVES[name]))
        elif name in AS_SETS:
            yield Check(call=f"set({call})", tolerance=tolerance)
        elif name in NOT_NONE:
            yield Check(
                call=f"(lambda value: value if isinstance(value, bool) else value is not None)({call})"
            )
        else:
            yield Check(call=call, tolerance=tolerance)


_ALTERNATIVES = {
    "surface_Area": (
        "lambda base, height: round(base**2 + 4 * (base * ((base / 2) ** 2 + height**2) ** 0.5) / 2)"
    ),
    "digit_distance_nums": (
        "lambda one, two: sum(abs(int(a) - int(b)) for a, b in zip(str(one).zfill(len(str(two))), "
        "str(two).zfill(len(str(one)))))"
    ),
}
"""MBPP+ functions with a second right value, by another reading of the task: its formula."""


def _either(problem: Problem, values: str, alternative: str) -> str:
    """Return a check that takes the canonical value or the alternative; it runs beside the answer."""
    return (
        "reference = {}\n"
        f"exec({problem.canonical_solution!r}, reference)\n"
        f"value = {problem.entry_point}({values})\n"
        f"assert value in (reference[{problem.entry_point!r}]({values}), ({alternative})({values}))"
    )

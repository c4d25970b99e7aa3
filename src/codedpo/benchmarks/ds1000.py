"""DS-1000 (Lai et al., arXiv 2211.11501): data-science problems of seven libraries. CC-BY-SA-4.0.

The merged release: ``code_context`` defines ``test_execution(solution)`` and, for some problems, ``test_string``; an
answer is text that is put into a given program, and is right if both functions return. Expected values are made by
``code_context`` itself, so the check runs beside the answer (``Oracle.IN_PROCESS``). Verdicts depend on the versions
of the libraries; ``docs/evaluation.md`` says with which ones the published solutions pass.
"""

import inspect
import re
import textwrap
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from codedpo.benchmarks.base import Problem
from codedpo.benchmarks.data import DataFile, find, read_json_lines
from codedpo.benchmarks.scratch import files_in_memory
from codedpo.sandbox.base import Check, Job, Limits

FILE = DataFile(
    path="ds1000/ds1000.jsonl",
    sha256="26a492838b05f9d030b2f08a5715c6bafecafb601c157da912bf417fd8b0d363",
    urls=(
        "https://raw.githubusercontent.com/xlang-ai/DS-1000/b39aab71da6d23ef8d3cac59a7c5f834516ab334"
        "/data/ds1000.jsonl.gz",
    ),
    megabytes=0.4,
    licence="CC-BY-SA-4.0",
)
"""It is kept packed: its authors ask that no unpacked copy be published."""
LIMITS = Limits(cpu_seconds=60.0, wall_factor=2.0, memory_mib=1900, timeouts_per_solution=1)
"""The official harness gives 120 s of wall time; the slowest published solution takes 8 s of CPU time."""
LIBRARIES = (
    "numpy.*",
    "pandas.*",
    "scipy.*",
    "sklearn.*",
    "matplotlib.*",
    "mpl_toolkits.*",
    "contourpy.*",
    "PIL.*",
    "seaborn.*",
    "statsmodels",
    "statsmodels.api",
    "joblib.*",
    "threadpoolctl",
    "pytz.*",
    "dateutil.*",
    "jinja2.*",
    "yaml",
    "tzdata.*",
    "torch.*",
    "tensorflow",
    "xgboost",
    "gensim",
)
"""What answers may import where it is installed; most packages are loaded whole, see ``sandbox.preload``."""
STANDARD_LIBRARY = (
    "bz2",
    "csv",
    "ctypes",
    "datetime",
    "gzip",
    "importlib.metadata",
    "importlib.readers",
    "logging",
    "lzma",
    "multiprocessing",
    "pickle",
    "platform",
    "shutil",
    "socket",
    "subprocess",
    "tarfile",
    "tempfile",
    "tokenize",
    "urllib.request",
    "xml.etree.ElementTree",
    "zipfile",
    "zoneinfo",
)
"""What the libraries import when a function is called."""
MARKS = ("<code>", "</code>", "\nEND SOLUTION")
"""What opens and what ends the solution in a prompt; replies in that form have them too."""
_ROOTS = frozenset(name.partition(".")[0] for name in LIBRARIES)
_IMPORT = re.compile(r"^\s*(?:import|from)\s+(\w+)", re.MULTILINE)
_ONLINE = re.compile(r"\bload_dataset\(|\bfetch_\w+\(")
"""How a published solution shows that it needs the network, which a sandboxed program never has."""
_QHULL = re.compile(r"\bgriddata\(|\bVoronoi\(")
"""What makes Qhull open a temporary file, by C's ``fopen``."""


class DS1000:
    """1000 problems; results are broken down by library."""

    modules: tuple[str, ...] = (*STANDARD_LIBRARY, *LIBRARIES)
    temporary_folder_kib: int = 1024
    data_files: tuple[DataFile, ...] = (FILE,)

    def __init__(self, data_folder: Path | str = "") -> None:
        self._data_folder = data_folder

    def problems(self) -> tuple[Problem, ...]:
        """Return the problems."""
        return tuple(_problem(row) for row in read_json_lines(find(FILE, self._data_folder)))

    def request(self, problem: Problem) -> str:
        """Return the message of a chat model."""
        return (
            "Write a short code following the given format and indentation. Answer in one Markdown block with "
            "nothing but the lines that take the place of the solution: what is given is not repeated.\n\n"
            f"{problem.prompt}"
        )

    def job(self, problem: Problem, codes: Sequence[str]) -> Job:
        """Return the job: one check, the published functions on the text of an answer."""
        texts = (f"solution = {_answer(problem, code)!r}\n" for code in codes)
        return Job(problem.problem_id, tuple(texts), (Check(code=_check(problem)),), LIMITS)


def _problem(row: dict[str, Any]) -> Problem:
    context, solution, metadata = row["code_context"], row["reference_code"], row["metadata"]
    code = f"{context}\n{solution}"
    imported = {name for name in _IMPORT.findall(code) if name in _ROOTS}
    return Problem(
        benchmark="ds1000",
        problem_id=str(metadata["problem_id"]),
        prompt=row["prompt"],
        entry_point="",
        canonical_solution=solution,
        test=context,
        group=metadata["library"],
        marks=MARKS,
        modules=tuple(sorted(imported)),
        writes_files=bool(_QHULL.search(code)),
        needs="the network" if _ONLINE.search(code) else "",
    )


@cache
def _check(problem: Problem) -> str:
    """Return the program that judges an answer, which it finds as the text ``solution``."""
    calls = ["test_execution(solution)"]
    if "test_string(" in problem.test:
        calls.append("test_string(solution)")
    return "\n".join([inspect.getsource(files_in_memory), "files_in_memory()", problem.test, *calls])


def _answer(problem: Problem, code: str) -> str:
    """Return what is put into the program: the official harness's clean-up, then the indentation of its place."""
    opening, closing, last_line = MARKS
    code = code.partition(closing)[0].replace("```python", "").partition("```")[0]
    code = code.partition(last_line)[0].replace(opening, "")
    indentation = _indentation(problem.canonical_solution)
    return textwrap.indent(code, indentation) if indentation and not _indentation(code) else code


def _indentation(code: str) -> str:
    """Return the blanks before the first statement: some problems ask for the body of a function."""
    first = next((line for line in code.splitlines() if line.strip() and not line.startswith("#")), "")
    return first[: len(first) - len(first.lstrip())]

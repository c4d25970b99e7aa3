import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.llm.names import bound_names, loaded_names
from codedpo.llm.parse import ExtractedCode, Extraction, extract_code, extract_program, trim_solution
from codedpo.llm.source import code_blocks, syntax_tree, whole_statements

FUNCTION = "def f(x):\n    return x + 1"


Rows = Callable[[str], list[Any]]


@pytest.mark.parametrize(
    "text",
    [
        FUNCTION,
        f"```python\n{FUNCTION}\n```",
        f"Sure! Here it is:\n\n```py\n{FUNCTION}\n```\nIt adds one.",
        f"```\n{FUNCTION}\n```\n```",
        f"```python\n{FUNCTION}",
        f"~~~~python\n{FUNCTION}\n~~~~",
        "1. Code:\n   ```python\n   def f(x):\n       return x + 1\n   ```",
        f"Here it is:\n{FUNCTION}\n\nThis function adds one to x.",
        f"```python\n{FUNCTION}\n\nprint(f(1))\nassert f(1) == 2\n```",
        f"```python\n{FUNCTION}\n\nif __name__ == '__main__':\n    print(f(1))\n```",
        f"```python\n{FUNCTION}\n\n# Example\nvalue = f(1)\nprint(value)\n\ndef g(y):\n    for",
        f"```bash\npip install x\n```\n```python\n{FUNCTION}\n```",
        f"```python\nprint(f(1))\n```\nwith\n```python\n{FUNCTION}\n```",
        f"<think>\n```python\ndef f(x): return 0\n```\n</think>\n```python\n{FUNCTION}\n```",
        f"let me see: def f(x): pass\n</think>\n{FUNCTION}",
        f"```python\nimport unittest\n{FUNCTION}\n\nclass T(unittest.TestCase):\n    def test(self):\n"
        "        self.assertEqual(f(1), 2)\nunittest.main()\n```",
    ],
)
def test_the_same_program_is_found_in_every_wrapping(text: str) -> None:
    found = extract_code(text, "f")
    assert found.outcome is Extraction.FOUND
    assert found.code == FUNCTION


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("", Extraction.NO_CODE),
        ("I cannot help with that.", Extraction.NO_CODE),
        ("```bash\nls\n```", Extraction.NO_CODE),
        ("<think>\n```python\ndef f(x): return 1\n```", Extraction.NO_CODE),
        ("```python\ndef g(x):\n    return 1\n```", Extraction.NO_ENTRY_POINT),
        ("```python\nclass Solution:\n    def f(self, x):\n        return 1\n```", Extraction.NO_ENTRY_POINT),
        ("```python\ndef f(x):\n    for i in range(\n```", Extraction.SYNTAX_ERROR),
        ("```python\ndef f(x):\n    return 1\x00\n```", Extraction.SYNTAX_ERROR),
        (f"```python\ndef f(x):\n    return {' + '.join(['x'] * 1200)}\n```", Extraction.TOO_DEEP),
    ],
)
def test_what_is_no_program_says_why(text: str, outcome: Extraction) -> None:
    assert extract_code(text, "f").outcome is outcome


def test_a_block_that_is_too_deep_leaves_the_others() -> None:
    deep = f"def g(x):\n    return {' + '.join(['x'] * 1200)}"
    assert extract_code(f"```python\n{deep}\n```\n```python\n{FUNCTION}\n```", "f").code == FUNCTION


def test_a_base_models_completion_continues_the_prompt() -> None:
    prefix = 'import math\n\ndef f(x):\n    """Add one."""\n'
    found = extract_code("    return x + 1\n\ndef g():\n    return 2\n\nprint(f(1))\n", "f", prefix=prefix)
    assert found.code == 'def f(x):\n    """Add one."""\n    return x + 1'


def test_helpers_of_another_block_come_along() -> None:
    text = (
        "```python\ndef helper(x):\n    return x\n```\nand\n```python\ndef f(x):\n    return helper(x)\n```"
    )
    assert extract_code(text, "f").code == "def helper(x):\n    return x\n\ndef f(x):\n    return helper(x)"


def test_trimming_keeps_what_the_entry_point_needs_as_it_is_written() -> None:
    code = (
        "from __future__ import annotations\nimport sys, os\nfrom functools import lru_cache\nimport pytest\n"
        "sys.setrecursionlimit(9000)\nrandom_thing = 3\n\n# the table\ntable = {}\ntable[0] = 1\n\n\n"
        "@lru_cache(None)\ndef helper(n):\n    return sys.maxsize  # why\n\n\nclass Unused: pass\n\n"
        "def f(n: int):\n    global cache\n    cache = n\n    return helper(n) + table[0]\n\ncache = None\n"
        "f.calls = 0\nresult = f(3)\nfor n in range(3):\n    print(f(n))\ndef test_f():\n    assert f(1) == 1\n"
    )
    assert trim_solution(code, "f") == (
        "from __future__ import annotations\nimport sys, os\nfrom functools import lru_cache\n"
        "sys.setrecursionlimit(9000)\n\n# the table\ntable = {}\ntable[0] = 1\n\n\n"
        "@lru_cache(None)\ndef helper(n):\n    return sys.maxsize  # why\n\n"
        "def f(n: int):\n    global cache\n    cache = n\n    return helper(n) + table[0]\n\ncache = None\nf.calls = 0"
    )


def test_a_statement_that_changes_what_is_needed_stays() -> None:
    code = "table = [1, 2]\nlast = table.pop()\n\ndef f(n):\n    return n in table"
    assert trim_solution(code, "f") == code


def test_code_that_cannot_be_trimmed_comes_back() -> None:
    assert trim_solution("def f(:", "f") == "def f(:"
    assert trim_solution("x = 1", "f") == "x = 1"


def test_a_function_of_a_module_does_not_change_the_module() -> None:
    function = "import numpy as np\n\ndef f(a):\n    return int(np.max(a))\n"
    trimmed = trim_solution(f"{function}\ndata = np.array([3, 1])\ngrown = np.append(data, f(data))\n", "f")
    assert trimmed == function.strip()


def test_a_functions_own_variables_are_not_needed_from_outside() -> None:
    tree = syntax_tree(
        "def f(a, *b, c=d, **e):\n    g = a\n    for h in g: pass\n    return [i(j) for j in k] + b + [l]"
    )
    assert tree is not None
    assert loaded_names([tree]) >= {"d", "i", "k", "l"}
    assert not loaded_names([tree]) & {"a", "b", "c", "e", "g", "h"}
    assert bound_names(tree.body[0]) == {"f"}


@given(st.text(alphabet="`~ \npython def f(x):return#'\"\\\t<think>/", max_size=120))
def test_any_text_is_parsed_without_an_error(text: str) -> None:
    found = extract_code(text, "f")
    assert (found.outcome is Extraction.FOUND) == bool(found.code)
    assert all(isinstance(block, str) for block in code_blocks(text))
    assert syntax_tree(whole_statements(text)) is not None


def test_replies_of_the_small_model(rows: Rows, entry_points: dict[int, str]) -> None:
    """480 real replies: all but one hold code; those without entry point named the function otherwise."""
    outcomes: Counter[str] = Counter()
    for row in rows("qwen_mbpp/texts.jsonl.gz"):
        if row["kind"] == "solution":
            found = extract_code(row["text"], entry_points[row["task"]])
            outcomes[found.outcome.value] += 1
            if found.outcome is Extraction.FOUND:
                assert syntax_tree(found.code) is not None
                assert trim_solution(found.code, entry_points[row["task"]]) == found.code, (
                    "trimming twice changes nothing"
                )
    assert outcomes == {"found": 425, "no_entry_point": 54, "no_code": 1}


def test_completions_of_a_base_model(rows: Rows) -> None:
    outcomes: Counter[str] = Counter()
    path = "codet/HumanEval_codegen16B_temp0.8_code_solutions_even_tasks.jsonl.gz"
    for row in rows(path)[:20]:
        name = re.findall(r"^def (\w+)", row["prompt"], re.MULTILINE)[-1]
        for sample in row["samples"]:
            outcomes[extract_code(sample, name, prefix=row["prompt"]).outcome.value] += 1
    assert outcomes["found"] / outcomes.total() > 0.95


def test_a_program_without_entry_point_is_the_first_block_that_parses():
    reply = (
        "Run:\n```\npip install x\n```\nFor\n```\n3\nYES\n```\nwrite\n"
        "```python\nn = int(input())\nprint(n * 2)\n```\nor\n```python\nprint(3)\n```"
    )
    assert extract_program(reply) == ExtractedCode(Extraction.FOUND, "n = int(input())\nprint(n * 2)")
    assert extract_program("```python\nfor x in\n```").outcome is Extraction.SYNTAX_ERROR
    assert extract_program("```\n3\n```").outcome is Extraction.SYNTAX_ERROR
    assert extract_program("I cannot say.").outcome is Extraction.NO_CODE
    assert extract_program("<think>```python\nx\n```</think>No.").outcome is Extraction.NO_CODE


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a, b = map(int, input().split())\nprint(a + b)", "a, b = map(int, input().split())\nprint(a + b)"),
        ("Here you are:\n\nfor n in '12':\n    print(n)\nx = 3", "for n in '12':\n    print(n)\nx = 3"),
        ("Solution\n\nprint(1)", "print(1)"),
        ("'''Doc\n\nx = 1\n'''\nprint(3)", "'''Doc\n\nx = 1\n'''\nprint(3)"),
        ("It is:\n\n    # the sum\n    return a + b", "# the sum\nreturn a + b"),
        (
            "```python\n# def f(a, b):\n    c = a + b\n    return c\n```",
            "# def f(a, b):\nc = a + b\nreturn c",
        ),
    ],
)
def test_a_program_is_found_whole(text: str, code: str) -> None:
    assert extract_program(text) == ExtractedCode(Extraction.FOUND, code)


def test_what_stands_above_the_first_import_def_or_assignment_is_kept() -> None:
    text = "Here it is:\na, b = 1, 2\n\ndef f(x):\n    return a\n\nIt returns one."
    assert extract_code(text, "f").code == "a, b = 1, 2\n\ndef f(x):\n    return a"


def test_long_repetitions_without_a_fence_take_no_time() -> None:
    """Thousands of lines that parse one by one, above one that does not."""
    assert extract_program("word\n" * 20_000 + "two words").outcome is Extraction.NO_CODE

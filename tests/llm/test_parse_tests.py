import ast
import cProfile
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.llm.assertions import NotConstantError, constant, literal
from codedpo.llm.parse_tests import Dropped, extract_tests

Rows = Callable[[str], list[Any]]


def one(code: str) -> tuple[str, str, str]:
    found = extract_tests(f"```python\n{code}\n```", "f", 10)
    assert not found.dropped
    (test,) = found.tests
    return test.code, test.call, test.expected


@pytest.mark.parametrize(
    ("code", "call", "expected"),
    [
        ("assert f(1)==2", "f(1)", "2"),
        (
            "assert f([1,2], key = 'a') == (1, {'b': None}), 'message'",
            "f([1, 2], key='a')",
            "(1, {'b': None})",
        ),
        ("assert -1 == f(1)", "f(1)", "-1"),
        ("a = [1]\nb = a.copy()\nr = f(a)\nassert r == 2", "f([1])", "2"),
        ("r = f([1]).pop()\ns = f([2]).pop()\nassert r == 2", "f([1]).pop()", "2"),
        ("a = [1]\nfor x in a:\n    print(x)\nassert f(a) == 2", "f([1])", "2"),
        ("assert f(1) is None", "f(1)", "None"),
        ("assert f(1) is True", "f(1)", "True"),
        ("assert f(1)", "bool(f(1))", "True"),
        ("assert not f(1)", "bool(f(1))", "False"),
        ("assert sorted(f(1)) == [1]", "sorted(f(1))", "[1]"),
        ("assert f(1) == set()", "f(1)", "set()"),
        ("assert f(1) == {'b', 'a'}", "f(1)", "{'a', 'b'}"),
        ("assert f(1) == float('inf')", "f(1)", "1e999"),
        ("assert f(1) == -math.inf", "f(1)", "-1e999"),
        ("assert f(1) == 2 ** 10 - 1", "f(1)", "1023"),
        ("assert f(1) == [0] * 3 + [1]", "f(1)", "[0, 0, 0, 1]"),
        ("assert (f(1) == 2, 'always true for Python')", "f(1)", "2"),
        ("expected = [1]\nassert f(1) == expected", "f(1)", "[1]"),
        ("data = [3, 1]\nresult = f(data)\nprint(result)\nassert result == [1, 3]", "f([3, 1])", "[1, 3]"),
        ("a, b = 1, 2\nassert f(a) == b", "f(1)", "2"),
        ("def test_f():\n    x: int = 3\n    assert f(x) == 4", "f(3)", "4"),
        ("def check(candidate):\n    assert candidate(1) == 2", "f(1)", "2"),
        ("if __name__ == '__main__':\n    assert f(1) == 2", "f(1)", "2"),
        ("def f(x):\n    return 5\n\nassert f(1) == 2", "f(1)", "2"),
        (
            "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertEqual(f(1), 2)",
            "f(1)",
            "2",
        ),
        ("class T:\n    def test_a(self):\n        self.assertIsNone(f(1))", "f(1)", "None"),
        ("class T:\n    def test_a(self):\n        self.assertTrue(f(1))", "bool(f(1))", "True"),
        ("assert \n    f(1) == 2", "f(1)", "2"),
        ("def test_f():\n    assert\n    assert f(1) == 2", "f(1)", "2"),
        ("self.assertAlmostEqual(f(1), 3.33)", "round(f(1) - 3.33, 7)", "0"),
        ("self.assertAlmostEqual(f(1), 3.33, places=2)", "round(f(1) - 3.33, 2)", "0"),
        ("self.assertAlmostEqual(f(1), 3.33, 2, 'message')", "round(f(1) - 3.33, 2)", "0"),
    ],
)
def test_call_against_value(code: str, call: str, expected: str) -> None:
    assert one(code)[1:] == (call, expected)
    assert ast.literal_eval(expected) is not ast


@pytest.mark.parametrize(
    ("code", "kept"),
    [
        ("self.assertAlmostEqual(f(1), 3.33, delta=0.1)", "assert abs(f(1) - 3.33) <= 0.1"),
        ("a = 1\nr = f(a)\na = 2\nassert r == 10", "a = 1\nr = f(a)\na = 2\nassert r == 10"),
        ("a = [1]\nr = f(a)\na.append(2)\nassert r == 1", "a = [1]\nr = f(a)\na.append(2)\nassert r == 1"),
        ("x = 5\nassert [x for x in f(3)] == [1, 2]", "x = 5\nassert [x for x in f(3)] == [1, 2]"),
        *(
            (code, code)
            for code in (
                "a = [3, 1, 2]\nx = a.pop()\nassert f(a) == [1, 3]",
                "a = {'x': [1]}\nx = a['x'].pop()\nassert f(a) == 3",
                "a = {'x': 1}\nx = a.setdefault('y', 2)\nassert f(a) == 3",
                "a = [3, 1, 2]\nr = f(a.pop())\nassert r == [1, 3]",
                "from random import shuffle\na = [3, 1, 2]\nfor _ in range(2):\n    shuffle(a)\nassert f(a) == 3",
            )
        ),
        (
            "from random import shuffle\na = [3, 1, 2]\nr = f(a)\nif r:\n    shuffle(a)\nassert r == 3",
            "a = [3, 1, 2]\nr = f(a)\nassert r == 3",
        ),
        (
            "import numpy as np\na = np.array([1])\ngrown = np.append(a, f(7))\nassert f(np.array([3])) == 1",
            "import numpy as np\nassert f(np.array([3])) == 1",
        ),
        ("x = 5\nassert any(map(lambda x: x > 1, f(x)))", "x = 5\nassert any(map(lambda x: x > 1, f(x)))"),
        (
            "self.assertRaisesRegex(ValueError, 'bad', f, -1)",
            "try:\n    f(-1)\nexcept ValueError:\n    pass\nelse:\n    raise AssertionError('no ValueError')",
        ),
        (
            "self.assertRaises(ValueError, lambda: f(x=-1))",
            "try:\n    (lambda: f(x=-1))()\nexcept ValueError:\n    pass\n"
            "else:\n    raise AssertionError('no ValueError')",
        ),
        (
            "self.assertRaises(ValueError, f, x=-1)",
            "try:\n    f(x=-1)\nexcept ValueError:\n    pass\nelse:\n    raise AssertionError('no ValueError')",
        ),
        ("assert f(1) != 2", "assert f(1) != 2"),
        ("assert f(1) in (1, 2)", "assert f(1) in (1, 2)"),
        ("assert f(1) == f(2)", "assert f(1) == f(2)"),
        ("assert abs(f(1) - 0.5) < 1e-6", "assert abs(f(1) - 0.5) < 1e-06"),
        ("import math\nassert math.isclose(f(1), 0.5)", "import math\nassert math.isclose(f(1), 0.5)"),
        ("assert not f(1) > 2", "assert not f(1) > 2"),
        ("x = [1]\nassert f(x) == x", "x = [1]\nassert f(x) == x"),
        ("x = [2, 1]\nf(x)\nassert x == [1, 2]", "x = [2, 1]\nf(x)\nassert x == [1, 2]"),
        (
            "def double(n):\n    return 2 * n\n\nassert f(1) == double(1)",
            "def double(n):\n    return 2 * n\nassert f(1) == double(1)",
        ),
        ("r = f(1)\nr = f(r)\nassert r == 3", "r = f(1)\nr = f(r)\nassert r == 3"),
        ("for i in range(3):\n    assert f(i) == i", "for i in range(3):\n    assert f(i) == i"),
        *(
            (code, code)
            for code in (
                "n = 0\nfor x in [1, 2]:\n    n += x\n    assert f(x) == n",
                "seen = []\nfor x in [1, 2]:\n    seen.append(x)\n    assert f(x) == seen",
                "last = 0\nfor x in [1, 2]:\n    assert f(last) == x\n    last = x",
                "n = 0\nfor x in [1, 2]:\n    n += 1\n    assert f(x) == 3",
            )
        ),
        (
            "with pytest.raises(ValueError):\n    f(-1)",
            "try:\n    f(-1)\nexcept ValueError:\n    pass\nelse:\n    raise AssertionError('no ValueError')",
        ),
        (
            "class T:\n    def test_a(self):\n        self.assertRaises(ValueError, f, -1)",
            "try:\n    f(-1)\nexcept ValueError:\n    pass\nelse:\n    raise AssertionError('no ValueError')",
        ),
    ],
)
def test_other_forms_run_beside_the_solution(code: str, kept: str) -> None:
    assert one(code) == (kept, "", "")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("assert True", Dropped.NO_CALL),
        ("assert g(1) == 2", Dropped.NO_CALL),
        ("assert f(1) == f(1)", Dropped.COMPARES_WITH_ITSELF),
        ("self.assertEqual(first=f(1), second=2)", Dropped.UNKNOWN_FORM),
        ("case = (f(1), 2)\nself.assertTrue(*case)", Dropped.UNKNOWN_FORM),
        ("import pytest\nwith pytest.raises(expected_exception=ValueError):\n    f(1)", Dropped.UNKNOWN_FORM),
        ("import pytest\nwith open('x') as g, pytest.raises(ValueError):\n    f(-1)", Dropped.UNKNOWN_FORM),
        ("assert f(unknown) == 2", Dropped.UNDEFINED_NAME),
        ("assert f(1) == ____", Dropped.UNDEFINED_NAME),
        ("```\ntry:\n    f(1)\n    assert False\nexcept:\n    pass\n```", Dropped.CATCHES_EVERYTHING),
        (f"assert f({'x' * 2100!r}) == 1", Dropped.TOO_LONG),
        (f"assert f(1) == {' + '.join(['x'] * 250)}", Dropped.TOO_DEEP),
        (f"x = {'-' * 80}f(1)\nassert {'-' * 80}x == 2", Dropped.TOO_DEEP),
    ],
)
def test_what_is_no_test_is_dropped_with_a_reason(code: str, reason: Dropped) -> None:
    found = extract_tests(code, "f", 10)
    assert not found.tests
    assert [dropped for dropped, _ in found.dropped] == [reason]


@pytest.mark.parametrize(
    ("opening", "closing"), [("[", "]"), ("{1: ", "}"), ("f(", ")"), ("(lambda: ", ")"), ("-", "")]
)
def test_what_is_just_not_too_deep_is_read_deep_in_the_stack(opening: str, closing: str) -> None:
    """A reply is read alike whoever calls, so the limit leaves room for callers."""

    def read(frames: int) -> object:
        if frames:
            return read(frames - 1)
        return extract_tests(f"assert f({opening * 94}1{closing * 94}) == 2", "f", 1)

    assert read(0) == read(100)
    assert len(extract_tests(f"assert f({opening * 94}1{closing * 94}) == 2", "f", 1).tests) == 1


def test_a_claim_that_is_too_deep_leaves_the_others() -> None:
    deep = " + ".join(["x"] * 300)
    text = f"def test_f():\n    x = 1\n    assert f(2) == 3\n    assert f(x) == {deep}\n    assert f(4) == 5"
    found = extract_tests(text, "f", 5)
    assert [test.call for test in found.tests] == ["f(2)", "f(4)"]
    assert found.dropped == ((Dropped.TOO_DEEP, "more than 100 levels"),)


def test_what_needs_a_statement_that_is_too_deep_has_no_older_value() -> None:
    found = extract_tests(f"x = 1\nx = {' + '.join(['2'] * 300)}\nassert f(x) == 3\nassert f(4) == 5", "f", 5)
    assert [test.call for test in found.tests] == ["f(4)"]
    assert [reason for reason, _ in found.dropped] == [Dropped.TOO_DEEP, Dropped.UNDEFINED_NAME]


def test_a_statement_that_is_too_deep_gives_nothing_an_older_value() -> None:
    deep = f"y = x.pop({' + '.join(['1'] * 300)})"
    found = extract_tests(f"r = 1\nx = [2, 3]\nr = f(x.pop())\n{deep}\nassert f(4) == r", "f", 5)
    assert [reason for reason, _ in found.dropped] == [Dropped.TOO_DEEP, Dropped.UNDEFINED_NAME]


@pytest.mark.parametrize(
    "code",
    [
        "for x in [1, 2]:\n    self.assertEqual(f(x), 3)",
        "import logging\nfor x in [1, 2]:\n    logging.info(x)\n    assert f(x) == 3",
        "for x in [1, 2]:\n    try:\n        f(x)\n    except KeyError as e:\n        print(e)\n    assert f(x) == 3",
        "for x in [1, 2]:\n    y = [z for z in f(x)]\n    assert f(x) == 3",
    ],
)
def test_rounds_that_need_no_earlier_one_are_a_test_each(code: str) -> None:
    assert [test.code for test in extract_tests(code, "f", 5).tests] == [
        "assert f(1) == 3",
        "assert f(2) == 3",
    ]


@pytest.mark.parametrize(
    ("code", "kept"),
    [
        ("for x in range(3):\n    self.assertEqual(f(x), 3)", 0),
        ("x = [1, 2]\nself.assertEqual(f(x.pop()), 1)\nself.assertEqual(f(x), 3)", 1),
        ("np.random.seed(1)\nx = np.random.rand()\nassert f(x) == 3", 0),
    ],
)
def test_what_calls_a_method_of_something_unknown_is_no_test(code: str, kept: int) -> None:
    found = extract_tests(code, "f", 5)
    assert (len(found.tests), [reason for reason, _ in found.dropped]) == (kept, [Dropped.UNDEFINED_NAME])


@pytest.mark.parametrize(
    "code",
    [
        "x = 1\nfor x in [3, 4]:\n    assert f(x) == 5\nassert f(x) == 6",
        "n = 0\nfor x in [1, 2]:\n    n += x\n    assert f(x) == n\nassert f(n) == 6",
        "x = [1, 2]\nassert f(x.pop()) == 3\nassert f(x) == 6",
        "x = 1\ntry:\n    x = 2\n    assert f(x) == 3\nexcept ValueError:\n    pass\nassert f(x) == 6",
    ],
)
def test_what_reads_a_variable_that_an_assertion_changed_comes_after_it(code: str) -> None:
    assert extract_tests(code, "f", 5).tests[-1].code == code


def test_an_assertion_that_changes_no_variable_is_in_no_other_test() -> None:
    code = "x = [1]\nfor y in [2, 3]:\n    r = f(y)\n    assert r == x\nassert [x for x in f(4)] == x\nassert f(5) == x"
    assert [test.code for test in extract_tests(code, "f", 5).tests] == [
        "assert f(2) == [1]",
        "assert f(3) == [1]",
        "x = [1]\nassert [x for x in f(4)] == x",
        "assert f(5) == [1]",
    ]


def test_the_work_grows_with_the_length_of_a_reply_and_not_with_its_square() -> None:
    def steps(count: int) -> int:
        """Count the function calls of reading so many assertions with a value of a variable each."""
        lines = [f"x = [{number}]\nr = f(x)\nassert r == {number}\n" for number in range(count)]
        profile = cProfile.Profile()
        found = profile.runcall(extract_tests, "".join(lines), "f", count)
        assert len(found.tests) == count
        return sum(entry.callcount for entry in profile.getstats())

    assert steps(80) < 3 * steps(40)


def test_several_forms_of_several_tests() -> None:
    text = (
        "```python\ncases = [(1, 2), (2, 3)]\nfor given, wanted in cases:\n    assert f(given) == wanted\n"
        "for key, value in {4: 5}.items():\n    result = f(key)\n    assert result == value, key\n"
        "assert f(1) == 2 and f(9) == 10\n```"
    )
    found = extract_tests(text, "f", 10)
    assert [(test.call, test.expected) for test in found.tests] == [
        ("f(1)", "2"),
        ("f(2)", "3"),
        ("f(4)", "5"),
        ("f(9)", "10"),
    ]
    assert found.dropped == ((Dropped.DUPLICATE, "assert f(1) == 2"),)


def test_broken_lines_do_not_take_the_others_with_them() -> None:
    text = "```python\nassert f(1) == 2\nassert f(2 == 3\nassert f([\n    3,\n]) == 4\nassert f(5) == 6\nassert f(6) =="
    assert [test.call for test in extract_tests(text, "f", 10).tests] == ["f(1)", "f([3])", "f(5)"]


def test_a_test_function_that_was_cut_keeps_its_whole_assertions() -> None:
    text = "```python\ndef test_f():\n    x = 1\n    assert f(x) == 2\n    assert f(2) == 3\n    assert f([1,"
    assert [test.call for test in extract_tests(text, "f", 10).tests] == ["f(1)", "f(2)"]


def test_assertions_in_prose() -> None:
    text = "Tests:\n- `assert f(1) == 2`\n- `assert f(2) == 3`: the second\n"
    assert [test.call for test in extract_tests(text, "f", 10).tests] == ["f(1)", "f(2)"]


def test_the_limit_takes_the_first() -> None:
    found = extract_tests("assert f(1) == 2\nassert f(2) == 3\nassert f(3) == 4", "f", 2)
    assert [test.call for test in found.tests] == ["f(1)", "f(2)"]
    assert found.dropped == ((Dropped.BEYOND_LIMIT, "assert f(3) == 4"),)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=8,
)


@given(PLAIN)
def test_plain_values_survive_as_literals(value: object) -> None:
    text = repr(value).replace("inf", "1e999")  # in strings too, on both sides
    assert ast.literal_eval(literal(ast.parse(text, mode="eval").body)) == ast.literal_eval(text)


@pytest.mark.parametrize(
    "text",
    [
        "9 ** 9 ** 9",
        "[0] * 10 ** 9",
        "[0] * 10000 * 10000",
        "[[0] * 1000] * 1000",
        "'%9999999999d' % 5",
        "'a' * 99999999",
        "float('nan')",
        "f(1)",
        "x",
        "1 / 0",
        "{[]: 1}",
    ],
)
def test_what_is_no_small_constant_is_not_evaluated(text: str) -> None:
    with pytest.raises(NotConstantError):
        constant(ast.parse(text, mode="eval").body)


@given(st.text(alphabet="assert f(1)==[2,]\n\t:`'\"defclass() forin#", max_size=100))
def test_any_text_is_parsed_without_an_error(text: str) -> None:
    for test in extract_tests(text, "f", 5).tests:
        ast.parse(test.code)


def test_replies_of_the_small_model(rows: Rows, entry_points: dict[int, str]) -> None:
    """200 real replies. 96 hold no usable assertion: no assertion at all, or ``f`` or another name is tested."""
    counts: Counter[str] = Counter()
    for row in rows("qwen_mbpp/texts.jsonl.gz"):
        if row["kind"] == "test":
            found = extract_tests(row["text"], entry_points[row["task"]], 50)
            counts.update(replies=1, useful=bool(found.tests), tests=len(found.tests))
            counts["split"] += sum(bool(test.call) for test in found.tests)
            counts.update(reason.value for reason, _ in found.dropped)
    assert counts["tests"] == 487
    assert counts["split"] == 483
    assert counts["useful"] == 104


def test_assertions_of_a_base_model(rows: Rows) -> None:
    """CodeT's rule (cut at ``assert``, keep what parses and names the function) finds hardly a test that we lose."""
    path = "codet/HumanEval_codegen16B_temp0.8_test_cases_even_tasks.jsonl.gz"
    theirs: set[str] = set()
    ours: set[str] = set()
    for row in rows(path)[:12]:
        name = re.findall(r"^def (\w+)", row["prompt"], re.MULTILINE)[-1]
        for sample in row["samples"]:
            found = extract_tests(sample, name, 5, prefix="assert ")
            ours |= {test.code for test in found.tests}
            for piece in f"assert {sample}".split("assert ")[1:6]:
                if f"{name}(" in piece:
                    alone = extract_tests(f"assert {piece}", name, 1)
                    theirs |= {test.code for test in alone.tests}
    assert len(ours) > 300
    assert len(theirs - ours) < 0.01 * len(theirs)

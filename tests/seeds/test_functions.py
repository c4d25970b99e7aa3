import ast
import textwrap

from hypothesis import given
from hypothesis import strategies as st

from codedpo.seeds.functions import Function, extract


def functions(source: str) -> list[Function]:
    return list(extract(textwrap.dedent(source)))


def test_lines_decorators_and_docstring() -> None:
    (function,) = functions('''
        import functools

        @functools.lru_cache(maxsize=None)
        def fib(n, *rest):
            """Return the n-th number."""
            return n if n < 2 else fib(n - 1) + fib(n - 2)

        class Other:
            def method(self): ...
    ''')
    assert (function.name, function.first_line, function.last_line) == ("fib", 4, 7)
    assert function.code.startswith("@functools.lru_cache")
    assert function.docstring == "Return the n-th number."
    assert function.decorators == ("functools.lru_cache(maxsize=None)",)
    assert (function.parameters, function.returns_value) == (2, True)
    assert (function.modules, function.foreign) == (("functools",), ())


def test_imports_and_names_from_outside() -> None:
    (function,) = [
        item
        for item in functions("""
            from __future__ import annotations
            import os.path as p
            from urllib import parse
            from .local import helper
            import numpy as np
            try:
                import json
            except ImportError:
                import simplejson as json
            LIMIT = 3

            def f(x: np.ndarray, y=LIMIT):
                import math
                inner = [len(item) for item in x]
                def g():
                    return other(inner)
                return helper(json.dumps(x), parse.quote(y), p.join(g(), math.pi))
        """)
        if item.name == "f"
    ]
    assert function.modules == (".", "math", "numpy", "os.path", "simplejson", "urllib.parse")
    assert function.names == ("LIMIT", "len", "other")
    assert function.foreign == ("LIMIT", "other")


def test_a_builtin_that_the_module_defines_anew_is_foreign() -> None:
    _, function = functions("def sum(xs):\n    return 0\n\ndef f(xs):\n    return sum(xs)\n")
    assert function.foreign == ("sum",)


def test_return_of_an_inner_function_does_not_count() -> None:
    (function,) = functions("def f(x):\n    def g():\n        return 1\n    return None\n")
    assert not function.returns_value


def test_python_2_file_gives_its_valid_functions() -> None:
    source = """
        import re

        def shout(text):
            print "hello"

        def clean(text):
            '''Collapse space.'''
            return re.sub(" +", " ", text)
    """
    shout, clean = functions(source)
    assert (shout.name, shout.is_valid) == ("shout", False)
    assert clean.is_valid
    assert clean.modules == ("re",)
    assert textwrap.dedent(source).splitlines()[clean.first_line - 1] == "def clean(text):"


def test_broken_file_keeps_whole_functions() -> None:
    found = functions("def f(x):\n    return x + 1\n\nclass Broken(:\n    pass\n\ndef g(y):\n    return y\n")
    assert {item.name for item in found if item.is_valid} >= {"f"}


def test_form_feed_does_not_shift_lines() -> None:
    (function,) = functions("x = 1\n\x0c\ndef f(y):\n    return 'a\u2028b'\n")
    assert function.code == "def f(y):\n    return 'a\u2028b'\n"


@given(st.text(max_size=200))
def test_any_text_is_survived(text: str) -> None:
    for function in extract(text):
        assert function.first_line <= function.last_line


@given(
    st.lists(
        st.sampled_from(
            ["def f(x):\n    return x\n", "import os\n", "y = 1\n", "@g\ndef h(a): return g(a)\n"]
        )
    )
)
def test_code_parses_alone_and_lies_at_its_lines(pieces: list[str]) -> None:
    source = "".join(pieces)
    for function in extract(source):
        ast.parse(function.code)
        lines = source.split("\n")[function.first_line - 1 : function.last_line]
        assert function.code == "\n".join(lines) + "\n"

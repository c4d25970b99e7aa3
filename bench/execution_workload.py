"""The workload of ``bench.execution``: HumanEval tasks, the canonical solution and four wrong variants of each."""

import ast
import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from codedpo.core.records import Outcome
from codedpo.sandbox.base import Check, Job, Limits
from codedpo.sandbox.local import LocalSandbox

TASKS, VARIANTS, ASSERTIONS = 20, 4, 20
_LONGEST_LINE = 2000
_FLIPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def variants(source: str) -> Iterator[str]:
    """Yield programs that differ from ``source`` in one operator or one number."""
    tree = ast.parse(source)
    for index, node in enumerate(ast.walk(tree)):
        changed = deepcopy(tree)
        twin: Any = list(ast.walk(changed))[index]
        if isinstance(node, ast.Constant) and type(node.value) is int:
            twin.value = node.value + 1
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in _FLIPS:
            twin.ops[0] = _FLIPS[type(node.ops[0])]()
        elif isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in _FLIPS:
            twin.op = _FLIPS[type(node.op)]()
        else:
            continue
        yield ast.unparse(changed)


def build(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the first ``TASKS`` tasks that have enough short inputs and wrong variants that end.

    Args:
        rows: HumanEval+ problems, which bring enough inputs; expected values are the canonical solution's.
    """
    workload: list[dict[str, Any]] = []
    with LocalSandbox() as sandbox:
        for row in rows:
            inputs = [one for one in row["base_input"] + row["plus_input"] if len(repr(one)) < _LONGEST_LINE]
            if len(inputs) < ASSERTIONS or row["atol"]:
                continue
            inputs = inputs[:ASSERTIONS]
            task = _task(sandbox, row, inputs)
            if task:
                workload.append(task)
            if len(workload) == TASKS:
                break
    return workload


def _task(sandbox: LocalSandbox, row: dict[str, Any], inputs: list[Any]) -> dict[str, Any] | None:
    canonical = row["prompt"] + row["canonical_solution"]
    calls = [f"{row['entry_point']}(*{one!r})" for one in inputs]
    candidates = (canonical, *variants(canonical))
    checks = tuple(Check(call=call) for call in calls)
    (matrix,) = sandbox.run([Job(row["task_id"], candidates, checks, Limits(cpu_seconds=0.5), canonical)])
    wrong = [
        code
        for code, cells in zip(candidates, matrix.cells, strict=True)
        if all(cell.outcome in (Outcome.PASSED, Outcome.FAILED) and cell.cpu_ns < 5e6 for cell in cells)
        and any(cell.outcome is Outcome.FAILED for cell in cells)
    ]
    if len(wrong) < VARIANTS:
        return None
    namespace: dict[str, Any] = {}
    exec(canonical, namespace)  # noqa: S102  (published by hand, as in the floor)
    expected = [namespace[row["entry_point"]](*ast.literal_eval(repr(one))) for one in inputs]
    step = len(wrong) // VARIANTS
    return {
        "name": row["task_id"],
        "entry_point": row["entry_point"],
        "solutions": [canonical, *wrong[::step][:VARIANTS]],
        "calls": calls,
        "values": [repr(value) for value in expected],
        "assertions": [f"assert {call} == {value!r}" for call, value in zip(calls, expected, strict=True)],
        "inputs": repr(inputs),
        "expected": repr(expected),
    }


def save(workload: list[dict[str, Any]], path: Path) -> None:
    """Write the workload for the modes."""
    path.write_text(json.dumps(workload))

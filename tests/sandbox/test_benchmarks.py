"""Gold check: every canonical HumanEval solution passes, as a whole check program and call by call."""

import gzip
import json
from pathlib import Path

from codedpo.core.records import Outcome
from codedpo.sandbox.base import Check, Job, Limits
from codedpo.sandbox.local import LocalSandbox


def test_canonical_humaneval_solutions_pass(data_folder: Path) -> None:
    with gzip.open(data_folder / "humaneval" / "HumanEval.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    wrong = "\n    return None\n"
    jobs = [
        Job(
            row["task_id"],
            (row["prompt"] + row["canonical_solution"], row["prompt"] + wrong),
            (Check(f"{row['test']}\ncheck({row['entry_point']})"),),
            Limits(cpu_seconds=5),
        )
        for row in rows
    ]
    with LocalSandbox() as sandbox:
        matrices = list(sandbox.run(jobs))
    assert [m.job_id for m in matrices if m.cells[0][0].outcome is not Outcome.PASSED] == []
    assert [m.job_id for m in matrices if m.cells[1][0].outcome is Outcome.PASSED] == []
    assert len(matrices) == 164

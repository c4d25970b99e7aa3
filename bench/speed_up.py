"""Does the efficiency evaluation find the known order? ENAMEL's expert references against HumanEval's programs.

    python -m bench.speed_up [--data FOLDER] [--limit 164] [--output FOLDER]

`codedpo eval REFERENCES --against CANONICAL --benchmarks humanevalplus --efficiency`, then the canonical programs
against themselves (with a comment, so that they are timed), where no program may be called faster and the interval of
the speed-up must hold 1. The last line is one JSON object.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from codedpo.core.progress import Voice
from codedpo.core.records import SpeedFigure
from codedpo.evaluation.command import evaluate, settings
from codedpo.evaluation.results import json_of, print_scores

BENCHMARK = "humanevalplus"


def write(path: Path, programs: list[str], *, comment: str = "") -> str:
    """Write programs of all HumanEval problems in order as a file of samples; return its name."""
    rows = (
        {"task_id": f"HumanEval/{number}", "solution": code + comment} for number, code in enumerate(programs)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def compared(subject: str, against: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the evaluation, print its table and return its figures."""
    overrides = [f"resources.data_folder={options.data}"]
    config = settings(overrides, BENCHMARK, options.limit, efficiency=True)
    scores = evaluate(subject, config, Voice(quiet=True), against=against, folder=folder)
    print_scores(scores)
    found = json_of(scores)[BENCHMARK]
    names = tuple(SpeedFigure)
    return {
        "passed": found["passed"],
        "passed_against": found["against"]["passed"],
        **found["efficiency"],
        **{name: value for name, value in found["difference"].items() if name in names},
    }


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("CODEDPO_DATA_DIR", ""), help="folder of the data")
    parser.add_argument("--limit", type=int, default=164, help="only the first so many problems")
    parser.add_argument("--output", default="", help="folder that keeps the files; default: none is kept")
    options = parser.parse_args()
    data = Path(options.data)
    if not (data / "enamel").is_dir():
        raise SystemExit(f"enamel not found in {data}: name the folder by --data.")
    canonical, references = (
        [codes[0] for codes in json.loads((data / "enamel" / f"{name}.json").read_text())]
        for name in ("humaneval-canonical", "enamel-references")
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.output or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        slow = write(folder / "canonical.jsonl", canonical)
        again = write(folder / "again.jsonl", canonical, comment="\n# the same again\n")
        fast = write(folder / "references.jsonl", references)
        results = {
            "references": compared(fast, slow, options, folder),
            "canonical against itself": compared(again, slow, options, folder),
        }
    print(json.dumps(results))


if __name__ == "__main__":
    main()

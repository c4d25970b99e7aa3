"""The process that trains: ``python -m codedpo.training.worker FOLDER``, by itself or several under ``torchrun``.

Training has a process of its own so that its gigabytes and its imports are gone before evaluation starts, and so
that what torch, transformers and TRL print goes to a file. What the stage needs to know comes as JSON lines; of several
processes the first one tells it and writes the files.
"""

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from codedpo.core.errors import CodedpoError
from codedpo.core.progress import Advance
from codedpo.core.records import Pair, Reject, TrainingStep
from codedpo.core.tables import read_rows, write_rows
from codedpo.training import processes

JOB, STEPS, REJECTS, LOG = "job.json", "steps.parquet", "rejects.parquet", "log.txt"


def _end_with_parent() -> None:
    """End this process when the stage's process is gone: its end of our standard input then closes."""

    def wait() -> None:
        while os.read(0, 4096):  # not sys.stdin: its lock would abort the interpreter at its end
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main(folder: Path) -> int:
    """Run the job in ``folder`` and report on the original standard output."""
    with os.fdopen(os.dup(1), "w", buffering=1) as channel, (folder / LOG).open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        _end_with_parent()

        def tell(**event: Any) -> None:
            if processes.is_first():
                channel.write(json.dumps(event) + "\n")

        @contextmanager
        def progress(description: str, total: int, done: int) -> Iterator[Advance]:
            tell(progress=description, total=total, done=done)
            yield lambda count: tell(advance=count)

        try:
            from codedpo.training.job import Job, train

            job = Job.from_json((folder / JOB).read_text(encoding="utf-8"))
            trained = train(job, read_rows([Path(part) for part in job.pairs], Pair), progress)
        except CodedpoError as error:
            tell(error=type(error).__name__, text=str(error))
            return int(error.exit_code)
        if processes.is_first():
            write_rows(folder / STEPS, TrainingStep, trained.steps)
            write_rows(folder / REJECTS, Reject, trained.rejects)
        values = asdict(trained)
        tell(counters=values["counters"], notes=values["notes"])
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

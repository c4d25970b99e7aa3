"""Tasks that a person brings, in place of tasks made from seeds."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from codedpo.core.errors import DataError
from codedpo.core.records import Task
from codedpo.tasks.parse import signature_of


class GivenTask(BaseModel):
    """One line of the file; other fields are left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)

    prompt: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    """The instruction in words, self-contained."""
    signature: str
    """``def name(arguments) -> type:``; a body may follow. Hints with names that need an import are left out."""
    task_id: str = ""
    """Yours, kept as ``Task.source_id``; the run numbers tasks by itself."""
    concepts: list[str] = []


def read_tasks(path: Path) -> list[Task]:
    """Read tasks from JSON lines.

    Raises:
        DataError: the file cannot be read, is empty, a line is no task or repeats the ``task_id`` of another one; the
            sentence names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"tasks.file {path} cannot be read ({error}); name a file of JSON lines.") from error
    tasks = list(_tasks(text, path))
    if not tasks:
        raise DataError(f"tasks.file {path} holds no task; write one JSON object a line.")
    return tasks


def _tasks(text: str, path: Path) -> Iterator[Task]:
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    line_of_id: dict[str, int] = {}
    for index, (number, line) in enumerate(lines):
        try:
            given = GivenTask.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise DataError(
                f"{path}, line {number}: {f'{field}: ' if field else ''}{first['msg']}; a task is a JSON object "
                "with prompt and signature."
            ) from error
        if given.task_id and line_of_id.setdefault(given.task_id, number) != number:
            raise DataError(
                f"{path}, line {number}: task_id {given.task_id!r} is that of line {line_of_id[given.task_id]} too; "
                "give every task its own, or none."
            )
        signature = signature_of(given.signature)
        if signature is None:
            raise DataError(
                f"{path}, line {number}: signature {given.signature[:80]!r} is not the first line of a function; "
                "write def name(arguments) -> type:"
            )
        function = ast.parse(f"{signature}\n    pass").body[0]
        assert isinstance(function, ast.FunctionDef)
        yield Task(
            task_id=f"t{index:06d}",
            seed_id="",
            concepts=given.concepts,
            prompt=given.prompt,
            signature=signature,
            entry_point=function.name,
            source_id=given.task_id,
        )

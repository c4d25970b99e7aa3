"""Is this machine able to run? And what can be chosen? (``codedpo check``, ``codedpo list``)"""

import functools
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from codedpo.core.cache import cache_folder
from codedpo.core.config import Config
from codedpo.core.config_files import config_of, load_config, variants_of
from codedpo.core.errors import CodedpoError
from codedpo.core.progress import Voice
from codedpo.llm.pinned import PINNED
from codedpo.services import GENERATORS, SANDBOXES, Services
from codedpo.stages import stages_until

DISK_GB = 8
"""Weights in three forms (pinned, engine, Hugging Face) of the embedded model, and a run."""

WIDE = 1000
"""Columns of a table that is not shown on a terminal, so that no row is broken."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was tried."""

    name: str
    ok: bool
    found: str
    """What was found, or what is wrong and how to mend it."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def _attempt(name: str, look: Callable[[], str]) -> CheckResult:
    try:
        return CheckResult(name, True, look())
    except CodedpoError as error:
        return CheckResult(name, False, str(error))


def checks_of(
    path: Path | None = None, overrides: Sequence[str] = (), until: str = "report"
) -> list[CheckResult]:
    """Try all that a run looks at before its first stage, and whether model, data and disk are there.

    Args:
        path: The config; without one, the embedded default.
        overrides: ``section.key=value``, as ``codedpo run`` takes them.
        until: The last stage that is to be run.

    Raises:
        ConfigError: the config itself cannot be used, or there is no such stage.
    """
    from codedpo.pipeline import stage_checks

    config = load_config(path, list(overrides)) if path else config_of({"name": "check"}, list(overrides))
    stages = stages_until(until, config)
    needed = {service for stage in stages for service in stage.services}
    services = Services(config, config.run_folder, Voice())
    checks = [_attempt("settings", lambda: _settings(config, until))]
    try:
        if "sandbox" in needed:
            checks.append(_attempt("sandbox", lambda: _sandbox(services)))
        if "model" in needed:
            checks.append(_attempt("model", lambda: f"{config.model.kind}: {services.check_model()}"))
        checks += [_benchmark(services, name) for name in config.kept_out]
        for name, check in stage_checks(config, until).items():
            if name != "executions":  # the sandbox was tried above
                checks.append(_attempt(name, functools.partial(check, services)))
    finally:
        services.close()
    checks += [_variant(name, config, variant, until) for name, variant in variants_of(config).items()]
    return [*(check for check in checks if check.found), _disk(config, needed)]


def _settings(config: Config, until: str) -> str:
    from codedpo.settings import check_settings

    check_settings(config, until)
    return "no stage asks for what another one does not give"


def _variant(name: str, config: Config, variant: Config, until: str) -> CheckResult:
    from codedpo.pipeline import check_variant

    def look() -> str:
        check_variant(name, config, variant, until)
        return "its stages find what they need"

    return _attempt(f"variant {name}", look)


def _sandbox(services: Services) -> str:
    from codedpo.sandbox.conformance import check_backend

    isolation = services.sandbox.probe()
    passed = check_backend(services.sandbox)
    problems = "".join(f"; missing: {problem}" for problem in isolation.problems)
    layers = ", ".join(isolation.layers)
    return f"isolation level {isolation.level} ({layers}), {passed} conformance checks hold{problems}"


def _benchmark(services: Services, name: str) -> CheckResult:
    return _attempt(f"data: {name}", lambda: f"{len(services.problems(name))} problems")


def _disk(config: Config, needed: Collection[str]) -> CheckResult:
    """Look for the room that the embedded model takes, where a stage needs it; of other models no size is known."""
    asked = config.model.name if config.model.kind in ("local", "transformers") else ""
    names = {"model": asked, "weights": config.training.model or config.model.name}
    is_embedded = any(names.get(service) in PINNED for service in needed)
    folder = cache_folder()
    free = shutil.disk_usage(folder).free / 1e9
    found = f"{free:.0f} GB free for {folder}"
    if not is_embedded or free >= DISK_GB:
        return CheckResult("disk", True, found)
    remedy = "free some or set CODEDPO_CACHE_DIR to another disk"
    return CheckResult("disk", False, f"{found}; the embedded model needs {DISK_GB}: {remedy}")


def print_checks(checks: list[CheckResult]) -> None:
    """Print check results for a person."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    for _ in range(2):
        table.add_column(overflow="fold")
    for check in checks:
        sign = Text("ok", "green") if check.ok else Text("no", "red")
        table.add_row(sign, Text(check.name), Text(check.found))
    _console().print(table)


def _console() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:  # a pipe has no width, and programs read lines
        console.width = WIDE
    return console


def extension_points() -> dict[str, dict[str, str]]:
    """Return every extension point as ``kind -> module:name``."""
    tables = {"generator": GENERATORS, "sandbox": SANDBOXES}
    for what, place in (
        ("ranking strategy", "codedpo.rankings.registry:STRATEGIES"),
        ("benchmark", "codedpo.benchmarks:BENCHMARKS"),
    ):
        module, _, name = place.partition(":")
        tables[what] = dict(getattr(import_module(module), name))
    return tables


def print_extension_points(points: dict[str, dict[str, str]]) -> None:
    """Print the extension points for a person."""
    table = Table(box=None, pad_edge=False)
    for column in ("extension point", "kind"):
        table.add_column(column, no_wrap=True)
    table.add_column("implementation", overflow="fold")
    for what, kinds in points.items():
        for position, (kind, target) in enumerate(kinds.items()):
            table.add_row(what if position == 0 else "", Text(kind), Text(target, "dim"))
        table.add_row("", "plugin", Text('yours: path "package.module:name"', "dim"))
    _console().print(table)

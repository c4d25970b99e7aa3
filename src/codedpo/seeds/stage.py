"""Stage 1: source files -> functions -> filters -> near-duplicates -> decontamination -> a sample of seeds."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from codedpo.benchmarks.decontamination import Decontaminator
from codedpo.context import StageContext
from codedpo.core.config import SeedsConfig, SourceConfig
from codedpo.core.errors import ConfigError
from codedpo.core.near_duplicates import near_duplicates
from codedpo.core.records import Reject, Seed
from codedpo.core.rng import stream
from codedpo.seeds.filters import keep, path_reason
from codedpo.seeds.functions import Function, extract
from codedpo.seeds.licenses import is_allowed
from codedpo.seeds.sources import SourceFile, read


@dataclass(frozen=True, slots=True)
class Candidate:
    """A function that may become a seed, and where it comes from."""

    source: int
    """Index of its source in the config."""
    file: SourceFile
    """Without its text."""
    function: Function

    @property
    def row_id(self) -> str:
        """Name it in rejects: ``boltons==26.2.0:boltons/strutils.py:120:slugify``."""
        function = self.function
        return f"{self.file.repo_name}:{self.file.path}:{function.first_line}:{function.name}"


def run(context: StageContext) -> None:
    """Write the seeds; every file and function that is not one leaves a reject. Given tasks need none.

    Raises:
        ConfigError: there is no source, or no function of them is left.
    """
    settings, benchmarks = context.config.seeds, context.config.kept_out
    if not settings.sources:
        if not context.config.tasks.file:
            raise ConfigError(
                "seeds.sources is empty; name at least one package, folder or table there, or tasks.file."
            )
        none: list[Seed] = []
        for empty in context.parts(none, whole=True):
            empty.write({Seed: none})
        return
    for part in context.parts(settings.sources, whole=True):
        rejects: list[Reject] = []
        found: list[Candidate] = []
        with context.progress("seeds: sources", len(part.items)) as advance:
            for index, source in enumerate(part.items):
                for item in candidates(index, source, settings):
                    (found if isinstance(item, Candidate) else rejects).append(item)  # type: ignore[arg-type]
                advance(1)
        part.count("candidates", len(found))
        unique = without_repeats(found, settings.near_duplicate_threshold, rejects)
        problems = [problem for name in benchmarks for problem in context.services.problems(name)]
        part.count("benchmark_problems", len(problems))
        clean = without_benchmarks(unique, Decontaminator(problems), rejects)
        chosen = sample(clean, settings.count, context.config.seed, rejects)
        if not chosen:
            raise ConfigError("no function of seeds.sources passed the filters; name other sources.")
        part.write({Seed: [seed_of(item, number) for number, item in enumerate(chosen)]}, rejects)


def candidates(index: int, source: SourceConfig, settings: SeedsConfig) -> Iterator[Candidate | Reject]:
    """Yield the functions of one source that pass the filters, and a reject for each file or function else."""
    for file in read(source):
        if isinstance(file, Reject):
            yield file
            continue
        file_id = f"{file.repo_name}:{file.path}"
        reason = path_reason(file.path)
        if reason is None and not is_allowed(file.license, settings.licenses):
            reason = "license"
        if reason:
            yield Reject(file_id, reason, license_text(file.license) if reason == "license" else "")
            continue
        origin = replace(
            file, text=""
        )  # functions are held until the end, the files that they are of need not be
        for function in extract(file.text):
            candidate = Candidate(index, origin, function)
            reason = keep(function, settings)
            yield Reject(candidate.row_id, reason, _detail(function, reason)) if reason else candidate


def _detail(function: Function, reason: str) -> str:
    """Show what a person needs to see the cause."""
    if reason == "not_standard_library":
        return " ".join((*function.foreign, *function.modules))
    if reason in ("too_short", "too_long"):
        return f"{function.last_line - function.first_line + 1} lines"
    return ""


def license_text(license_name: str | Sequence[str]) -> str:
    """Write a licence, or the several of a repository, as one expression."""
    return license_name if isinstance(license_name, str) else " and ".join(license_name)


def without_repeats(found: Sequence[Candidate], threshold: float, rejects: list[Reject]) -> list[Candidate]:
    """Drop each function that repeats an earlier one."""
    kept: list[Candidate] = []
    originals = near_duplicates([item.function.code for item in found], threshold)
    for item, original in zip(found, originals, strict=True):
        if original is None:
            kept.append(item)
        else:
            rejects.append(Reject(item.row_id, "near_duplicate", found[original].row_id))
    return kept


def without_benchmarks(
    found: Iterable[Candidate], decontaminator: Decontaminator, rejects: list[Reject]
) -> list[Candidate]:
    """Drop each function that repeats a problem of a configured benchmark."""
    kept: list[Candidate] = []
    for item in found:
        function = item.function
        match = decontaminator.match(function.code, function.name, function.code)
        if match is None:
            kept.append(item)
        else:
            rejects.append(Reject(item.row_id, match.reason, f"{match.problem}: {match.evidence}"))
    return kept


def sample(found: Sequence[Candidate], count: int, seed: int, rejects: list[Reject]) -> list[Candidate]:
    """Draw ``count`` functions, evenly over the sources: one of each in turn, at random within a source.

    The result is in the order of ``found``. A source that runs out leaves its turns to the others.
    """
    queues: dict[int, list[int]] = {}
    for position, item in enumerate(found):
        queues.setdefault(item.source, []).append(position)
    shuffled = [
        [positions[number] for number in stream(seed, "seeds", source).permutation(len(positions))]
        for source, positions in sorted(queues.items())
    ]
    turns = (
        queue[turn]
        for turn in range(max(map(len, shuffled), default=0))
        for queue in shuffled
        if turn < len(queue)
    )
    drawn = {position for position, _ in zip(turns, range(count), strict=False)}
    rejects.extend(
        Reject(item.row_id, "not_drawn", "") for position, item in enumerate(found) if position not in drawn
    )
    return [found[position] for position in sorted(drawn)]


def seed_of(item: Candidate, number: int) -> Seed:
    """Make the row."""
    function = item.function
    return Seed(
        seed_id=f"s{number:06d}",
        name=function.name,
        code=function.code,
        repo_name=item.file.repo_name,
        path=item.file.path,
        license=license_text(item.file.license),
        first_line=function.first_line,
        last_line=function.last_line,
        digest=hashlib.sha256(function.code.encode()).hexdigest(),
    )

"""The stage on real code: modules of the standard library of the Python that runs the tests."""

import shutil
import sysconfig
from collections import Counter
from pathlib import Path

import pytest

from codedpo.context import StageContext
from codedpo.core.config import Config, EvaluationConfig, ResourcesConfig, SeedsConfig, SourceConfig
from codedpo.core.errors import ConfigError
from codedpo.core.progress import Voice
from codedpo.core.records import Reject, Seed
from codedpo.core.stage import StageFolder
from codedpo.core.tables import read_rows
from codedpo.seeds.stage import Candidate, candidates, run
from codedpo.services import Services

MODULES = (
    "statistics",
    "textwrap",
    "heapq",
    "bisect",
    "colorsys",
    "fnmatch",
    "posixpath",
    "random",
    "keyword",
)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("library")
    for name in MODULES:
        shutil.copy(Path(sysconfig.get_path("stdlib")) / f"{name}.py", folder)
    return folder


def seeds_of(path, sources, data_folder, **settings):
    seed, benchmarks = settings.pop("seed", 0), settings.pop("benchmarks", ("humaneval",))
    decontamination = settings.pop("decontamination", ())
    config = Config(
        name="test",
        seed=seed,
        decontamination=decontamination,
        seeds=SeedsConfig(sources=sources, **settings),
        evaluation=EvaluationConfig(benchmarks=benchmarks),
        resources=ResourcesConfig(data_folder=str(data_folder)),
    )
    folder = StageFolder(path).open({"stage": "seeds"})
    voice = Voice(quiet=True)
    run(StageContext("seeds", config, folder, {}, {}, Services(config, path, voice), voice))
    return read_rows(folder.parts_of(Seed), Seed), read_rows(folder.parts_of(Reject), Reject)


@pytest.fixture(scope="module")
def source(library):
    return SourceConfig(kind="folder", name="library", path=str(library), license="PSF-2.0")


def test_seeds_are_whole_functions_with_their_origin(tmp_path, library, source, data_folder):
    seeds, rejects = seeds_of(tmp_path / "a", (source,), data_folder, count=1000)
    assert {"indent", "shorten"} - {seed.name for seed in seeds}  # they need the module's TextWrapper
    assert {"bisect_left", "insort_left"} & {seed.name for seed in seeds} == {"bisect_left"}
    for seed in seeds:
        lines = (library / seed.path).read_text().split("\n")
        assert seed.code == "\n".join(lines[seed.first_line - 1 : seed.last_line]) + "\n"
        assert (seed.license, seed.repo_name) == ("psf-2.0", "library")
    reasons = Counter(reject.reason for reject in rejects)
    assert {"no_docstring", "no_return", "not_standard_library"} <= reasons.keys()
    assert [seed.seed_id for seed in seeds] == [f"s{number:06d}" for number in range(len(seeds))]


def test_functions_do_not_hold_the_files_that_they_are_of(source):
    found = [one for one in candidates(0, source, SeedsConfig()) if isinstance(one, Candidate)]
    assert {one.file.text for one in found} == {""}


def test_copies_are_near_duplicates_of_the_first(tmp_path, source, data_folder):
    once, _ = seeds_of(tmp_path / "a", (source,), data_folder)
    twice, rejects = seeds_of(tmp_path / "b", (source, source), data_folder)
    assert [seed.digest for seed in twice] == [seed.digest for seed in once]
    assert sum(reject.reason == "near_duplicate" for reject in rejects) >= len(once)


def test_a_sample_is_seeded_and_even_over_sources(tmp_path, library, source, data_folder):
    other = tmp_path / "other"
    other.mkdir()
    shutil.move(shutil.copy(library / "bisect.py", other), other / "search.py")
    rest = SourceConfig(kind="folder", name="other", path=str(other), license="mit")
    draws = [
        seeds_of(tmp_path / str(number), (rest, source), data_folder, count=4, seed=seed)
        for number, seed in enumerate((0, 0, 1))
    ]
    assert draws[0] == draws[1]
    assert Counter(seed.repo_name for seed in draws[0][0]) == {"other": 2, "library": 2}
    assert draws[0][0] != draws[2][0]
    assert any(reject.reason == "not_drawn" for reject in draws[0][1])


def test_a_licence_off_the_list_drops_its_files(tmp_path, library, data_folder):
    source = SourceConfig(kind="folder", path=str(library), license="gpl-3.0")
    with pytest.raises(ConfigError, match="no function"):
        seeds_of(tmp_path / "a", (source,), data_folder)
    seeds, _ = seeds_of(tmp_path / "b", (source,), data_folder, licenses=("gpl-3.0",))
    assert {seed.license for seed in seeds} == {"gpl-3.0"}


def test_limits_of_lines_are_options(tmp_path, source, data_folder):
    everything, _ = seeds_of(tmp_path / "a", (source,), data_folder)
    lengths = {seed.last_line - seed.first_line + 1 for seed in everything}
    assert min(lengths) < 12 < max(lengths)
    long, dropped = seeds_of(tmp_path / "b", (source,), data_folder, least_lines=12)
    assert {reject.reason for reject in dropped} >= {"too_short"}
    assert min(seed.last_line - seed.first_line + 1 for seed in long) >= 12
    short, dropped = seeds_of(tmp_path / "c", (source,), data_folder, most_lines=12)
    assert {reject.reason for reject in dropped} >= {"too_long"}
    assert max(seed.last_line - seed.first_line + 1 for seed in short) <= 12


def test_the_threshold_of_near_duplicates_counts(tmp_path, source, data_folder):
    pairs = []
    for threshold in (0.3, 1.0):
        seeds, rejects = seeds_of(
            tmp_path / str(threshold), (source,), data_folder, near_duplicate_threshold=threshold
        )
        pairs.append(({seed.name for seed in seeds}, sum(row.reason == "near_duplicate" for row in rejects)))
    (few, dropped), (many, kept_all) = pairs
    assert {"bisect_left", "bisect_right"} <= many
    assert "bisect_left" not in few  # it repeats bisect_right with one comparison turned
    assert dropped > kept_all == 0


def test_a_benchmark_solution_is_dropped(tmp_path, library, source, data_folder):
    folder = tmp_path / "leak"
    folder.mkdir()
    (folder / "leak.py").write_text(
        'def shout(text: str) -> str:\n    """Change the case of every letter.\n\n    Letters only.\n    """\n'
        "    return text.swapcase()\n"
    )
    leak = SourceConfig(kind="folder", name="leak", path=str(folder), license="mit")
    for options in ({}, {"benchmarks": (), "decontamination": ("humaneval",)}):
        _, rejects = seeds_of(tmp_path / f"a{len(options)}", (leak, source), data_folder, **options)
        (reject,) = [item for item in rejects if item.reason == "same_code"]
        assert reject.row_id == "leak:leak.py:1:shout"
        assert reject.detail.startswith("humaneval HumanEval/27")
    seeds, _ = seeds_of(tmp_path / "b", (leak, source), data_folder, benchmarks=())
    assert "shout" in {seed.name for seed in seeds}


def test_no_source_is_refused(tmp_path, data_folder):
    with pytest.raises(ConfigError, match=r"seeds\.sources is empty"):
        seeds_of(tmp_path / "a", (), data_folder)

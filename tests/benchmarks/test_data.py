from pathlib import Path

import pytest

from codedpo.core.config import Config, EvaluationConfig, ResourcesConfig
from codedpo.core.errors import DataError
from codedpo.core.progress import Voice
from codedpo.services import Services


def test_the_data_folder_of_the_config_is_looked_at(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CODEDPO_DATA_DIR", raising=False)
    monkeypatch.setenv("CODEDPO_CACHE_DIR", str(tmp_path / "cache"))

    def problems(folder: str) -> int:
        config = Config(
            name="test",
            evaluation=EvaluationConfig(benchmarks=("mbppplus",)),
            resources=ResourcesConfig(data_folder=folder),
        )
        services = Services(config, tmp_path, Voice(quiet=True))
        return sum(len(services.problems(name)) for name in config.evaluation.benchmarks)

    with pytest.raises(DataError, match=r"get it from .* below the folder that resources\.data_folder names"):
        problems("")
    assert problems(str(data_folder)) == 378

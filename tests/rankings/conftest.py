"""A run up to rankings on answers of the embedded model that were recorded."""

from pathlib import Path

import pytest

from codedpo import pipeline
from codedpo.core.config_files import load_config
from codedpo.core.progress import Voice

CHAIN = Path(__file__).resolve().parents[1] / "e2e" / "chain.yaml"


@pytest.fixture(scope="session")
def run(tmp_path_factory, data_folder):
    config = load_config(CHAIN, [f"runs_folder={tmp_path_factory.mktemp('runs')}", *recorded()])
    pipeline.run(config, Voice(quiet=True), until="rankings")
    return config.run_folder


def recorded():
    """Return the overrides that make the chain's paths absolute."""
    return [
        f"model.path={CHAIN.parent / 'answers.jsonl.gz'}",
        f"seeds.sources=[{{kind: rows, path: {CHAIN.parent / 'seeds.jsonl'}}}]",
    ]

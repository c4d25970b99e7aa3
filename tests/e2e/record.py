"""Record the answers that ``tests/e2e`` replays: ``python -m tests.e2e.record`` with the embedded model."""

import tempfile
from pathlib import Path

from codedpo import pipeline
from codedpo.core.config_files import load_config
from codedpo.core.progress import Voice
from codedpo.llm.cache import export_recording

FOLDER = Path(__file__).resolve().parent


def main() -> None:
    """Run the chain's config on the real model up to candidates and keep what it answered."""
    with tempfile.TemporaryDirectory() as temporary:
        overrides = [f"runs_folder={temporary}", "model={kind: local}"]
        config = load_config(FOLDER / "chain.yaml", overrides)
        pipeline.run(config, Voice(), until="candidates")
        export_recording(config.run_folder / "requests.sqlite", FOLDER / "answers.jsonl.gz")


if __name__ == "__main__":
    main()

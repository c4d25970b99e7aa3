"""The whole chain, seeds to report, with each kind of model live: one small run a kind, on the same seeds.

``python -m bench.kinds [--kinds local,folder,transformers,openai]``: ``local`` is the embedded GGUF file in the
local engine, ``folder`` the same weights as a Hugging Face folder in the local engine, ``transformers`` that folder
in transformers, ``openai`` a llama.cpp server on this machine behind its URL. Sampling differs between engines, so
rows differ too; what has to hold is that every kind goes through all nine stages. The last line is one JSON object.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from bench.llama_server import LlamaServer
from codedpo.core.config import ModelConfig
from codedpo.llm.weights import hf_folder, resolve
from codedpo.stages import STAGE_NAMES

EMBEDDED = ModelConfig().name
ROOT = Path(__file__).resolve().parents[1]
SMALL = (
    "seeds.count=8",
    "candidates.solutions=6",
    "candidates.tests=8",
    "training.most_pairs=4",
    "evaluation.limit=8",
    f"training.model={EMBEDDED}",
)
KINDS = ("local", "folder", "transformers", "openai")


def model_of(kind: str) -> tuple[str, AbstractContextManager[Any]]:
    """Return the config of a kind's model, and what has to live while it is asked."""
    model = resolve(EMBEDDED)
    if kind == "openai":
        server = LlamaServer(model, slots=8, context=4096)
        return f"{{kind: openai, name: '', url: {server.url}}}", server
    if kind == "local":
        return f"{{kind: local, name: {EMBEDDED}}}", nullcontext()
    engine = "local" if kind == "folder" else kind
    return f"{{kind: {engine}, name: {hf_folder(model)}}}", nullcontext()


def measure(kind: str, folder: Path) -> dict[str, Any]:
    """Run the chain with one kind and return what each table holds."""
    model, alive = model_of(kind)
    command = [sys.executable, "-m", "codedpo", "run", str(ROOT / "configs" / "quickstart.yaml")]
    command += [f"runs_folder={folder}", f"name={kind}", f"model={model}", *SMALL, "--json"]
    start = time.monotonic()
    with alive:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = round(time.monotonic() - start, 1)
    if done.returncode:
        return {
            "exit_code": done.returncode,
            "said": done.stderr.strip().splitlines()[-1:],
            "wall_s": seconds,
        }
    summary = json.loads(done.stdout)
    rows = {name: count for stage in summary["stages"] for name, count in stage["rows"].items()}
    finished = sum(stage["finished"] for stage in summary["stages"])
    return {"exit_code": 0, "stages": finished, "wall_s": seconds, "verdict": summary["verdict"], **rows}


def main() -> None:
    """Run the kinds one after the other."""
    parser = argparse.ArgumentParser(prog="bench.kinds", description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", default=",".join(KINDS))
    result: dict[str, Any] = {}
    columns = ("stages", "tasks", "solutions", "tests", "executions", "pairs", "wall_s")
    print("kind        ", *(f"{name:>10}" for name in columns))
    with tempfile.TemporaryDirectory() as temporary:
        for kind in parser.parse_args().kinds.split(","):
            result[kind] = row = measure(kind, Path(temporary))
            print(f"{kind:12}", *(f"{row.get(name, '-'):>10}" for name in columns), flush=True)
            if row["exit_code"]:
                print(f"  exit code {row['exit_code']}: {row['said']}")
    print(json.dumps(result))
    if any(row.get("stages") != len(STAGE_NAMES) for row in result.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()

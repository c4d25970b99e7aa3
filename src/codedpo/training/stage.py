"""Stage 7: train the model on the pairs and leave merged weights, an adapter and the curves of the training."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from codedpo.context import StageContext
from codedpo.core import errors
from codedpo.core.errors import BackendError, CodedpoError
from codedpo.core.records import Pair, Reject, TrainingStep
from codedpo.core.tables import read_rows, write_atomically
from codedpo.llm.device import choose_device
from codedpo.llm.gguf_export import export_folder
from codedpo.llm.weights import check_export, hf_folder
from codedpo.services import Services
from codedpo.training.loading import check_architecture, load_tokenizer
from codedpo.training.reference import REFERENCE
from codedpo.training.trainers import check_tracker
from codedpo.training.worker import JOB, LOG, REJECTS, STEPS

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}


PACKAGES = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")


def check(services: Services) -> str:
    """See, before any work, that training finds its packages, device and tracker, and weights that it can train.

    Returns:
        Which packages and weights these are.

    Raises:
        BackendError: a package or the GPU is missing, or the weights cannot be fetched.
        ConfigError: a tracker that cannot be used; adapters that have no place in the weights.
        CodedpoError: the weights are unknown, damaged, of a kind that cannot be trained or cannot become
            ``model.gguf``, or the template is none.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise BackendError(
            f"training needs {', '.join(missing)}: pip install 'codedpo[train]', or stop before it with --until pairs."
        )
    training = services.config.training
    if services.config.resources.device == "cuda":
        choose_device("cuda")
    if training.four_bit:
        _check_four_bit(services.config.resources.device)
    if training.tracker != "none":
        check_tracker(training.tracker)
    weights, template = services.weights, services.template
    if training.gguf:
        check_export(weights)
    check_architecture(weights, training.lora)
    if weights.folder and not template.eos:  # the tokenizer's class may know one that its files do not name
        load_tokenizer(str(weights.folder), "")
    return f"{', '.join(PACKAGES)} are installed; {weights.name} is {weights.origin}"


def _check_four_bit(device: str) -> None:
    """Make sure that weights can be held in 4 bits here.

    Raises:
        BackendError: there is no GPU to train on, or the package bitsandbytes is missing.
    """
    if choose_device(device) == "cpu":
        raise BackendError(
            "training.four_bit needs a GPU, and training would run on the CPU here; set it to false."
        )
    if find_spec("bitsandbytes") is None:
        raise BackendError(
            "training.four_bit needs bitsandbytes: pip install 'codedpo[gpu]', or set it to false."
        )


def _write_job(context: StageContext, folder: Path) -> None:
    from codedpo.training.job import Job

    weights = context.services.weights
    base = hf_folder(weights)
    job = Job(
        str(base.resolve()),
        weights.name,
        context.services.template.source,
        str(folder.resolve()),
        context.config.training,
        context.config.seed if context.config.training.seed is None else context.config.training.seed,
        context.config.resources.device,
        weights.digest,
        tuple(str(run / folder.name / REFERENCE) for run in context.services.base_runs()),
        tuple(str(path.resolve()) for path in context.inputs[Pair]),
    )
    write_atomically(folder / JOB, job.to_json().encode())


def _events(folder: Path, processes: int) -> Iterator[dict[str, Any]]:
    """Run the training process, or several under ``torchrun``, and yield what the first one tells.

    Raises:
        BackendError: it ended without a result.
    """
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [*(launcher if processes > 1 else []), "-m", "codedpo.training.worker", str(folder)]
    pipe = subprocess.PIPE
    # The trainer's own place for TensorBoard is the folder of checkpoints, which does not outlive the training.
    environment = {"TENSORBOARD_LOGGING_DIR": str(folder / "tensorboard")} | os.environ | ENVIRONMENT
    with (
        (folder / LOG).open("a") as log,
        subprocess.Popen(
            [sys.executable, *command], stdin=pipe, stdout=pipe, stderr=log, env=environment
        ) as process,
    ):
        assert process.stdout
        for line in process.stdout:
            yield json.loads(line)
        code = process.wait()
    if code == -9:
        raise BackendError(
            "training was killed, most likely because memory ran out; lower training.batch_size or training.max_length."
        )
    if code != 0:
        raise BackendError(f"training ended with exit code {code}; the end of {folder / LOG} says why.")


def _follow(context: StageContext, folder: Path) -> dict[str, Any]:
    """Show the progress of the training process and return its closing words."""
    result: dict[str, Any] = {}
    with ExitStack() as stack:
        advance = None
        for event in _events(folder, context.config.resources.training_processes):
            if "progress" in event:
                stack.pop_all().close()
                bar = context.voice.progress(event["progress"], event["total"], event["done"])
                advance = stack.enter_context(bar)
            elif "advance" in event:
                assert advance
                advance(event["advance"])
            elif "error" in event:
                kind: type[CodedpoError] = getattr(errors, event["error"])
                raise kind(event["text"])
            else:
                result = event
    return result


def run(context: StageContext) -> None:
    """Train on all pairs at once, in a child process.

    Raises:
        DataError: no pair is fit for training.
        BackendError: the training packages are missing, or training broke off.
    """
    folder = context.folder.path
    for part in context.parts([0], whole=True):
        _write_job(context, folder)
        result = _follow(context, folder)
        if context.config.training.gguf:
            export_folder(folder / "model", folder / "model.gguf.partial")
            (folder / "model.gguf.partial").rename(folder / "model.gguf")
        for note in result["notes"]:
            context.voice.say(f"  {note}")
        for name, value in result["counters"].items():
            part.count(name, value)
        steps = read_rows([folder / STEPS], TrainingStep)
        part.write({TrainingStep: steps}, read_rows([folder / REJECTS], Reject))
        for name in (JOB, STEPS, REJECTS):
            (folder / name).unlink()
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)

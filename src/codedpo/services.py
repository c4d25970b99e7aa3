"""The parts that stages share and that the config chooses: model, sandbox, benchmarks. Built on first use."""

import json
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from codedpo.benchmarks import load_benchmark
from codedpo.benchmarks.base import Benchmark, Problem, Published, WritesFiles
from codedpo.benchmarks.data import find
from codedpo.core.config import Config
from codedpo.core.errors import BackendError, ConfigError
from codedpo.core.progress import Voice
from codedpo.core.registry import load
from codedpo.llm.base import Generator, Message, Request, Sampling
from codedpo.llm.cache import CachedGenerator
from codedpo.llm.pinned import PINNED
from codedpo.llm.recorded import replies_by_model
from codedpo.llm.template import ChatTemplate, template_of
from codedpo.llm.weights import ResolvedModel, resolve
from codedpo.sandbox.base import SAFE_LEVEL, Sandbox
from codedpo.sandbox.cache import CachedSandbox

GENERATORS = {
    "local": "codedpo.llm.local:OpenVinoGenerator",
    "transformers": "codedpo.llm.transformers:TransformersGenerator",
    "openai": "codedpo.llm.openai:OpenAIGenerator",
    "recorded": "codedpo.llm.recorded:RecordedGenerator",
}
SANDBOXES = {
    "local": "codedpo.sandbox.local:LocalSandbox",
    "ray": "codedpo.sandbox.ray:RaySandbox",
}


class Services:
    """Everything is built from the config by a ``from_config(section, resources)`` that every kind offers."""

    def __init__(self, config: Config, run_folder: Path, voice: Voice) -> None:
        self.config = config
        self.run_folder = run_folder
        self.voice = voice
        self._sandboxes: dict[tuple[Any, ...], Sandbox] = {}
        self._written_by = f"{config.model.kind} {config.model.label}".strip()
        self.origins = {"generator": self._written_by}
        """Which model writes and which weights are trained and, once they are resolved, where they came from."""
        self.noted_origins = dict(self.origins)
        """Those of them that ``run.json`` has from this command."""

    @cached_property
    def generator(self) -> CachedGenerator:
        """The model that writes tasks, solutions and tests, behind the run's request cache.

        Raises:
            ConfigError: it cannot be what the config names, or the recording has no reply of it.
        """
        self.check_recording()
        return self.cached(self._engine)

    @cached_property
    def _engine(self) -> Generator:
        """The model without the cache."""
        model = self.config.model
        kind = load(GENERATORS, model.kind, model.path, what="generator")
        if model.options and model.kind in ("local", "transformers"):
            raise ConfigError(f"model.options are not for the kind {model.kind}; leave them out.")
        inner: Generator = kind.from_config(model, self.config.resources)
        if origin := getattr(inner, "origin", ""):
            self.origins["generator"] = f"{self._written_by}: {origin}"
        return inner

    def check_recording(self) -> None:
        """See that the recording has replies of the model: where it has none, hours go by before that is noticed.

        Raises:
            ConfigError: it has none.
        """
        if not self.config.model.recording:
            return
        identity, recorded = self._engine.identity, self._recorded()
        if identity in recorded:
            return
        remedy = "run what is recorded (weights, engine and template)"
        if pinned := PINNED.get(self.config.model.name):
            copy = f"{identity.partition('/')[0]}/{pinned.sha256[:16]}"
            if not identity.startswith(copy) and any(other.startswith(copy) for other in recorded):
                remedy = f"set HF_HUB_OFFLINE=1 to take what is recorded, {pinned.note} from PyPI"
        raise ConfigError(
            f"model.recording {self.config.model.recording} holds replies of {', '.join(recorded) or 'no model'}, and "
            f"none of the model of this run, {identity} ({self.origins['generator']}); {remedy}, or have every "
            "reply generated with model.recording ''."
        )

    def _recorded(self) -> Counter[str]:
        """Count the replies that the recording, if there is one, has of each model."""
        path = self.config.model.recording
        return replies_by_model(Path(path)) if path else Counter()

    def cached(self, inner: Generator) -> CachedGenerator:
        """Put a generator behind the run's request cache, those of the runs that it is based on, and a recording."""
        name, recording = "requests.sqlite", self.config.model.recording
        bases = [folder / name for folder in self.base_runs()]
        return CachedGenerator(inner, self.run_folder / name, bases, Path(recording) if recording else None)

    def base_runs(self) -> Iterator[Path]:
        """Yield the run that this one is based on, the one that that one is based on, and so on."""
        seen: set[Path] = set()
        base = self.config.base_run
        while base and (folder := Path(base)).resolve() not in seen:
            yield folder
            seen.add(folder.resolve())
            resolved = folder / "config.resolved.json"
            base = json.loads(resolved.read_text())["base_run"] if resolved.exists() else ""

    def reach_model(self) -> None:
        """Make sure that the model is there, without asking it for a reply.

        Raises:
            BackendError: its endpoint is gone, refuses the key or does not serve it, or its files cannot be had.
        """
        check = getattr(self.generator.inner, "check", None)
        if check is not None:
            check()

    def check_model(self) -> str:
        """Reach the model as a run does, ask it for one short reply, past the cache, and say what answered.

        Raises:
            BackendError: the model or endpoint does not answer.
        """
        self.reach_model()
        if self.config.model.kind == "recorded":
            return self.generator.identity
        request = Request("check", (Message("user", "Write a Python function."),), Sampling(max_tokens=8))
        (reply,) = self.generator.inner.generate([request])
        if reply.finish_reason == "refused":
            raise BackendError(f"the model refuses to answer ({reply.text}); check its name and its server.")
        found = f"{self.config.model.label} answers ({reply.completion_tokens} tokens)"
        recorded = self._recorded()[self.generator.identity]
        return f"{found}; {recorded:,} replies of it are recorded" if recorded else found

    def benchmark(self, name: str) -> Benchmark:
        """Return a benchmark whose data is at hand; what has to be fetched for it is said first.

        Raises:
            ConfigError: there is no such benchmark.
            DataError: its data is nowhere and cannot be fetched, or has another content than the published one.
        """
        folder = self.config.resources.data_folder
        benchmark = load_benchmark(name, folder)
        for file in benchmark.data_files if isinstance(benchmark, Published) else ():
            find(file, folder, self.voice.say)
        return benchmark

    def problems(self, benchmark: str) -> tuple[Problem, ...]:
        """Return the problems of a benchmark; raises what ``benchmark`` does."""
        return self.benchmark(benchmark).problems()

    def release_generator(self) -> None:
        """Free the model's memory; it is built again if asked for."""
        engine, generator = (self.__dict__.pop(name, None) for name in ("_engine", "generator"))
        if generator is not None:
            generator.close()
        elif engine is not None:
            engine.close()

    @cached_property
    def weights(self) -> ResolvedModel:
        """The weights that are trained and evaluated.

        Raises:
            ConfigError: the config names none: which weights a recording or a plug-in answers with is not known.
            CodedpoError: they cannot be found.
        """
        model = self.config.model
        name = self.config.training.model or model.name
        if not name:
            raise ConfigError(
                f"training.model and model.name are empty, and the model kind {model.kind} does not tell which weights "
                f"answer ({self.origins['generator']}); name the weights to train as training.model, or leave training "
                "out with data_only: true."
            )
        found = resolve(name)
        self.origins |= {"trained": f"{found.name}: {found.origin}", "digest": found.digest}
        return found

    @cached_property
    def template(self) -> ChatTemplate:
        """The template of the weights that are trained and evaluated.

        Raises:
            ConfigError: ``model.template`` names a file that is no template.
        """
        return template_of(self.weights, self.config.model.template)

    @property
    def sandbox(self) -> Sandbox:
        """The isolated executor."""
        return self._sandbox_with((), 0)

    def sandbox_for(self, benchmark: Benchmark) -> Sandbox:
        """Return the executor of a benchmark's answers, which may import its modules beyond ``sandbox.modules``."""
        folder_kib = benchmark.temporary_folder_kib if isinstance(benchmark, WritesFiles) else 0
        return self._sandbox_with(benchmark.modules, folder_kib)

    def _sandbox_with(self, modules: tuple[str, ...], folder_kib: int) -> Sandbox:
        section = self.config.sandbox
        added: dict[str, Any] = {
            "modules": tuple(dict.fromkeys((*section.modules, *modules))),
            "temporary_folder_kib": max(section.temporary_folder_kib, folder_kib),
        }
        wanted = tuple(added.values())
        if wanted not in self._sandboxes:
            kind = load(SANDBOXES, section.kind, section.path, what="sandbox")
            own = section.model_copy(update=added)
            sandbox: Sandbox = kind.from_config(own, self.config.resources)
            self._warn_if_weak(sandbox)
            path = self.config.resources.execution_cache
            self._sandboxes[wanted] = CachedSandbox(sandbox, Path(path)) if path else sandbox
        return self._sandboxes[wanted]

    def _warn_if_weak(self, sandbox: Sandbox) -> None:
        """Say once that a weak level, which had to be asked for, is what there is."""
        asked = self.config.sandbox.minimum_level
        if not self._sandboxes and asked < SAFE_LEVEL and (level := sandbox.probe().level) < SAFE_LEVEL:
            self.voice.say(
                f"weak isolation: level {level}, as sandbox.minimum_level={asked} allows; "
                "run only programs that you would run without a sandbox",
                style="bold yellow",
                event="weak_isolation",
                level=level,
            )

    @property
    def sandbox_counters(self) -> dict[str, float]:
        """What the sandboxes have counted so far: cells from the execution cache, where there is one."""
        total: Counter[str] = Counter()
        for sandbox in self._sandboxes.values():
            total.update(getattr(sandbox, "counters", {}))
        return dict(total)

    def close(self) -> None:
        """Close what was built."""
        self.release_generator()
        while self._sandboxes:
            self._sandboxes.popitem()[1].close()

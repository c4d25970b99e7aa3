"""Who is judged: the published solutions, a file of samples, or a model."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from codedpo.core.config import Config, ModelConfig
from codedpo.core.registry import load
from codedpo.evaluation.sample_files import is_sample_file
from codedpo.llm.base import Generator
from codedpo.services import GENERATORS

CANONICAL = "canonical"


@dataclass(frozen=True, slots=True)
class Subject:
    """One that is judged, by the name that the person gave."""

    name: str

    @property
    def kind(self) -> Literal["canonical", "samples", "model"]:
        """Tell the published solutions, a file of samples and a model apart."""
        if self.name == CANONICAL:
            return "canonical"
        return "samples" if is_sample_file(self.name) else "model"

    @property
    def path(self) -> Path:
        """The file of samples."""
        return Path(self.name).expanduser()

    @property
    def folder_name(self) -> str:
        """The name as part of a path; that of the folder itself where the name is none, as ``.``."""
        names = (self.name, str(Path(self.name).resolve()), "root")
        return next(filter(None, (re.sub(r"[^\w.-]+", "-", name).strip("-.") for name in names)))


def generator_of(subject: Subject, config: Config) -> Generator:
    """Build the engine of a model: an address is an OpenAI-compatible endpoint, all else are weights.

    ``http://host:8000/v1#name`` names one of several models that an endpoint serves.

    Raises:
        ConfigError, DataError, BackendError: there is no such model, or its files cannot be had.
    """
    if subject.name.startswith(("http://", "https://")):
        url, _, name = subject.name.partition("#")
        section = config.model.model_copy(update={"kind": "openai", "name": name, "url": url})
    else:
        template = config.model.template
        section = ModelConfig(kind=config.evaluation.engine, name=subject.name, template=template)
    kind = load(GENERATORS, section.kind, what="generator")
    generator: Generator = kind.from_config(section, config.resources)
    return generator

"""Every option and every default; ``core.config_files`` reads them from YAML.

Values are never converted: ``temperature: no`` is an error, not 0.0. An unknown key is an error.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
VariantName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
"""A folder beside those of the stages."""


class Section(BaseModel):
    """A part of the config: frozen, strict, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _check_path(kind: str, path: str) -> None:
    if (kind == "plugin") != bool(path):
        need = 'needs a path "package.module:name"' if kind == "plugin" else "has no use for path"
        raise ValueError(f"the kind {kind} {need}")


class Plugin(Section):
    """A part chosen by kind, built in or somebody else's (``kind: plugin, path: "package.module:name"``)."""

    kind: str
    path: str = ""
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _complete(self) -> "Plugin":
        _check_path(self.kind, self.path)
        return self

    @property
    def label(self) -> str:
        """Name of the part in tables and figures: its kind or path, and the options that differ from the defaults."""
        name = self.path or self.kind
        options = ", ".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return f"{name}({options})" if options else name


def _default_name(given: dict[str, Any]) -> str:
    """Name the embedded model, but not as what answers in a plug-in or answered in a recording."""
    return "" if given["kind"] in ("recorded", "plugin") else "qwen2.5-coder-0.5b-instruct"


class ModelConfig(Section):
    """The model that writes tasks, solutions and tests."""

    kind: str = "local"
    """``local`` (OpenVINO on CPU), ``transformers``, ``openai`` (any compatible URL), ``recorded``, ``plugin``."""
    name: str = Field(default_factory=_default_name)
    """Embedded name, Hugging Face id, folder, GGUF file, or the name that the endpoint serves. Of the kinds
    ``recorded`` and ``plugin`` the weights that answer, empty where you do not give them."""
    url: str = ""
    """Base address of kind ``openai``: ``http://host:8000/v1``."""
    key_variable: str = "OPENAI_API_KEY"
    """The environment variable that holds the endpoint's key."""
    path: str = ""
    """Recording (kind ``recorded``) or ``package.module:name`` (kind ``plugin``)."""
    recording: str = ""
    """Replies that this model gave before (``*.jsonl.gz``): used where they fit, so that only others are asked for. A
    recording without any of this model (its weights, template and engine) is refused."""
    template: str = "auto"
    """How messages become the text that weights read, in generation, training and evaluation alike: ``auto`` (the chat
    template of the weights, ``plain`` where they have none), ``plain``, or a Jinja file. Endpoints apply their own."""
    options: dict[str, Any] = {}
    """Further keyword arguments of the kinds ``openai``, ``recorded`` and ``plugin``."""

    @property
    def label(self) -> str:
        """What the model is called: its name or, where it has none, the recording or plug-in that answers."""
        return self.name or self.path


class SamplingConfig(Section):
    """How replies are drawn."""

    temperature: Annotated[float, Field(ge=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    max_tokens: Positive = 512


class SourceConfig(Section):
    """Where seeds come from."""

    kind: Literal["pypi", "folder", "rows"]
    """A package of PyPI (never imported), a folder or git checkout, or a table of files (JSONL, also gzipped, or
    Parquet, or a folder of these) with the columns of The Stack, github-code or CodeParrot: content, path, repo_name,
    license."""
    name: str = ""
    """Package name (kind ``pypi``) or the name that seeds of a folder carry."""
    version: str = ""
    """Pinned package version (kind ``pypi``)."""
    path: str = ""
    """Folder, JSONL or Parquet file, or a folder that holds such files, which are read in the order of their names."""
    license: str = ""
    """SPDX identifier of a folder, of a package whose own metadata is silent or wrong, or of all rows of a table that
    has no column for it (StarCoderData: say ``permissive`` here and in ``seeds.licenses``)."""

    @model_validator(mode="after")
    def _complete(self) -> "SourceConfig":
        needed, allowed = {
            "pypi": (("name", "version"), ("license",)),
            "folder": (("path", "license"), ("name",)),
            "rows": (("path",), ("license",)),
        }[self.kind]
        missing = [key for key in needed if not getattr(self, key)]
        if missing:
            raise ValueError(f"a source of kind {self.kind} needs {' and '.join(missing)}")
        others = ("name", "version", "path", "license")
        unused = [key for key in others if key not in (*needed, *allowed) and getattr(self, key)]
        if unused:
            raise ValueError(f"a source of kind {self.kind} has no use for {' and '.join(unused)}")
        return self


class SeedsConfig(Section):
    """Stage 1."""

    sources: tuple[SourceConfig, ...] = ()
    count: Positive = 1000
    """At most so many seeds, drawn evenly over the sources."""
    least_lines: Positive = 5
    most_lines: Positive = 60
    licenses: tuple[str, ...] = (
        "apache-2.0",
        "bsd-2-clause",
        "bsd-3-clause",
        "isc",
        "mit",
        "psf-2.0",
        "unlicense",
        "0bsd",
    )
    """SPDX identifiers in lower case; functions under others are dropped. Of a package every licence that its metadata
    names has to be among them, of a table every one of a row."""
    near_duplicate_threshold: Share = 0.7
    """Exact Jaccard similarity of token 5-grams from which two functions count as the same."""


class TasksConfig(Section):
    """Stage 2."""

    file: str = ""
    """JSON lines with ``prompt``, ``signature`` and, if you like, ``task_id``: tasks of yours, instead of tasks made
    from seeds; ``seeds.sources`` is then empty."""
    concepts_sampling: SamplingConfig = SamplingConfig(temperature=0.7, max_tokens=96)
    task_sampling: SamplingConfig = SamplingConfig(temperature=0.7, max_tokens=384)
    near_duplicate_threshold: Share = 0.6
    """Exact Jaccard similarity from which two tasks count as the same."""
    largest_reject_share: Share = 0.9
    """The stage stops when a larger share of its replies gives no task."""


class CandidatesConfig(Section):
    """Stage 3. The paper: 15 solutions and 15 tests at temperature 1.5."""

    solutions: Positive = 15
    tests: Positive = 15
    """At most so many tests of a task are kept."""
    tests_per_reply: Positive = 5
    """The model is asked for so many assertions in one reply."""
    solution_sampling: SamplingConfig = SamplingConfig(temperature=1.5)
    test_sampling: SamplingConfig = SamplingConfig(temperature=1.5)
    largest_reject_share: Share = 0.9


class LauncherConfig(Section):
    """A command in front of the interpreter that runs model-written code, to put it elsewhere."""

    kind: Literal["none", "interpreter", "bubblewrap", "docker", "ssh"] = "none"
    """``interpreter``: no command, only another ``python`` of this machine, with the packages installed for it."""
    python: str = ""
    """The interpreter on the other side; empty: the launcher's usual one."""
    image: str = "python:3.11-slim"
    """Docker only."""
    host: str = ""
    """ssh only: a Linux machine that lets this one in without a question."""
    options: tuple[str, ...] = ()
    """Further arguments of the launcher's own program."""

    @model_validator(mode="after")
    def _complete(self) -> "LauncherConfig":
        if self.kind == "ssh" and not self.host:
            raise ValueError("the launcher ssh needs host")
        if self.kind == "interpreter" and not self.python:
            raise ValueError("the launcher interpreter needs python, the path of an interpreter")
        return self


class SandboxConfig(Section):
    """How model-written code is isolated and limited."""

    kind: str = "local"
    """``local``, ``ray`` (the same on workers of a Ray cluster), ``plugin``."""
    path: str = ""
    minimum_level: Annotated[int, Field(ge=0, le=3)] = 2
    """Refuse to run below this isolation level; 0 and 1 are weak and need to be asked for here."""
    modules: tuple[str, ...] = ()
    """Modules beyond the standard library that programs may import, ``numpy``; name submodules too, or, with
    ``pandas.*``, load a package whole: all of its submodules, and its data files into memory."""
    cpu_seconds: Annotated[float, Field(gt=0)] = 1.0
    """Of one test, and of loading the solution."""
    memory_mib: Positive = 512
    """Address space beyond that of an empty process."""
    timeouts_per_solution: Positive = 2
    """After so many the other tests of a solution are ``not_run``."""
    child_per: Literal["group", "solution", "test"] = "group"
    """``group``: solutions that cannot disturb each other share a process; ``test``: audit mode, no order matters."""
    temporary_folder_kib: int = Field(default=0, ge=0)
    """Size of a folder ``/tmp`` in memory that every process finds empty and may write; 0: none. Needs level 3."""
    launcher: LauncherConfig = LauncherConfig()

    @model_validator(mode="after")
    def _complete(self) -> "SandboxConfig":
        _check_path(self.kind, self.path)
        return self


class RankingsConfig(Section):
    """Stage 5. ``strategy`` makes the pairs; ``compare`` is scored beside it for the report."""

    strategy: Plugin = Plugin(kind="self_validation")
    compare: tuple[Plugin, ...] = (
        Plugin(kind="number_passed"),
        Plugin(kind="all_tests_filter"),
        Plugin(kind="random"),
    )


class PairsConfig(Section):
    """Stage 6."""

    kinds: tuple[Literal["correctness", "efficiency"], ...] = ("correctness", "efficiency")
    least_margin: Share = 0.0
    """Least difference of the normalised scores of chosen and rejected."""
    rejected: Literal["worst", "hardest"] = "worst"
    """``hardest``: the largest group of wrong-looking solutions that behave alike, which training learns most from."""
    pairs_per_task: Positive = 1
    """At most so many correctness pairs of a task, each with another chosen and another rejected program."""
    least_chosen_score: Share = 0.0
    least_rejected_score: Share = 0.0
    """AceCoder (arXiv 2502.01718) asks for a margin of 0.4, chosen above 0.8 and rejected above 0."""
    least_probability: Share = 0.0
    """Least chance that the chosen side is right and the rejected wrong; needs a strategy that estimates it."""
    share_kept: Share = 1.0
    """Keep this share of the tasks that have a correctness pair, the most probable first; needs it too."""
    least_speed_ratio: Annotated[float, Field(ge=1)] = 1.1
    """An efficiency pair is made only where the interval of the ratio lies above this."""
    timing_repeats: Positive = 5
    """Measurements of every comparable solution, interleaved."""
    decisive_repeats: Positive = 15
    """Measurements of the fastest and the slowest alone, from which the pair is decided: more than
    ``timing_repeats``, whose samples chose the two."""
    slow_inputs: int = Field(default=3, ge=0)
    """Time on at most so many inputs grown from those of credible tests; 0, or where none can be grown: on theirs."""
    slow_input_ms: Annotated[float, Field(gt=0)] = 1.0
    """Grow an input until the fastest solution takes so many milliseconds of CPU time."""
    slow_input_factor: Positive = 4096
    """Largest growth of an input, in steps of 4."""
    validation_share: Share = 0.1
    """Share of the tasks that are held out, whether they have a pair or not, at least one: their pairs are for
    validation, and no ranking changes which they are."""

    @model_validator(mode="after")
    def _complete(self) -> "PairsConfig":
        if self.decisive_repeats <= self.timing_repeats:
            raise ValueError(
                f"decisive_repeats is {self.decisive_repeats}, but must be more than timing_repeats "
                f"({self.timing_repeats}), so that the second measurement is told from the first; raise it"
            )
        return self


class LoraConfig(Section):
    """Low-rank adapters on all linear layers."""

    rank: Positive = 16
    alpha: Positive = 32
    layers: int = Field(default=0, ge=0)
    """Adapters in so many last layers only, the ones below have no backward pass; 0: in all."""


class FocusConfig(Section):
    """Weights of tokens in the preference loss (Focused-DPO, arXiv 2502.11475)."""

    middle: Annotated[float, Field(ge=0)] = 2.0
    """Of tokens between what chosen and rejected both begin with and what both end with."""
    shared: Annotated[float, Field(ge=0)] = 1.0
    """Of the tokens that both begin and end with; 0 cuts them out."""


class TrainingConfig(Section):
    """Stage 7. Defaults are the paper's where it gives them."""

    method: Literal["dpo", "kto", "sft"] = "dpo"
    model: str = ""
    """Weights to train: name, Hugging Face id, folder or GGUF; empty: those of ``model.name``, where there is one."""
    kinds: tuple[Literal["correctness", "efficiency"], ...] = ("correctness", "efficiency")
    most_pairs: int = Field(default=0, ge=0)
    """Train on a seeded sample of so many pairs; 0: all."""
    balance_length: bool = False
    """Leave out training pairs until the chosen side is as often the longer one as the shorter, and by as much."""
    validation_pairs: int = Field(default=0, ge=0)
    """Validate on so many of the held-out pairs, the same whatever the seed; 0: all."""
    beta: Annotated[float, Field(gt=0)] = 0.1
    """How strongly the weights are held to the untrained ones (DPO and KTO)."""
    nll_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the negative log-likelihood of the chosen side (DPO only)."""
    length_normalised: bool = False
    """Compare log-ratios per token instead of per answer, so that length itself is not rewarded (DPO only)."""
    confidence_weighted: bool = False
    """Weigh the loss of a pair by its probability, on average 1 (DPO only); needs a strategy that estimates it."""
    focus: FocusConfig | None = None
    """Weigh tokens by whether chosen and rejected differ there (DPO only); ``null``: all alike."""
    seed: int | None = None
    """Of adapter weights, data order and ``most_pairs``; ``null``: the run's. Another one needs no new data."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-6
    warmup_share: Share = 0.1
    """Of the steps; the learning rate rises in them, and falls linearly in the others."""
    epochs: Annotated[float, Field(gt=0)] = 10.0
    batch_size: Positive = 1
    """Pairs of one forward pass."""
    gradient_accumulation: Positive = 8
    """Batches of one step."""
    max_length: Positive = 1024
    """Longest prompt and answer together, in tokens; longer pairs are dropped and counted, never cut."""
    lora: LoraConfig | None = LoraConfig()
    """``null`` trains all weights."""
    evaluations: Positive = 10
    """How often along training validation loss is taken and a checkpoint kept; the best one is the result."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """``auto``: bfloat16 where the processor multiplies it (GPU, AVX512-BF16, AMX), else float32."""
    four_bit: bool = False
    """Hold the frozen weights under adapters in 4 bits (bitsandbytes, NF4): a quarter of the memory; needs a GPU."""
    activation_checkpointing: bool = False
    """Compute activations twice to hold fewer of them: less memory, about a third more work."""
    gguf: bool = False
    """Also leave the merged weights as ``model.gguf`` (Q8_0), which llama.cpp reads."""
    tracker: str = "none"
    """Where the trainer logs beside the tables: ``tensorboard`` (in the stage's folder), ``trackio``, ``wandb``, ..."""

    @model_validator(mode="after")
    def _complete(self) -> "TrainingConfig":
        changes_dpo = ("length_normalised", "confidence_weighted", "focus")
        unused = [name for name in changes_dpo if getattr(self, name)]
        if unused and self.method != "dpo":
            raise ValueError(f"the method {self.method} has no use for {' and '.join(unused)}")
        if self.four_bit and self.lora is None:
            raise ValueError("four_bit is for adapters, but lora is null")
        return self


class EvaluationConfig(Section):
    """Stage 8."""

    benchmarks: tuple[str, ...] = ("humaneval",)
    """Names that ``codedpo list`` shows, or ``package.module:name``; their problems are kept out of seeds and tasks."""
    limit: int = Field(default=0, ge=0)
    """Only the first so many problems of each benchmark; 0: all."""
    samples: Positive = 1
    temperature: Annotated[float, Field(ge=0)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_tokens: Positive = 512
    engine: Literal["local", "transformers"] = "local"
    """What runs the weights before and after training."""
    efficiency: bool = False
    """Whether the right answers of both models are timed against each other."""
    held_out_tasks: bool = False
    """Whether both models also answer the run's held-out tasks: the share of their tests that pass chooses between
    trainings without a benchmark."""

    @model_validator(mode="after")
    def _samples_differ(self) -> "EvaluationConfig":
        if self.samples > 1 and not self.temperature:
            raise ValueError(
                f"{self.samples} samples at temperature 0 are {self.samples} copies of one answer; set "
                "evaluation.temperature above 0 or evaluation.samples to 1"
            )
        return self


class ReportConfig(Section):
    """Stage 9."""

    tasks: Positive = 200
    """At most so many tasks are browsable in the page; the tables hold all."""


class ResourcesConfig(Section):
    """Where and how fast. Nothing here changes a result, so nothing here enters an identity."""

    workers: int = Field(default=0, ge=0)
    """Sandbox workers; 0: one a core."""
    timing_workers: Positive = 1
    """Workers that measure CPU time at once, each the solutions of another task. Use several only where as many
    processors have nothing else to do: on many cores, or on the nodes of a Ray cluster."""
    ray_address: str = ""
    """The Ray cluster of ``sandbox.kind: ray`` (``auto``, ``host:6379``); empty: one is started on this machine."""
    execution_cache: str = ""
    """SQLite file that remembers what a program did on a test, for all runs that name it; empty: none."""
    data_folder: str = ""
    """Folder of benchmark data (``docs/evaluation.md`` lists the files), looked at before anything is fetched; empty:
    the variable ``CODEDPO_DATA_DIR``."""
    engine_cache_gb: Positive = 4
    """Memory for the local engine's key-value cache."""
    max_sequences: Positive = 128
    """Sequences that a model works on at once: rows of a batch, calls of an endpoint. The local engine is given up to
    twice as many, since those that have ended keep their place until the last one of their request ends."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where transformers and training run."""
    training_processes: Positive = 1
    """Processes of this machine, one a GPU, that share the ``training.gradient_accumulation`` batches of a step."""


class Config(Section):
    """A whole run."""

    name: Annotated[str, Field(min_length=1)]
    description: str = ""
    seed: int = 0
    """Of every draw of the run."""
    runs_folder: str = "runs"
    base_run: str = ""
    """Another run whose stages are adopted where their identity is equal (ablations): its folder, or, without a
    slash, its name in ``runs_folder``."""
    variants: dict[VariantName, dict[str, Any]] = {}
    """An ablation: what differs in each variant of this config. They run after it, on what it made, in folders below
    its own, and its report compares them."""
    data_only: bool = False
    """Leave training and evaluation out: pairs, and the report on how they were made."""
    shard_size: Positive = 256
    """Rows (seeds, tasks) a part: what a kill can cost, replies of the model excepted, which are kept one by one.
    Small parts leave a batched engine idle at the end of each."""
    decontamination: tuple[str, ...] = ()
    """Benchmarks whose problems are kept out of seeds and tasks, beside those of the evaluation."""
    model: ModelConfig = ModelConfig()
    seeds: SeedsConfig = SeedsConfig()
    tasks: TasksConfig = TasksConfig()
    candidates: CandidatesConfig = CandidatesConfig()
    sandbox: SandboxConfig = SandboxConfig()
    rankings: RankingsConfig = RankingsConfig()
    pairs: PairsConfig = PairsConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    report: ReportConfig = ReportConfig()
    resources: ResourcesConfig = ResourcesConfig()

    @field_validator("base_run")
    @classmethod
    def _base_run_folder(cls, value: str, info: ValidationInfo) -> str:
        return str(Path(info.data.get("runs_folder", "")) / value) if value and "/" not in value else value

    @model_validator(mode="after")
    def _complete(self) -> "Config":
        if self.tasks.file and self.seeds.sources:
            raise ValueError(
                "tasks.file and seeds.sources both say where tasks come from; leave one of them empty"
            )
        processes, batches = self.resources.training_processes, self.training.gradient_accumulation
        if batches % processes:
            raise ValueError(
                f"resources.training_processes is {processes}, which does not divide "
                f"training.gradient_accumulation ({batches})"
            )
        if processes > 1 and self.training.method == "kto":  # its KL term is a mean over all processes
            raise ValueError(
                f"resources.training_processes is {processes}, but the method kto trains otherwise in several; "
                "set it to 1"
            )
        return self

    @property
    def kept_out(self) -> tuple[str, ...]:
        """All benchmarks whose problems are kept out of seeds and tasks, sorted."""
        return tuple(sorted({*self.decontamination, *self.evaluation.benchmarks}))

    @property
    def run_folder(self) -> Path:
        """Where this run's stages are stored."""
        return Path(self.runs_folder) / self.name

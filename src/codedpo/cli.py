"""The command line: verbs, no logic."""

import errno
import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from codedpo import __version__
from codedpo.core.errors import CodedpoError, ExitCode

app = typer.Typer(
    name="codedpo",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Preference data that a code model generated and verified itself, and the training on it.",
    epilog="Exit codes: 0 done, 1 failure, 2 config or data, 3 stale, 4 model or sandbox unavailable, 130 interrupted.",
)

STAGE_WORDS = "seeds, tasks, candidates, executions, rankings, pairs, training, evaluation, report"
"""As ``stages.STAGE_NAMES``, which would load numpy and pyarrow to say it."""
STORED = {
    "run": "; the same command goes on from what is stored",
    "exec": "; no matrix is written, and the same command begins again, but for the cells that "
    "resources.execution_cache holds, if it is set",
    "eval": "; the same command judges again, but asks a model only for the replies that are missing",
}
"""What an interrupted command leaves; others leave nothing."""

ConfigPath = Annotated[
    Path, typer.Argument(help="A YAML config, such as configs/quickstart.yaml.", metavar="CONFIG")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="section.key=value ...", metavar="[SECTION.KEY=VALUE]...")
]
RunFolder = Annotated[Path, typer.Argument(help="A run folder, such as runs/quickstart.", metavar="RUN")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"codedpo {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    pass


@app.command("run")
def run_command(
    config: ConfigPath,
    overrides: Overrides = None,
    until: Annotated[str, typer.Option(help=f"Last stage to run: {STAGE_WORDS}.")] = "report",
    redo: Annotated[str, typer.Option(help="Delete this stage and all after it, then run.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Estimate calls, tokens, executions and hours; do nothing.")
    ] = False,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Log JSON lines instead of text.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors and the summary only.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run, or resume, every stage of a config: seeds to report."""
    from codedpo.core.config_files import load_config
    from codedpo.plan import plan_of, print_plan

    settings = load_config(config, overrides or [])
    if dry_run:
        plan = plan_of(settings, until=until)
        _print_json(plan.as_dict()) if as_json else print_plan(plan)
        return
    from codedpo import pipeline
    from codedpo.core.progress import Voice
    from codedpo.report.summary import print_summary, summary_of

    voice = Voice(json_lines=json_logs, quiet=quiet)
    with redirect_stdout(sys.stderr):  # What libraries print must not stand in the JSON.
        pipeline.run(settings, voice, until=until, redo=redo)
    _print_json(summary_of(settings.run_folder)) if as_json else print_summary(settings.run_folder)


@app.command("config")
def config_command(config: ConfigPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Print every value of a config, defaults included."""
    import yaml

    from codedpo.core.config_files import load_config

    values = load_config(config, overrides or []).model_dump(mode="json")
    _print_json(values) if as_json else typer.echo(
        yaml.safe_dump(values, sort_keys=False, allow_unicode=True).rstrip()
    )


@app.command("show")
def show_command(
    run: RunFolder,
    stage: Annotated[str, typer.Argument(help="A stage: its counts and the reasons for drops.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show the state of a run, or counts and reasons for drops of one stage."""
    from codedpo.report.summary import print_stage, print_summary, stage_of, summary_of

    if stage:
        _print_json(stage_of(run, stage)) if as_json else print_stage(run, stage)
    else:
        _print_json(summary_of(run)) if as_json else print_summary(run)


@app.command("trace")
def trace_command(
    run: RunFolder,
    task: Annotated[str, typer.Argument(help="A task id, such as t000042.")],
    as_json: AsJson = False,
) -> None:
    """Follow one task through all tables: seed, prompt, solutions, tests, pass matrix, scores, pairs."""
    from codedpo.trace import print_trace, trace_of

    trace = trace_of(run, task)
    _print_json(trace) if as_json else print_trace(trace)


@app.command("exec")
def exec_command(
    solutions: Annotated[
        Path, typer.Argument(help="JSONL, also gzipped: task_id and code, or solution.", metavar="SOLUTIONS")
    ],
    tests: Annotated[
        Path,
        typer.Argument(help="JSONL: task_id and code, or call and expected, or stdin.", metavar="TESTS"),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write, one row a cell: MATRIX.parquet.")
    ],
    overrides: Overrides = None,
    cpu_seconds: Annotated[
        float | None, typer.Option(help="CPU seconds of one test: sandbox.cpu_seconds.")
    ] = None,
    memory_mib: Annotated[int | None, typer.Option(help="Memory of one test: sandbox.memory_mib.")] = None,
    minimum_level: Annotated[
        int | None, typer.Option(help="Refuse weaker isolation: sandbox.minimum_level.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Tasks at once: resources.workers.")] = None,
    audit: Annotated[
        int, typer.Option(min=0, help="Run so many solutions again, a process a test: does the order matter?")
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors and the summary only.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run solutions against tests, isolated, and write the pass matrix."""
    from codedpo.core.progress import Voice
    from codedpo.execute import execute, print_summary, settings

    short = {
        "sandbox.cpu_seconds": cpu_seconds,
        "sandbox.memory_mib": memory_mib,
        "sandbox.minimum_level": minimum_level,
        "resources.workers": workers,
    }
    given = [f"{key}={value}" for key, value in short.items() if value is not None]
    config = settings([*(overrides or []), *given])
    with redirect_stdout(sys.stderr):  # Ray prints there what happens to its workers.
        summary = execute(config, solutions, tests, output, Voice(quiet=quiet), audit)
    _print_json(summary.as_dict()) if as_json else print_summary(summary)


@app.command("rank")
def rank_command(
    matrix: Annotated[
        Path,
        typer.Argument(
            help="Your own pass matrix: .npz, .parquet, .jsonl, or a folder of Parquet parts.",
            metavar="MATRIX",
        ),
    ],
    options: Annotated[
        list[str] | None, typer.Argument(help="Options of the strategy.", metavar="[NAME=VALUE]...")
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(help="A kind of `codedpo list`, or package.module:function.", metavar="KIND"),
    ] = "",
    output: Annotated[Path | None, typer.Option(help="Write the scores to this Parquet file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Rank the solutions of a pass matrix that you bring."""
    from codedpo.rankings.ranked import print_ranked, rank_matrix

    ranked = rank_matrix(matrix, strategy, options or [], output)
    _print_json(ranked.as_dict()) if as_json else print_ranked(ranked)


@app.command("push")
def push_command(
    run: RunFolder,
    repo: Annotated[str, typer.Argument(help="A dataset repository of the Hub: owner/name.", metavar="REPO")],
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public.")] = False,
    as_json: AsJson = False,
) -> None:
    """Upload the exported pairs of a run to the Hugging Face Hub."""
    from codedpo.pairs.push import push
    from codedpo.stages import stage_path

    address = push(run, stage_path(run, "pairs"), repo, private=not public)
    _print_json({"dataset": address}) if as_json else typer.echo(address)


@app.command("check")
def check_command(
    config: Annotated[
        Path | None,
        typer.Argument(help="Check for this config; without: for the embedded default.", metavar="CONFIG"),
    ] = None,
    overrides: Overrides = None,
    until: Annotated[str, typer.Option(help="Last stage that is to be run.")] = "report",
    as_json: AsJson = False,
) -> None:
    """Say whether a config can run here: settings, sandbox, model, data, training, disk; not what no stage needs."""
    from codedpo.check import checks_of, print_checks

    with redirect_stdout(sys.stderr):
        checks = checks_of(config, overrides or [], until)
    _print_json([check.as_dict() for check in checks]) if as_json else print_checks(checks)
    if not all(check.ok for check in checks):
        raise typer.Exit(ExitCode.BACKEND)


@app.command("eval")
def eval_command(
    subject: Annotated[
        str,
        typer.Argument(
            help="`canonical`, a file of samples (.jsonl, .json, also with .gz), a model (name, folder, GGUF), or an "
            "address.",
            metavar="MODEL_OR_SAMPLES",
        ),
    ],
    overrides: Overrides = None,
    benchmarks: Annotated[str, typer.Option(help="Names with commas between them; see `codedpo list`.")] = "",
    limit: Annotated[int | None, typer.Option(help="Only the first so many problems of each.")] = None,
    samples: Annotated[int | None, typer.Option(help="Answers a problem.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Nucleus sampling; 1: all tokens.")] = None,
    against: Annotated[str, typer.Option(help="A second subject: paired difference and McNemar.")] = "",
    efficiency: Annotated[
        bool,
        typer.Option("--efficiency", help="With --against: CPU time of right answers to the same problems."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="Folder of samples and replies; default: runs/evaluations.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: AsJson = False,
) -> None:
    """Judge published solutions, a file of samples or a model on benchmarks; with --json the last line is JSON."""
    from codedpo.core.progress import Voice
    from codedpo.evaluation.command import evaluate, settings
    from codedpo.evaluation.results import json_of, print_scores

    config = settings(overrides or [], benchmarks, limit, samples, temperature, top_p, efficiency)
    with redirect_stdout(sys.stderr):
        scores = evaluate(subject, config, Voice(quiet=quiet), against=against, folder=output)
    print_scores(scores, to_stderr=as_json)
    if as_json:
        typer.echo(json.dumps(json_of(scores), ensure_ascii=False))


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List the kinds of every extension point."""
    from codedpo.check import extension_points, print_extension_points

    points = extension_points()
    _print_json(points) if as_json else print_extension_points(points)


def _sentence_of(error: OSError) -> str:
    """Say what the system refuses; '' where the error names no file, which is then a fault of the program."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        place = error.filename or "a file of the run"
        return f"{place} finds no room ({error.strerror}); free its disk and run again."
    if error.filename:
        return f"{error.filename} cannot be read or written ({error.strerror}); mend the path or its permissions."
    return ""


def main(commands: typer.Typer = app) -> None:
    """Run a command line; errors become one sentence on standard error and a documented exit code."""
    # Threads of torch's libgomp otherwise spin at barriers, which starves them as soon as somebody shares the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        commands()
    except CodedpoError as error:
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if not (sentence := _sentence_of(error)):
            raise
        typer.secho(f"error: {sentence}", fg=typer.colors.RED, err=True)
        sys.exit(ExitCode.FAILURE)
    except SystemExit as stop:
        if stop.code == ExitCode.INTERRUPTED:
            command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
            typer.secho(f"interrupted{STORED.get(command, '')}.", err=True)
        raise


if __name__ == "__main__":
    main()

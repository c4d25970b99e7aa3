"""Write the page of a run."""

from codedpo.context import StageContext
from codedpo.core.records import (
    AlternativePair,
    Convergence,
    Execution,
    Metric,
    Outcome,
    Pair,
    Sample,
    Seed,
    Solution,
    SolutionScore,
    Speed,
    Task,
    Test,
    TestScore,
    Timing,
    TrainingStep,
)
from codedpo.core.tables import write_atomically
from codedpo.report.browse import browse
from codedpo.report.page import Content, render
from codedpo.report.run_folder import read_run
from codedpo.report.tables import pass_shares


def content_of(context: StageContext) -> Content:
    """Collect what the page is made of from the tables of the stages before."""
    executions, pairs = context.columns(Execution), context.read(Pair)
    solution_scores = context.columns(SolutionScore)
    test_scores = context.columns(TestScore)
    return Content(
        run=read_run(context.services.run_folder),
        browse=browse(
            tasks=context.read(Task),
            seeds={seed.seed_id: seed for seed in context.read(Seed)},
            solutions=context.read(Solution),
            tests=context.read(Test),
            executions=executions,
            solution_scores=solution_scores,
            test_scores=test_scores,
            timings=context.read(Timing),
            pairs=pairs,
            strategy=context.config.rankings.strategy.label,
            most_tasks=context.config.report.tasks,
        ),
        solution_scores=solution_scores,
        test_scores=test_scores,
        convergence=context.columns(Convergence),
        pairs=pairs,
        alternatives=context.read(AlternativePair),
        training_steps=context.read(TrainingStep),
        samples=context.read(Sample),
        speeds=context.read(Speed),
        metrics=context.read(Metric),
        pass_shares=pass_shares(executions, Outcome.PASSED.value),
    )


def run(context: StageContext) -> None:
    """Write ``index.html`` into the stage's folder."""
    for part in context.parts([context.config.name], whole=True):
        page = render(content_of(context)).encode()
        write_atomically(context.folder.path / "index.html", page)
        part.count("page_bytes", len(page))
        part.write({})

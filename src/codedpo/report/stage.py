"""Write the page of a run."""

from typing import Any

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
from codedpo.report.browse import browse, shown_tasks
from codedpo.report.page import Content, render
from codedpo.report.run_folder import read_run
from codedpo.report.tables import joined, pass_shares, score_gaps, scores_of, strategies_compared


def content_of(context: StageContext) -> Content:
    """Collect what the page is made of from the tables of the stages before.

    Tables that grow with the run are read file by file, of the tasks that are shown alone every row.
    """
    strategy = context.config.rankings.strategy.label
    scores = ("task_id", "strategy", "score")
    ranks = ("task_id", "solution_id", "strategy", "rank")
    pairs = context.columns(Pair, "kind", "chosen_solution_id", "rejected_solution_id")
    alternatives = context.columns(AlternativePair, "strategy", "chosen_solution_id", "rejected_solution_id")
    return Content(
        run=read_run(context.services.run_folder),
        browse=_browse(context, strategy),
        solution_scores=joined(scores_of(one, strategy) for one in context.tables(SolutionScore, *scores)),
        test_scores=joined(
            scores_of(one, strategy) for one in context.tables(TestScore, "strategy", "score")
        ),
        score_gaps=joined(score_gaps(one, strategy) for one in context.tables(SolutionScore, *scores)),
        pass_shares=joined(
            pass_shares(one, Outcome.PASSED.value)
            for one in context.tables(Execution, "solution_id", "outcome")
        ),
        compared=strategies_compared(context.tables(SolutionScore, *ranks), strategy, pairs, alternatives),
        convergence=context.columns(Convergence, "iteration", "largest_change", "order_changes"),
        training_steps=context.read(TrainingStep),
        samples=context.read(Sample),
        speeds=context.read(Speed),
        metrics=context.read(Metric),
    )


def _browse(context: StageContext, strategy: str) -> dict[str, Any]:
    cells = context.by_task(Execution, "task_id", "solution_id", "test_id", "outcome", "error_type")
    executed = cells.task_ids
    every_task = context.columns(Task, "task_id").column(0).to_pylist()
    shown = shown_tasks(every_task, executed, context.config.report.tasks)
    tasks = context.find(Task, "task_id", shown)
    seeds = context.find(Seed, "seed_id", [task.seed_id for task in tasks])
    return browse(
        tasks=tasks,
        seeds={seed.seed_id: seed for seed in seeds},
        solutions=context.find(Solution, "task_id", shown),
        tests=context.find(Test, "task_id", shown),
        executions=cells.of(shown),
        solution_scores=context.by_task(SolutionScore, "solution_id", "strategy", "score").of(shown),
        test_scores=context.by_task(TestScore, "test_id", "strategy", "score").of(shown),
        timings=context.find(Timing, "task_id", shown),
        pairs=context.find(Pair, "task_id", shown),
        strategy=strategy,
        total=len(executed),
    )


def run(context: StageContext) -> None:
    """Write ``index.html`` into the stage's folder."""
    for part in context.parts([context.config.name], whole=True):
        page = render(content_of(context)).encode()
        write_atomically(context.folder.path / "index.html", page)
        part.count("page_bytes", len(page))
        part.write({})

"""`ebr negatives`: what the training of an arm is fed, with titles and similarities."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from rich.console import Console
from rich.table import Table

from data.experiment.experiment_file import load_experiment
from flows.arms import restrict_to_arm, train_run
from flows.process.cluster import RUNNER
from flows.sources import extract_log, featurize, sample_searches
from flows.submit import result
from tasks.training_examples import TrainingExample, sample_training_pairs


@flow(name="negatives", task_runner=RUNNER, flow_run_name="{arm} of {experiment}")
def inspect_negatives(experiment: str, arm: str, count: int) -> list[TrainingExample]:
    """Trains the arm, and those that it mines or starts from, unless they are there; then looks at what it is fed."""
    spec = restrict_to_arm(load_experiment(Path(experiment)), arm)
    source = extract_log(spec)
    searches, features = sample_searches(spec, source), featurize(spec, source)
    settings, run = spec.arms[arm], (arm, spec.seeds[0])
    trained = train_run(spec, source, features, searches.validation, run)
    ratings = [result(trained.ratings[rated, run[1]]) for rated in settings.ratings.of] if settings.ratings else []
    mined = result(trained.mined_negatives[run]) if settings.mine_from else None
    towers = result(trained.towers[run])
    return sample_training_pairs(
        source.log, result(features[settings.reads]), towers, mined, ratings, settings, count, run[1]
    )


def show(pairs: list[TrainingExample], console: Console) -> None:
    """Prints a table a pair: kind, similarity, title."""
    for pair in pairs:
        table = Table(title=f"{pair.query!r}, searcher {pair.searcher}", title_justify="left", show_header=False)
        table.add_column("kind")
        table.add_column("cosine", justify="right")
        table.add_column("title")
        for kind, title, cosine in pair.documents:
            table.add_row(kind, f"{cosine:+.3f}", title, style="bold" if kind == "positive" else "")
        console.print(table)

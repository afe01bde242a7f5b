"""`ebr negatives`: show training pairs of an arm, with titles and similarities."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from rich.console import Console
from rich.table import Table

from data.experiment.encoder_arms import ENCODER
from data.experiment.experiment_file import load_experiment
from flows.arms import prepare_arm, train_run
from flows.process.cluster import RUNNER
from flows.run_names import name_of_run
from flows.submit import result
from tasks.training_examples import TrainingExample, sample_training_pairs


@flow(name="negatives", task_runner=RUNNER, flow_run_name=name_of_run)
def inspect_negatives(experiment: str, arm: str, count: int) -> list[TrainingExample]:
    """`count` training pairs of the arm, with their negatives. Arms without towers are trained first."""
    whole = load_experiment(Path(experiment), needs_encoder=arm == ENCODER)
    spec, source, searches, features, run = prepare_arm(whole, arm)
    settings = spec.arms[arm]
    arms = train_run(spec, source, features, searches.validation, run)
    ratings = [result(arms.ratings[rated_arm, run[1]]) for rated_arm in settings.ratings.of] if settings.ratings else []
    mined_negatives = result(arms.mined_negatives[run]) if settings.mine_from else None
    towers = result(arms.towers[run])
    return sample_training_pairs(
        source.log, result(features[settings.features]), towers, mined_negatives, ratings, settings, count, run[1]
    )


def show(pairs: list[TrainingExample], console: Console) -> None:
    """Print a table for each pair: kind, similarity, title."""
    for pair in pairs:
        table = Table(title=f"{pair.query!r}, searcher {pair.searcher}", title_justify="left", show_header=False)
        table.add_column("kind")
        table.add_column("cosine", justify="right")
        table.add_column("title")
        for kind, title, cosine in pair.documents:
            table.add_row(kind, f"{cosine:+.3f}", title, style="bold" if kind == "positive" else "")
        console.print(table)

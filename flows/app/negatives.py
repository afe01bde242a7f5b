"""`ebr negatives`: show training pairs of an arm, with titles and similarities."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from rich.console import Console
from rich.table import Table
from rich.text import Text

from data.experiment.encoder_arms import ENCODER
from data.experiment.experiment_file import load_experiment
from ebr_core.training.arm_config import Arm
from flows.app.negative_kinds import kinds_of
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


def show(label: str, settings: Arm, pairs: list[TrainingExample], console: Console) -> None:
    """Print what the arm is trained on, then a table for each pair: kind, similarity, title. What is not trained on is
    marked."""
    kinds = kinds_of(settings)
    trained = [f"{kind.name}: {kind.words}" for kind in kinds if kind.words]
    compared = [kind.name for kind in kinds if not kind.words]
    heading = f"{label} is trained on these negatives of a positive:" if trained else f"{label} is not trained."
    console.print(heading, markup=False, highlight=False)
    for line in trained:
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    if compared:
        listed = " and ".join([", ".join(compared[:-1]), compared[-1]] if len(compared) > 1 else compared)
        console.print(
            f"Not trained on, shown for comparison alone (dim): {listed}.",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    console.print()
    for pair in pairs:
        table = Table(title=Text(f"{pair.query!r}, searcher {pair.searcher}"), title_justify="left", show_header=False)
        table.add_column("kind")
        table.add_column("cosine", justify="right")
        table.add_column("title")
        for kind, title, cosine in pair.documents:
            style = "bold" if kind == "positive" else "dim" if kind in compared else ""
            mark = " (not trained on)" if kind in compared else ""
            table.add_row(Text(f"{kind}{mark}"), f"{cosine:+.3f}", Text(title), style=style)
        console.print(table)

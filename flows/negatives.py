"""`ebr negatives`: what the training of an arm is fed, with titles and similarities."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from rich.console import Console
from rich.table import Table

from data.experiment import Experiment, load_experiment
from data.logs import Simulated
from ebr_core.config import InputError
from flows.ebr import read_features, train_arms
from flows.process.cluster import RUNNER
from tasks.logs import live, obtain, sample
from tasks.negatives import Fed, fed
from tasks.training import mine_negatives


@flow(name="negatives", task_runner=RUNNER, flow_run_name="{arm} of {experiment}")
def look(experiment: str, arm: str, count: int) -> list[Fed]:
    """Trains the arm, and those that it mines or starts from, unless they are there; then looks at what it is fed."""
    asked = alone(load_experiment(Path(experiment)), arm)
    simulated, seed = asked.logs if isinstance(asked.logs, Simulated) else None, asked.seeds[0]
    world = live(simulated.world) if simulated else None
    log = obtain(asked.logs, asked.split, world)
    validation = sample(log, "validation", asked.evaluation.validation_searches, asked.logs.judged_from)
    features = read_features(asked, log, world)
    towers, feeding = train_arms(asked, log, features, validation, world)
    its, mined = asked.arms[arm], None
    ratings = [feeding.rated(name, seed).result() for name in its.ratings.of] if its.ratings else []
    if its.mine_from:
        source = asked.arms[its.mine_from]
        made = features[source.reads].result(), towers[its.mine_from, seed].result(), source
        wanted = its.positives, its.mask, its.mining, seed, its.training.threads, its.ratings, ratings or None
        mined = mine_negatives(log, *made, *wanted)
    return fed(log, features[its.reads].result(), towers[arm, seed].result(), mined, ratings, its, count, seed)


def alone(asked: Experiment, arm: str) -> Experiment:
    """The experiment with that arm, and those that it needs, alone."""
    if arm not in asked.arms:
        raise InputError(f"--arm: no arm {arm!r}; there are {', '.join(asked.arms)}")
    arms = {name: asked.arms[name] for name in asked.needed([arm])}
    alone = {
        "arms": arms,
        "seeds": asked.seeds[:1],
        "ensembles": {},
        "filters": {},
        "questions": {},
        "screening": False,
    }
    return asked.model_copy(update=alone)


def show(pairs: list[Fed], console: Console) -> None:
    """Prints a table a pair: kind, similarity, title."""
    for pair in pairs:
        table = Table(title=f"{pair.query!r}, searcher {pair.searcher}", title_justify="left", show_header=False)
        table.add_column("kind")
        table.add_column("cosine", justify="right")
        table.add_column("title")
        for kind, title, cosine in pair.documents:
            table.add_row(kind, f"{cosine:+.3f}", title, style="bold" if kind == "positive" else "")
        console.print(table)

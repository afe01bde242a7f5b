"""What `ebr explain` says: why an arm puts a document where it does for a query."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from data.experiment import Experiment, load_experiment
from data.logs import Simulated
from ebr_core.config import InputError
from ebr_core.explain import Explained, explain
from ebr_core.fitted import table_bags, text_bags
from ebr_core.inputs import Inputs, with_search
from ebr_core.model import Checkpoint, load_towers
from flows.feedback import Source, feeding
from tasks.artifacts import Artifact
from tasks.features import extract_columns, featurise, needs_columns, read_inputs
from tasks.graph import embed_graph
from tasks.logs import contents_of, extract, files_of, live, sample
from tasks.samples import read_sample
from tasks.training import mine_negatives, train_arm

STRONGEST = 8  # n-grams shown


def explain_arms(arms: list[str], query: str, searcher: str | None, document: str, console: Console) -> None:
    """Prints, for each arm named EXPERIMENT/ARM, the parts of the cosine of the query and the document.

    What was not trained yet is trained first. The searcher's place and the like are those of their last search.
    """
    for named in arms:
        asked, arm = _open(named)
        console.print(f"[bold]{arm}[/bold] ({named})", highlight=False)
        for part in _explained(asked, arm, query, searcher, document):
            console.print(part, highlight=False)


def _open(named: str) -> tuple[Experiment, str]:
    path, _, arm = named.rpartition("/")
    if not path:
        raise InputError(f"{named}: expected EXPERIMENT/ARM, as in experiments/paper-features.yaml/everything")
    asked = load_experiment(Path(path))
    if arm not in asked.arms:
        raise InputError(f"{path}: no arm {arm!r}; there are {', '.join(asked.arms)}")
    return asked, arm


def _explained(asked: Experiment, arm: str, query: str, searcher: str | None, document: str) -> Iterator[Table | str]:
    world = live.fn(asked.logs.world) if isinstance(asked.logs, Simulated) else None
    files = files_of(asked.logs, world)
    log = extract.fn(files, asked.split, contents_of(files))
    row = _row(log, "documents", "document_id", document)
    features, towers = _trained(asked, arm, log, world)
    model = load_towers(towers.folder)
    inputs, search = _placed(read_inputs(features, model.config), model, log, query, searcher)
    told = explain(model.tower, model.fitted, inputs, query, search, int(inputs.rows_of(np.array([row]))[0]))
    yield from _ranks(asked, log, world, model, inputs, search, row, told)
    yield _groups(told)
    yield _ngrams(told)


def _trained(asked: Experiment, name: str, log: Artifact, world: Artifact | None) -> tuple[Artifact, Artifact]:
    """(features, towers) of an arm with the first seed; made where they are not there."""
    arm, seed = asked.arms[name], asked.seeds[0]
    files = files_of(asked.logs, world)
    graphs = {group: embed_graph.fn(log, graph) for group, graph in arm.reads.graphs.items()}
    columns = extract_columns.fn(files, log, contents_of(files), arm.reads) if needs_columns(arm.reads) else None
    features = featurise.fn(log, arm.reads, graphs, columns)
    validation = sample.fn(log, "validation", asked.evaluation.validation_searches, asked.logs.judged_from)
    mined = start = ratings = None
    if arm.ratings:

        def rateable(one: str, _seed: int) -> Source:
            return Source(*_trained(asked, one, log, world), asked.arms[one])

        rated = feeding(asked, log, world, rateable, lambda task, *_: task.fn).rated
        ratings = [rated(one, seed) for one in arm.ratings.of]
    if arm.mine_from:
        source = asked.arms[arm.mine_from]
        found = *_trained(asked, arm.mine_from, log, world), source
        wanted = arm.positives, arm.mask, arm.mining, seed, arm.training.threads, arm.ratings, ratings
        mined = mine_negatives.fn(log, *found, *wanted)
    if arm.start_from:
        _, start = _trained(asked, arm.start_from, log, world)
    return features, train_arm.fn(log, features, validation, arm, seed, start, mined, None, ratings)


def _row(log: Artifact, table: str, key: str, wanted: str) -> int:
    ids = pq.read_table(log.folder / f"{table}.parquet", columns=[key])[key]
    row = pc.index(ids, pa.scalar(wanted, pa.string())).as_py()
    if row < 0:
        raise InputError(f"{key}: there is no {wanted!r} in the log; identities look like {ids[0].as_py()!r}")
    return int(row)


def _placed(inputs: Inputs, model: Checkpoint, log: Artifact, query: str, searcher: str | None) -> tuple[Inputs, int]:
    """The inputs with the search to explain at the end, and its row."""
    like, places = None, {}
    if searcher is not None:
        row = _row(log, "searchers", "searcher_id", searcher)
        theirs = pq.read_table(log.folder / "searches.parquet", columns=["searcher_row"])["searcher_row"]
        searches = np.flatnonzero(pc.fill_null(pc.equal(theirs, row), False).to_numpy())
        like = int(searches[-1]) if len(searches) else None
        places = {name: row if vectors[row].any() else -1 for name, vectors in model.graphs.items()}
    text = table_bags(text_bags(pa.array([query]), model.fitted), model.fitted)
    return with_search(inputs, text, like, places), inputs.rows


def _ranks(
    asked: Experiment, log: Artifact, world: Artifact | None, model: Checkpoint, inputs: Inputs, search: int, row: int,
    told: Explained,
) -> Iterator[str]:  # fmt: skip
    """Where the document stands among those alive in the test, and what is first."""
    test = sample.fn(log, "test", asked.evaluation.searches, asked.logs.judged_from, world)
    alive = read_sample(test).candidates
    tower = model.tower.over(inputs)
    vector = tower.encode(np.array([search], np.int32))[0]
    near = tower.encode(inputs.rows_of(alive)) @ vector
    titles = pq.read_table(log.folder / "documents.parquet", columns=["document_id", "title"])
    first = int(alive[near.argmax()])
    rank = int((near > told.cosine + 1e-6).sum()) + 1
    yield (
        f"{titles['title'][row].as_py()!r}: cosine {told.cosine:.4f}, rank {rank:,} of {len(alive):,}; the first is "
        f"{titles['document_id'][first].as_py()}, {titles['title'][first].as_py()!r}, with {float(near.max()):.4f}"
    )


def _groups(told: Explained) -> Table:
    """The matrix whose sum is the cosine, or what is lost without each group."""
    if told.matrix is None:
        table = Table(
            "group", "cosine lost without it", title="each group left out of both sides", title_justify="left"
        )
        for name, lost in zip(told.groups, told.left_out.tolist(), strict=True):
            table.add_row(name, f"{lost:+.4f}")
        return table
    table = Table("query ↓ document →", *told.groups, "sum", title="what adds up to the cosine", title_justify="left")
    for name, parts in zip(told.groups, told.matrix, strict=True):
        table.add_row(name, *(f"{part:+.4f}" for part in parts.tolist()), f"{parts.sum():+.4f}")
    table.add_section()
    table.add_row("sum", *(f"{part:+.4f}" for part in told.matrix.sum(0).tolist()), f"{told.matrix.sum():+.4f}")
    return table


def _ngrams(told: Explained) -> str:
    if not told.ngrams:
        return "No n-gram of the query was seen in training.\n"
    return "n-grams: " + ", ".join(f"{spelling!r} {part:+.4f}" for spelling, part in told.ngrams[:STRONGEST]) + "\n"

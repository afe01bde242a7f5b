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

from data.experiment.experiment_file import load_experiment
from data.experiment.experiment_spec import Experiment
from ebr_core.errors import InputError
from ebr_core.towers.checkpoint import Checkpoint, load_towers
from ebr_core.towers.cosine_shares import Explained, explain
from ebr_core.towers.fitted_features import table_bags, text_bags
from ebr_core.towers.tower_inputs import Inputs, with_search
from flows.arms import restrict_to_arm, train_run
from flows.sources import EvalSets, extract_log, featurize, sample_searches
from tasks.eval_sets import read_sample
from tasks.feature_stages import read_inputs
from tasks.kinds import Log

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
    spec = restrict_to_arm(asked, arm)
    source = extract_log(spec)
    searches = sample_searches(spec, source)
    every, run, log = featurize(spec, source), (arm, spec.seeds[0]), source.log
    features, towers = every[spec.arms[arm].features], train_run(spec, source, every, searches.validation, run).towers[run]
    row = _row(log, "documents", "document_id", document)
    model = load_towers(towers.folder)
    inputs, search = _placed(read_inputs(features, model.config), model, log, query, searcher)
    told = explain(model.tower, model.fitted, inputs, query, search, int(inputs.rows_of(np.array([row]))[0]))
    yield from _ranks(searches, log, model, inputs, search, row, told)
    yield _groups(told)
    yield _ngrams(told)


def _row(log: Log, table: str, key: str, wanted: str) -> int:
    ids = pq.read_table(log.folder / f"{table}.parquet", columns=[key])[key]
    row = pc.index(ids, pa.scalar(wanted, pa.string())).as_py()
    if row < 0:
        raise InputError(f"{key}: there is no {wanted!r} in the log; identities look like {ids[0].as_py()!r}")
    return int(row)


def _placed(inputs: Inputs, model: Checkpoint, log: Log, query: str, searcher: str | None) -> tuple[Inputs, int]:
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
    searches: EvalSets, log: Log, model: Checkpoint, inputs: Inputs, search: int, row: int, told: Explained
) -> Iterator[str]:
    """Where the document stands among those alive in the test, and what is first."""
    alive = read_sample(searches.test).candidates
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
        for name, lost in zip(told.groups, told.ablation.tolist(), strict=True):
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

"""`ebr explain`: explain how an arm ranks a document for a query."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.table import Table

from data.experiment.experiment_spec import Experiment
from ebr_core.errors import InputError
from ebr_core.towers.checkpoint import Checkpoint, load_towers, query_inputs
from ebr_core.towers.cosine_shares import Explanation, explain
from ebr_core.towers.fitted_features import table_bags, text_bags
from ebr_core.towers.tower_config import TransformerTowerConfig
from ebr_core.towers.tower_inputs import Inputs, VectorGroup, with_search
from flows.app.experiment_input import open_experiment
from flows.app.model_names import arm_of_file
from flows.arms import prepare_arm, restrict_to_arm, train_run
from flows.sources import EvalSets, extract_log
from tasks.eval_sets import read_sample
from tasks.feature_stages import read_inputs
from tasks.kinds import Log

STRONGEST = 8  # n-grams shown


class OpenedArm(NamedTuple):
    """An arm to explain."""

    label: str  # as it was named
    experiment: Experiment
    arm: str


def open_arms(labels: list[str]) -> list[OpenedArm]:
    """The arms that are named EXPERIMENT/ARM. Raises InputError if a name is wrong, or an arm cannot be explained."""
    return [_open(label) for label in labels]


def explain_arms(arms: list[OpenedArm], query: str, searcher: str | None, document: str) -> list[Table | str]:
    """The parts of the cosine of the query and the document, for each arm.

    Arms without towers are trained first. The searcher's place and the like are those of the searcher's last search.
    Raises InputError if the log does not have the document or the searcher.
    """
    explained: list[Table | str] = []
    for opened in arms:
        explained.append(f"{opened.arm} ({opened.label})")
        explained += _explanation(opened.experiment, opened.arm, query, searcher, document)
    return explained


def _open(label: str) -> OpenedArm:
    path, arm = arm_of_file(label)
    spec = open_experiment(path, arm)
    if isinstance(spec.arms[arm].towers, TransformerTowerConfig):
        raise InputError(
            f"{label}: an encoder reads a text as a whole, so that no word has a share of the cosine; only towers of "
            f"kind ngram can be explained. ebr search --model {path.stem}/{arm} shows its ranks"
        )
    return OpenedArm(label, spec, arm)


def _explanation(
    experiment: Experiment, arm: str, query: str, searcher: str | None, document: str
) -> Iterator[Table | str]:
    log = extract_log(restrict_to_arm(experiment, arm)).log
    row = _row(log, "documents", "document_id", document)
    if searcher is not None:
        _row(log, "searchers", "searcher_id", searcher)  # before anything is trained
    spec, source, searches, feature_sets, run = prepare_arm(experiment, arm)
    towers = train_run(spec, source, feature_sets, searches.validation, run).towers[run]
    features = feature_sets[spec.arms[arm].features]
    model = load_towers(towers.folder)
    inputs, search = _add_search(read_inputs(features, model.config), model, log, query, searcher)
    explanation = explain(model.tower, model.fitted, inputs, query, search, int(inputs.rows_of(np.array([row]))[0]))
    yield from _ranks(searches, log, model, inputs, search, row, explanation)
    yield _groups(explanation)
    if model.fitted.features.text.reads("searches"):
        yield _ngrams(explanation)
    if names := ", ".join(model.fitted.features.text_vectors):
        yield f"{names}: a vector of the whole text, of which the table has the share; no word has one of its own\n"


def _row(log: Log, table: str, key: str, identity: str) -> int:
    ids = pq.read_table(log.folder / f"{table}.parquet", columns=[key])[key]
    row = pc.index(ids, pa.scalar(identity, pa.string())).as_py()
    if row < 0:
        raise InputError(f"{key}: there is no {identity!r} in the log; an identity looks like {ids[0].as_py()!r}")
    return int(row)


def _add_search(inputs: Inputs, model: Checkpoint, log: Log, query: str, searcher: str | None) -> tuple[Inputs, int]:
    """The inputs with the search to explain at the end, and its row."""
    last_search, places = None, {}
    if searcher is not None:
        row = _row(log, "searchers", "searcher_id", searcher)
        searcher_rows = pq.read_table(log.folder / "searches.parquet", columns=["searcher_row"])["searcher_row"]
        searches = np.flatnonzero(pc.fill_null(pc.equal(searcher_rows, row), False).to_numpy())
        last_search = int(searches[-1]) if len(searches) else None
        places = {name: row if vectors[row].any() else -1 for name, vectors in model.graphs.items()}
    texts = pa.array([query if model.fitted.features.text.reads("searches") else ""])
    text = table_bags(text_bags(texts, model.fitted), model.fitted)
    own = query_inputs(model, pa.array([query]), np.full(1, -1, np.int32), {})  # the vectors of the query itself
    for name in model.fitted.features.text_vectors:
        given, vectors = own.groups[name], inputs.groups[name]
        assert isinstance(given, VectorGroup)
        assert isinstance(vectors, VectorGroup)
        places[name] = len(vectors.vectors) if given.at[0] >= 0 else -1
        added = np.concatenate([vectors.vectors, given.vectors[given.at[:1]]]) if given.at[0] >= 0 else vectors.vectors
        inputs.groups[name] = vectors._replace(vectors=added)
    return with_search(inputs, text, last_search, places), inputs.rows


def _ranks(
    searches: EvalSets, log: Log, model: Checkpoint, inputs: Inputs, search: int, row: int, explanation: Explanation
) -> Iterator[str]:
    """The document's rank among those alive in the test, and the first document."""
    alive = read_sample(searches.test).candidates
    tower = model.tower.over(inputs)
    vector = tower.encode(np.array([search], np.int32))[0]
    cosines = tower.encode(inputs.rows_of(alive)) @ vector
    titles = pq.read_table(log.folder / "documents.parquet", columns=["document_id", "title"])
    first_row = int(alive[cosines.argmax()])
    rank = int((cosines > explanation.cosine + 1e-6).sum()) + 1
    yield (
        f"{titles['title'][row].as_py()!r}: cosine {explanation.cosine:.4f}, rank {rank:,} of {len(alive):,}; "
        f"the first is {titles['document_id'][first_row].as_py()}, {titles['title'][first_row].as_py()!r}, "
        f"with {float(cosines.max()):.4f}"
    )


def _groups(explanation: Explanation) -> Table:
    """The matrix whose sum is the cosine, or the loss of cosine without each group."""
    if explanation.matrix is None:
        table = Table(
            "group", "cosine lost without it", title="cosine without each group, on both sides", title_justify="left"
        )
        for name, loss in zip(explanation.groups, explanation.ablation.tolist(), strict=True):
            table.add_row(name, f"{loss:+.4f}")
        return table
    table = Table(
        "query ↓ document →", *explanation.groups, "sum", title="parts that add up to the cosine", title_justify="left"
    )
    for name, parts in zip(explanation.groups, explanation.matrix, strict=True):
        table.add_row(name, *(f"{part:+.4f}" for part in parts.tolist()), f"{parts.sum():+.4f}")
    table.add_section()
    table.add_row(
        "sum", *(f"{part:+.4f}" for part in explanation.matrix.sum(0).tolist()), f"{explanation.matrix.sum():+.4f}"
    )
    return table


def _ngrams(explanation: Explanation) -> str:
    if not explanation.ngrams:
        return "Training has seen no n-gram of the query.\n"
    return (
        "n-grams: " + ", ".join(f"{spelling!r} {part:+.4f}" for spelling, part in explanation.ngrams[:STRONGEST]) + "\n"
    )

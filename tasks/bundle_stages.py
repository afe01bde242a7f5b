"""From the artifacts of a run to models that answer queries: a bundle for each arm, and the champion among them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data import extracted_log
from data.experiment.serving_config import BundleContents, Serving
from data.latest_lists import latest_lists
from ebr_core.parallel import use_threads
from ebr_core.serving.logged_lists import write_logged_lists
from ebr_core.serving.model_bundle import FUSION, open_bundle, seal, write_terms, write_training_queries
from ebr_core.serving.own_data import write_own_data
from ebr_core.serving.query_cost import measure_embedding, write_cost
from ebr_core.serving.query_towers import (
    CONTEXT,
    QUERY_SCHEMA,
    WEIGHTS,
    as_rows,
    fields_of,
    load_query_towers,
    query_schema,
)
from ebr_core.towers.checkpoint import ENCODER, load_towers
from ebr_core.towers.column_config import Side
from ebr_core.towers.query_encoders import carry_encoders
from ebr_core.towers.tower_kinds import save_encoder
from tasks.artifacts import link, stage
from tasks.bm25_stages import index_documents, read_bm25, read_documents
from tasks.built_indexes import copy_index
from tasks.eval_sets import read_sample
from tasks.fusion_stages import fusion_depth, read_mode, training_queries_of
from tasks.kinds import (
    BuiltIndex,
    BundleTables,
    CalibratedRadius,
    ChosenFusion,
    EnsembleWeights,
    EvalSet,
    ExtraColumns,
    Log,
    ModelBundle,
    OwnColumns,
    Places,
    ServedMode,
    TrainedTowers,
    TunedBm25,
    Vectors,
)
from tasks.own_column_stages import read_places
from tasks.progress import show_progress
from tasks.travelling_columns import travelling

CANARIES = 20


@stage(BundleTables)
def tabulate(
    folder: Path,
    log: Log,
    eval_set: EvalSet,
    bm25: TunedBm25,
    own: OwnColumns | None = None,
    places: Places | None = None,
    serving: Serving | None = None,
    own_names: dict[Side, dict[str, str]] | None = None,
) -> None:
    """Write the content of every bundle of a log: documents alive, terms, searchers, canary queries, and the lists that
    the engine of the log showed last.

    own, places: of the documents, for conditions and results; serving: which of these columns the bundle has;
    own_names: the user's names of the layout's columns, by side.
    """
    sample = read_sample(eval_set)
    documents = read_documents(log, sample.candidates)
    names = own_names or {}
    of_documents = names.get("documents", {})
    table, settings = travelling(log, documents, own, places, serving or Serving(), sample.candidates, of_documents)
    settings = settings.model_copy(update={"search_names": names.get("searches", {})})
    pq.write_table(table, folder / "documents.parquet")
    located = read_places(places, "documents")
    write_own_data(settings, None if located is None else located[sample.candidates], folder)
    write_terms(index_documents(documents, bm25), folder)
    write_logged_lists(latest_lists(log.folder, sample.candidates), folder)
    pq.write_table(extracted_log.read(log.folder, "searchers"), folder / "searchers.parquet")
    _, first = np.unique(sample.searches["query_row"], return_index=True)
    chosen = np.sort(first)[:CANARIES]
    searches = pq.read_table(log.folder / "searches.parquet").take(sample.searches["search_row"][chosen])
    queries = pq.read_table(log.folder / "queries.parquet")["query"].take(searches["query_row"])
    searchers = pq.read_table(log.folder / "searchers.parquet")["searcher_id"].take(searches["searcher_row"])
    write_training_queries(training_queries_of(log, read_bm25(bm25).language), folder)
    columns = {"query": queries, "searcher_id": searchers} | {name: searches[name] for name in CONTEXT[1:]}
    canaries = pa.table([columns[name] for name in QUERY_SCHEMA.names], QUERY_SCHEMA)
    canaries = canaries.append_column("search_row", searches["search_row"])
    pq.write_table(canaries.append_column("at", pa.array(chosen)), folder / "asked.parquet")


@stage(ModelBundle)
def bundle(
    folder: Path,
    tables: BundleTables,
    eval_set: EvalSet,
    towers: list[TrainedTowers],
    vectors: Vectors,
    index: BuiltIndex,
    radius: CalibratedRadius,
    weights: EnsembleWeights | None,
    columns: list[ExtraColumns],
    fusion: ChosenFusion,
    served: ServedMode,
    arm: str,
    seed: int,
    ks: tuple[int, ...],
    contents: BundleContents = BundleContents(),  # noqa: B008  a frozen value
) -> None:
    """Write a bundle that answers queries (see ebr_core.serving.model_bundle), and open it once to check it.

    towers: one, or those of the parts of an ensemble; weights: of the ensemble; columns: of the searches, those that
    the towers read and extraction does not keep; ks: of the evaluation.
    """
    for number, part in enumerate(towers):
        target = folder / "towers" if weights is None else folder / "towers" / str(number)
        target.mkdir(parents=True)
        for path in part.folder.iterdir():
            if path.suffix in (".safetensors", ".json", ".npy"):
                link(path, target / path.name)
        _link_folder(part.folder / ENCODER, target / ENCODER)
        if contents.include_model:
            model = load_towers(part.folder)
            carry_encoders(model.fitted.features.query_encoders, target)
            save_encoder(model.tower, target / ENCODER, weights=True)
    if weights is not None:
        link(weights.folder / WEIGHTS, folder / "towers" / WEIGHTS)
    for path in tables.folder.iterdir():
        if path.suffix in (".parquet", ".npy", ".json") and path.name != "asked.parquet":
            link(path, folder / path.name)
    copy_index(index.folder, folder)
    if (radius.folder / "radius.json").exists():
        link(radius.folder / "radius.json", folder / "radius.json")
    documents = np.load(vectors.folder / "documents.npy", mmap_mode="r")[read_sample(eval_set).candidates]
    np.save(folder / "vectors.npy", documents)
    shutil.copyfile(fusion.folder / FUSION, folder / FUSION)
    canaries = pq.read_table(tables.folder / "asked.parquet")
    measured = as_rows(np.load(vectors.folder / "queries.npy")[..., canaries["at"].to_numpy(), :])
    vector = pa.FixedSizeListArray.from_arrays(pa.array(measured.ravel()), measured.shape[1])
    use_threads(1)
    canaries = _with_fields(canaries, columns, fields_of(load_query_towers(folder / "towers")))
    pq.write_table(canaries.append_column("vector", vector), folder / "canaries.parquet")
    manifest = json.loads((index.folder / "manifest.json").read_text())
    if manifest["vectors"] != vectors.digest:
        raise ValueError(f"this index belongs to vectors {manifest['vectors']}, not to {vectors.digest}")
    digests = [part.digest for part in towers]
    facts = {"arm": arm, "seed": seed, "towers": digests, "vectors": vectors.digest}
    facts |= {"index": manifest["spec"], "setting": manifest["setting"]}
    seal(folder, facts | {"mode": read_mode(served)[0], "k": max(ks), "depth": fusion_depth(ks)})
    with show_progress(f"bundle {arm}", 1):
        write_cost(folder, measure_embedding([(open_bundle(folder).towers, canaries)]))


def _link_folder(source: Path, target: Path) -> None:
    """Link all files of a folder into another; nothing if there is no such folder."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            link(path, target / path.relative_to(source))


def _with_fields(canaries: pa.Table, columns: list[ExtraColumns], fields: Collection[str]) -> pa.Table:
    """The canaries with the fields that the towers read, as the log has them."""
    rows = canaries["search_row"]
    paths = [part.folder / "searches.parquet" for part in columns]  # none where the groups read documents alone
    tables = [pq.read_table(path) for path in paths if path.exists()]
    values = {name: table[name].take(rows) for table in tables for name in table.column_names if name in set(fields)}
    canaries = canaries.select(QUERY_SCHEMA.names)
    values |= {name: pa.nulls(len(canaries)) for name in set(fields) - set(values)}  # clicks: the bundle knows them
    for name, column in values.items():
        canaries = canaries.append_column(name, column)
    return canaries.select(query_schema(fields).names).cast(query_schema(fields))

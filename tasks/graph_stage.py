"""From the log's edges to a vector for every searcher and document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data import extracted_log
from ebr_core.arrays import Float32, Int32
from ebr_core.errors import InputError
from ebr_core.parallel import use_threads
from ebr_core.towers.feature_config import Features
from ebr_core.towers.graph_vectors import adjacency, neighbour_sums
from ebr_core.towers.graph_vectors import embed_graph as embed
from ebr_core.towers.vector_config import Graph
from ebr_core.training.own_pairs import OwnEdges
from tasks.artifacts import Artifact, stage
from tasks.kinds import FeatureSet, GraphVectors, Log
from tasks.progress import show_progress

FEWEST_PAIRS = 20  # pairs below which a share is not trusted
SEED = 0  # of the random vectors
LEAK_RATIO = 3  # times the share by chance from which edges are called a leak


@stage(GraphVectors)
def embed_graph(folder: Path, log: Log, graph: Graph) -> None:
    """Write searchers.npy and documents.npy, vectors, zero for nodes without edges; report.json: counts."""
    use_threads(1)
    matrix, edges, searchers = read_graph(log, graph)
    vectors = np.empty((0, graph.dimensions), np.float32)
    with show_progress("graph", 1) as show:
        for done, latest in embed(matrix, searchers, graph, SEED):
            vectors = latest
            show(done, "")
    np.save(folder / "searchers.npy", vectors[:searchers])
    np.save(folder / "documents.npy", vectors[searchers:])
    if graph.clicks:
        _write_own_edges(folder, log, matrix, searchers, graph)
    has_edges = np.diff(matrix.indptr) > 0
    report = {
        "edges": len(edges),
        "undated": int(pc.sum(edges["undated"]).as_py() or 0),
        "searchers": int(has_edges[:searchers].sum()),
        "documents": int(has_edges[searchers:].sum()),
    }
    (folder / "report.json").write_text(json.dumps(report, indent=1))


def _write_own_edges(folder: Path, log: Log, matrix: Any, searchers: int, graph: Graph) -> None:
    """Write own.*.npy: the clicks of each session, and what the vectors are made of, so that training can leave a
    pair's own clicks out of them."""
    clicks = extracted_log.read(log.folder, "own_clicks")
    sessions, documents, people = (
        extracted_log.row_numbers(clicks, f"{side}_row") for side in ("session", "document", "searcher")
    )
    own = OwnEdges(
        sessions * np.int64(matrix.shape[0] - searchers) + documents,
        people,
        clicks["clicks"].to_numpy().astype(np.float32),
        np.asarray(matrix[people, searchers + documents], np.float32).ravel(),
        np.diff(matrix.indptr).astype(np.int32),
        *neighbour_sums(matrix, graph.dimensions, SEED),
    )
    for name, array in own._asdict().items():
        np.save(folder / f"own.{name}.npy", array)


def read_own_edges(vectors: GraphVectors) -> OwnEdges:
    """The clicks of each session in a graph with clicks, memory-mapped."""
    return OwnEdges(*(np.load(vectors.folder / f"own.{name}.npy", mmap_mode="r") for name in OwnEdges._fields))


def read_graph(log: Log, graph: Graph) -> tuple[Any, pa.Table, int]:
    """(the adjacency matrix over the searchers, then the documents; the edges; the number of searchers)."""
    edges = read_edges(log, graph)
    searchers = pq.read_metadata(log.folder / "searchers.parquet").num_rows
    documents = pq.read_metadata(log.folder / "documents.parquet").num_rows
    source, target = (_nodes(edges, side, searchers) for side in ("source", "target"))
    weights = edges["weight"].to_numpy().astype(np.float32)
    return adjacency(source, target, weights, searchers + documents), edges, searchers


def leak_remark(log: Log, features: Features) -> str | None:
    """A remark on results whose graph reads edges without a date; None if it reads none.

    The evidence is the share of the test's new (searcher, document) pairs that such an edge joins, compared with the
    share for the same searchers and documents paired at random.
    """
    graphs = [graph for graph in features.graphs.values() if graph.undated_edges]
    if not any(read_edges(log, graph)["undated"].to_numpy().any() for graph in graphs):
        return None
    kinds = (
        [] if any(not graph.edges for graph in graphs) else sorted({kind for graph in graphs for kind in graph.edges})
    )
    counts = extracted_log.read(log.folder, "leaked_pairs", {"kinds": kinds}).to_pylist()[0]
    share, chance = (counts[key] / max(counts["pairs"], 1) for key in ("joined", "by_chance"))
    if counts["joined"] < FEWEST_PAIRS or share < LEAK_RATIO * chance:
        return "reads edges without a date, some of which may be from the test period"
    return (
        f"leaks: edges without a date join {share:.1%} of the test's new (searcher, document) pairs, {chance:.1%} by "
        "chance: they hold answers of the test"
    )


def read_edges(log: Log, graph: Graph) -> pa.Table:
    """The edges of the graph: source, target and their types, weight, undated.

    Raises InputError if no edge has a kind that the graph names, or if no edge has a date, the graph reads no clicks,
    and the experiment does not accept undated edges.
    """
    edges = extracted_log.read(log.folder, "edges")
    if graph.edges:
        kinds = {kind for kind in pc.unique(edges["kind"]).to_pylist() if kind}
        if unknown := [kind for kind in graph.edges if kind not in kinds]:
            raise InputError(
                f"edges: no edge of kind {', '.join(unknown)} before the cut-off; there are "
                f"{', '.join(sorted(kinds)) or 'none'}"
            )
        edges = edges.filter(pc.is_in(edges["kind"], pa.array(graph.edges)))
    dated = edges if graph.undated_edges else edges.filter(pc.invert(edges["undated"]))
    if len(edges) > len(dated) == 0 and not graph.clicks:
        raise InputError(
            f"none of the {len(edges):,} edges has a date, so none can be kept out of the test period. Bring "
            "edges.created_at, or set undated_edges: true and read the results as ones that may leak"
        )
    names = ["source_row", "source_type", "target_row", "target_type", "weight", "undated"]
    return pa.concat_tables([dated.select(names), _clicks(log, names)]) if graph.clicks else dated.select(names)


def _clicks(log: Log, names: list[str]) -> pa.Table:
    clicks = extracted_log.read(log.folder, "clicked_pairs")
    n = len(clicks)
    columns = [
        clicks["searcher_row"], pa.repeat("searcher", n), clicks["document_row"], pa.repeat("document", n),
        clicks["clicks"], pa.repeat(False, n),
    ]  # fmt: skip
    return pa.table(columns, names)


def _nodes(edges: pa.Table, side: str, searchers: int) -> Int32:
    offsets = pc.equal(edges[f"{side}_type"], "document").to_numpy() * searchers
    return np.asarray(edges[f"{side}_row"].to_numpy() + offsets, np.int32)


def read_graph_artifacts(features: FeatureSet) -> dict[str, GraphVectors]:
    """The node vectors of each group of kind graph."""
    graphs = json.loads((features.folder / "graphs.json").read_text())
    return {name: GraphVectors(Artifact.model_validate(graph)) for name, graph in graphs.items()}


def read_graphs(features: FeatureSet, side: str) -> dict[str, Float32]:
    """The vectors of all "searchers" or "documents" in each group of kind graph."""
    return {
        name: np.load(graph.folder / f"{side}.npy", mmap_mode="r")
        for name, graph in read_graph_artifacts(features).items()
    }

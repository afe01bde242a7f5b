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
from ebr_core.arrays import Int32
from ebr_core.errors import InputError
from ebr_core.parallel import use_threads
from ebr_core.towers.feature_config import Features, Graph
from ebr_core.towers.graph_vectors import adjacency
from ebr_core.towers.graph_vectors import embed_graph as embed
from tasks.artifacts import stage
from tasks.kinds import GraphVectors, Log
from tasks.progress import show_progress

FEWEST_PAIRS = 20  # pairs below which a share is not trusted
LEAK_RATIO = 3  # times the share by chance from which edges are called a leak


@stage(GraphVectors)
def embed_graph(folder: Path, log: Log, graph: Graph) -> None:
    """Write searchers.npy and documents.npy, vectors, zero for nodes without edges; report.json: counts."""
    use_threads(1)
    matrix, edges, searchers = read_graph(log, graph)
    vectors = np.empty((0, graph.dimensions), np.float32)
    with show_progress("graph", 1) as show:
        for done, latest in embed(matrix, searchers, graph, seed=0):
            vectors = latest
            show(done, "")
    np.save(folder / "searchers.npy", vectors[:searchers])
    np.save(folder / "documents.npy", vectors[searchers:])
    has_edges = np.diff(matrix.indptr) > 0
    report = {
        "edges": len(edges),
        "undated": int(pc.sum(edges["undated"]).as_py() or 0),
        "searchers": int(has_edges[:searchers].sum()),
        "documents": int(has_edges[searchers:].sum()),
    }
    (folder / "report.json").write_text(json.dumps(report, indent=1))


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

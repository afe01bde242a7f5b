"""From the log's edges to a vector for every searcher and document."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data import samples
from ebr_core.bags import Int32
from ebr_core.config import InputError
from ebr_core.features import Graph
from ebr_core.graph import adjacency
from ebr_core.graph import embed_graph as embed
from ebr_core.train import use_threads
from tasks.artifacts import Artifact, stage
from tasks.progress import showing


@stage
def embed_graph(folder: Path, log: Artifact, graph: Graph) -> None:
    """searchers.npy and documents.npy: their vectors, zero for whom the graph does not know; report.json: the edges."""
    use_threads(1)
    edges = read_edges(log, graph)
    searchers = pq.read_metadata(log.folder / "searchers.parquet").num_rows
    documents = pq.read_metadata(log.folder / "documents.parquet").num_rows
    source, target = (_nodes(edges, side, searchers) for side in ("source", "target"))
    weights = edges["weight"].to_numpy().astype(np.float32)
    matrix = adjacency(source, target, weights, searchers + documents)
    vectors = np.empty((0, graph.dimensions), np.float32)
    with showing("graph", 1) as show:
        for done, made in embed(matrix, searchers, graph, seed=0):
            vectors = made
            show(done, "")
    np.save(folder / "searchers.npy", vectors[:searchers])
    np.save(folder / "documents.npy", vectors[searchers:])
    known = np.diff(matrix.indptr) > 0
    report = {
        "edges": len(weights),
        "undated": int(pc.sum(edges["undated"]).as_py() or 0),
        "searchers": int(known[:searchers].sum()),
        "documents": int(known[searchers:].sum()),
    }
    (folder / "report.json").write_text(json.dumps(report, indent=1))


def read_edges(log: Artifact, graph: Graph) -> pa.Table:
    """The edges that the graph is made of: source, target and their types, weight, undated.

    Errors: a kind that no edge has; edges that lack a date where nothing else is there and the experiment does not
    accept them.
    """
    edges = samples.read(log.folder, "edges")
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


def _clicks(log: Artifact, names: list[str]) -> pa.Table:
    clicks = samples.read(log.folder, "clicked_pairs")
    n = len(clicks)
    columns = [
        clicks["searcher_row"], pa.repeat("searcher", n), clicks["document_row"], pa.repeat("document", n),
        clicks["clicks"], pa.repeat(False, n),
    ]  # fmt: skip
    return pa.table(columns, names)


def _nodes(edges: pa.Table, side: str, searchers: int) -> Int32:
    behind = pc.equal(edges[f"{side}_type"], "document").to_numpy() * searchers
    return np.asarray(edges[f"{side}_row"].to_numpy() + behind, np.int32)

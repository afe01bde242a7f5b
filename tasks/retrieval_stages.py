"""From towers to the K nearest documents of every evaluation search."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data import extracted_log
from data.experiment.experiment_spec import LOGGED
from data.ranked_lists import match_logged
from data.world.oracle import oracle
from data.world.world_config import Sees, World
from ebr_core.arrays import Float32, Int32
from ebr_core.errors import InputError
from ebr_core.parallel import use_threads
from ebr_core.search import baselines
from ebr_core.search.deduped_index import DedupedIndex, save
from ebr_core.search.exclusions import first_allowed
from ebr_core.search.faiss_index import build, set_parameters
from ebr_core.search.filtered_recall import filtered_recall
from ebr_core.search.index_specs import EXACT, AnyIndex, Exact, Hnsw, Ivf, Scan, problem
from ebr_core.search.index_tuning import tune
from ebr_core.search.nearest import recall_up_to_ties, search_cost, search_exact, search_index
from ebr_core.towers.checkpoint import load_towers
from ebr_core.towers.tower import query_vectors
from tasks.artifacts import link, stage
from tasks.built_indexes import load_index, save_exact
from tasks.eval_sets import SampledSearches, read_sample
from tasks.feature_stages import read_inputs
from tasks.kinds import BuiltIndex, EvalSet, FeatureSet, Log, RetrievedList, SimulatedLog, TrainedTowers, Vectors
from tasks.progress import show_progress
from tasks.retrieved import Retrieved, as_document_rows, save_matched, save_retrieved, save_unavailable

FILTERS = "filters.json"
DEPTH_UNDER_FILTERS = 10  # documents retrieved at most under a condition


@stage(Vectors)
def embed_texts(
    folder: Path,
    features: FeatureSet,
    towers: TrainedTowers,
    eval_set: EvalSet,
    threads: int,
    histories: str = "searches",
    embedded: Vectors | None = None,
) -> None:
    """Write unit vectors: documents.npy (N, D) of every document, and queries.npy (S, D) of the sampled searches in
    their order, or (h, S, D) if a search has several.

    histories: see read_inputs. embedded: vectors of the same towers for other searches, whose documents are linked.
    """
    use_threads(threads)
    model, sample = load_towers(towers.folder), read_sample(eval_set)
    inputs = read_inputs(features, model.config, histories=histories)
    tower = model.tower.over(inputs)
    np.save(folder / "queries.npy", query_vectors(tower, inputs, sample.searches["search_row"]))
    if embedded is not None:
        link(embedded.folder / "documents.npy", folder / "documents.npy")
        return
    documents = inputs.rows_of(np.arange(inputs.documents, dtype=np.int32))
    started = time.perf_counter()
    np.save(folder / "documents.npy", tower.encode(documents))
    seconds = time.perf_counter() - started
    costs = {"embed_s": seconds, "documents_per_s": inputs.documents / max(seconds, 1e-9)}
    (folder / "costs.json").write_text(json.dumps(costs, indent=1))


def refuse_impossible(eval_set: EvalSet, indexes: Iterable[AnyIndex], dimensions: Iterable[int], k: int) -> None:
    """Raise InputError, before any training, if the corpus is too small for the K retrieved or for an index."""
    alive = len(read_sample(eval_set).candidates)
    if k > alive:
        raise InputError(
            f"evaluation.ks or main_k is {k}, but {alive} documents are alive in the test period: lower it to {alive} "
            "or less"
        )
    for spec in indexes:
        for d in dimensions:
            if reason := problem(spec, alive, d):
                raise InputError(f"index of kind {spec.kind}: {reason}")


@stage(BuiltIndex)
def build_index(
    folder: Path,
    vectors: Vectors,
    eval_set: EvalSet,
    spec: AnyIndex,
    threads: int,
    tuned_on: Vectors | None = None,
    setting_of: BuiltIndex | None = None,
    or_exact: bool = False,
) -> None:
    """Write a faiss index over the documents alive; its manifest names the vectors that it belongs to, and its setting.

    tuned_on: embed_texts of validation queries, needed if the spec has a target; tuning.json then holds every setting
    tried. setting_of: an index whose tuned setting is used, so that this one is not tuned.
    or_exact: exact search, if there are too few documents for this index.
    """
    use_threads(threads)
    candidates = read_sample(eval_set).candidates
    documents = np.load(vectors.folder / "documents.npy", mmap_mode="r")[candidates]
    if or_exact and problem(spec, *documents.shape):
        spec = Exact()
    started = time.perf_counter()
    with show_progress(f"index {spec.kind}", 1):
        deduped_index, setting, code = _build(documents, spec, tuned_on, setting_of, folder)
    seconds = time.perf_counter() - started
    if isinstance(spec, Exact):
        index_bytes = save_exact(vectors, candidates, documents.shape[1], folder)
    else:
        index_bytes = save(deduped_index, folder)
    used = spec if code is None else spec.model_copy(update={"code": code})
    manifest = {"vectors": vectors.digest, "spec": used.model_dump(), "setting": setting}
    if used != spec:
        manifest["finer_than"] = spec.model_dump()["code"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    costs = {"build_s": seconds, "index_bytes": index_bytes}
    (folder / "costs.json").write_text(json.dumps(costs, indent=1))


def _build(
    documents: Float32, spec: AnyIndex, tuned_on: Vectors | None, setting_of: BuiltIndex | None, folder: Path
) -> tuple[DedupedIndex, dict[str, Any] | None, str | None]:
    """(the index, its setting and its code if those were tuned)."""
    if isinstance(spec, Exact | Scan) or spec.target is None:
        return build(documents, spec), None, None
    if setting_of is not None:
        lender = json.loads((setting_of.folder / "manifest.json").read_text())
        setting, code = lender["setting"], lender["spec"]["code"]
        grid_field = {Ivf: "nlist", Hnsw: "links"}.get(type(spec))
        of_lender = {"code": code} | ({grid_field: setting[grid_field]} if grid_field else {})
        deduped_index = build(documents, spec.model_copy(update=of_lender))
        set_parameters(deduped_index.index, setting["parameters"])
        return deduped_index, setting, code
    assert tuned_on is not None, "a target needs validation queries"
    queries = np.load(tuned_on.folder / "queries.npy")
    tuned = tune(documents, queries.reshape(-1, queries.shape[-1]), spec)
    (folder / "tuning.json").write_text(json.dumps([point._asdict() for point in tuned.points], indent=1))
    return tuned.built_index, tuned.chosen._asdict(), tuned.code


def finer_code_of(index: BuiltIndex) -> str | None:
    """The code that an index has in place of the one of the experiment, in words; None if it has that one."""
    manifest = json.loads((index.folder / "manifest.json").read_text())
    if (named := manifest.get("finer_than")) is None:
        return None
    target = manifest["spec"]["target"]
    return f"{manifest['spec']['code']} in place of {named}, which does not reach {target}"


@stage(RetrievedList)
def retrieve(folder: Path, vectors: Vectors, index: BuiltIndex, eval_set: EvalSet, k: int, threads: int) -> None:
    """Write a list: the documents that the index retrieves for each sampled search.

    Beside the list of an index is its recall under conditions that leave a part of the documents (filters.json). If the
    index was tuned for a K, the list also has its index recall in a search for K documents, as its target
    promises it: graphs and rescoring indexes reach a higher recall in a search for more. It is a figure of the index,
    over all candidates, excluded ones included.
    """
    use_threads(threads)
    manifest = json.loads((index.folder / "manifest.json").read_text())
    if manifest["vectors"] != vectors.digest:
        raise ValueError(f"this index belongs to vectors {manifest['vectors']}, not to {vectors.digest}")
    queries = np.load(vectors.folder / "queries.npy")
    deduped_index = load_index(index.folder)
    sample = read_sample(eval_set)
    candidates = sample.candidates
    tuned_k, promised = k, None
    is_exact = manifest["spec"]["kind"] == EXACT
    documents = None if is_exact else np.load(vectors.folder / "documents.npy", mmap_mode="r")[candidates]
    if manifest["setting"]:
        assert documents is not None, "exact search is not tuned"
        tuned_k = manifest["spec"]["at"]
        started = time.perf_counter()
        rows, _ = search_index(deduped_index, queries, tuned_k, slack=0)
        seconds = time.perf_counter() - started
        promised = tuned_k, recall_up_to_ties(documents, queries, rows, search_exact(documents, queries, tuned_k)[1])
    started = time.perf_counter()
    rows, _ = search_index(deduped_index, queries, sample.depth(k))
    if promised is None:  # exact search is not repeated for its time alone
        seconds = time.perf_counter() - started
    rows = first_allowed(rows, sample.excluded, k)
    compared = search_cost(deduped_index, queries, tuned_k)[0]
    if documents is not None:
        points = filtered_recall(deduped_index, documents, queries, min(tuned_k, DEPTH_UNDER_FILTERS))
        (folder / FILTERS).write_text(json.dumps([point._asdict() for point in points], indent=1))
    retrieved = Retrieved(as_document_rows(rows, candidates), compared, seconds=seconds, promised=promised)
    save_retrieved(retrieved, folder)


@stage(RetrievedList)
def retrieve_baseline(folder: Path, log: Log, eval_set: EvalSet, name: str, k: int) -> None:
    """Write the list of popularity, memory or the logged order, or the reason why these logs allow none."""
    sample = read_sample(eval_set)
    with show_progress(name, 1):
        if name == LOGGED:
            matched = match_logged(log.folder, eval_set.folder, sample.depth(k))
            matched = matched._replace(rows=first_allowed(matched.rows, sample.excluded_rows, k))
            save_matched(matched, "no result of these searches has a position", folder)
            return
        rows = _run_baseline(log, sample, name, sample.depth(k))
    if isinstance(rows, str):
        save_unavailable(rows, folder)
    else:
        save_retrieved(Retrieved(first_allowed(rows, sample.excluded_rows, k)), folder)


def _run_baseline(log: Log, sample: SampledSearches, name: str, k: int) -> Int32 | str:
    clicks = extracted_log.read_clicks(log.folder, pq.read_metadata(log.folder / "documents.parquet").num_rows)
    if not clicks.any():
        return "no clicks in the training window"
    if name == "popularity":
        popular = baselines.popularity(clicks, sample.candidates, k)
        return np.tile(popular, (len(sample.searches["query_row"]), 1))
    shown = extracted_log.read_shown(log.folder)
    queries, documents = shown.query_rows[shown.clicked], shown.document_rows[shown.clicked]
    return baselines.click_memory(sample.searches["query_row"], queries, documents, clicks, sample.candidates, k)


@stage(RetrievedList)
def retrieve_oracle(
    folder: Path, world: World, simulated: SimulatedLog, log: Log, eval_set: EvalSet, sees: Sees, k: int
) -> None:
    """Write the list of the simulated world's posterior, which sees the text, also the place, or everything."""
    searches = pq.read_table(eval_set.folder / "searches.parquet", columns=["search_row", "search_id"])
    search_ids = searches["search_id"].to_numpy().astype(np.int64)
    sample = read_sample(eval_set)
    depth = sample.depth(k)
    with show_progress(f"oracle {sees}", 1):
        posterior = oracle(world, simulated.folder, search_ids, depth, sees)
    documents = pq.read_table(log.folder / "documents.parquet", columns=["document_id"])["document_id"]
    order = np.argsort(search_ids, kind="stable")
    search_pos = order[np.searchsorted(search_ids[order], posterior["search_id"].to_numpy())]
    rows = np.full((len(search_ids), depth), -1, np.int32)
    rows[search_pos, posterior["position"].to_numpy() - 1] = pc.index_in(posterior["document_id"], documents).to_numpy()
    save_retrieved(Retrieved(first_allowed(rows, sample.excluded_rows, k)), folder)

"""Bundles of cascades and rankers: the bundle of the arm that retrieves, and what reorders its lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ebr_core.parallel import use_threads
from ebr_core.rerank.cascade import Cascade
from ebr_core.rerank.pair_features import read_ranker
from ebr_core.rerank.ranker_features import Ranker
from ebr_core.search.deduped_index import index_files
from ebr_core.search.modes import RERANKED
from ebr_core.serving.model_bundle import open_bundle, seal
from ebr_core.serving.query_cost import measure_embedding, write_cost
from ebr_core.serving.second_stage import (
    SECOND,
    CascadeStage,
    second_stage_details,
    unknown_features,
    write_ranked_documents,
)
from tasks.artifacts import link, stage
from tasks.built_indexes import copy_index
from tasks.eval_sets import read_sample
from tasks.kinds import BuiltIndex, EvalSet, Log, ModelBundle, Places, TrainedRanker
from tasks.progress import show_progress
from tasks.ranker_inputs import ordinary_inputs

REFUSED = "refused.json"  # in place of a bundle, the reason why there is none


@stage(ModelBundle)
def bundle_cascade(
    folder: Path, first: ModelBundle, then: ModelBundle, index: BuiltIndex, settings: Cascade, name: str
) -> None:
    """Write the bundle of a cascade, and open it once to check it.

    first, then: the bundles of its arms, over the same documents; index: of the first arm, which the cascade searches.
    """
    manifest = _link_bundle(folder, first, index)
    second = _read_manifest(then)
    for file in second["files"]:
        if file.startswith("towers/") or file in ("vectors.npy", "canaries.parquet"):
            _link_into(then.folder / file, folder / SECOND / file)
    _finish(folder, manifest | {"towers": [*manifest["towers"], *second["towers"]]}, settings, name)


@stage(ModelBundle)
def bundle_ranker(
    folder: Path,
    base: ModelBundle,
    ranker: TrainedRanker,
    index: BuiltIndex,
    settings: Ranker,
    name: str,
    log: Log,
    eval_set: EvalSet,
    places: Places | None = None,
) -> None:
    """Write the bundle of a ranker, and open it once to check it; or the reason why nobody could ask it.

    base: the bundle of the arm whose lists it orders, over the candidates of eval_set; index: of this arm, which the
    ranker searches.
    """
    unknown = unknown_features(read_ranker(ranker.folder).features)
    if unknown:
        reason = f"it reads {', '.join(unknown)}, which a bundle cannot know when a query comes"
        (folder / REFUSED).write_text(json.dumps({"reason": reason}))
        return
    manifest = _link_bundle(folder, base, index)
    for file in ("ranker.txt", "ranker.json"):
        _link_into(ranker.folder / file, folder / SECOND / file)
    sample = read_sample(eval_set)
    write_ranked_documents(ordinary_inputs(log, sample, places)[0], sample.candidates, folder / SECOND)
    _finish(folder, manifest, settings, name)


def refusal_of(bundle: ModelBundle) -> str | None:
    """The reason why a cascade or ranker has no bundle; None if it has one."""
    file = bundle.folder / REFUSED
    return str(json.loads(file.read_text())["reason"]) if file.exists() else None


def _read_manifest(bundle: ModelBundle) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((bundle.folder / "manifest.json").read_text())
    return manifest


def _link_into(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    link(source, target)


def _link_bundle(folder: Path, base: ModelBundle, index: BuiltIndex) -> dict[str, Any]:
    """The manifest's details of a bundle of the same model with this index, whose files are linked into folder."""
    manifest, built = _read_manifest(base), json.loads((index.folder / "manifest.json").read_text())
    if built["vectors"] != manifest["vectors"]:
        raise ValueError(f"this index belongs to vectors {built['vectors']}, not to {manifest['vectors']}")
    of_index = {"index.json", *(path.name for path in index_files(base.folder))}
    for file in manifest["files"]:
        if file not in of_index:
            _link_into(base.folder / file, folder / file)
    copy_index(index.folder, folder)
    kept = {key: manifest[key] for key in ("seed", "towers", "vectors", "k", "depth")}
    return kept | {"index": built["spec"], "setting": built["setting"]}


def _finish(folder: Path, details: dict[str, Any], settings: Cascade | Ranker, name: str) -> None:
    """Seal the bundle and open it once."""
    seal(folder, details | {"arm": name, "mode": RERANKED} | second_stage_details(settings))
    with show_progress(f"bundle {name}", 1):
        opened, canaries = open_bundle(folder), "canaries.parquet"
        towers = [(opened.towers, pq.read_table(folder / canaries))]
        if isinstance(opened.second, CascadeStage):  # which embeds a query once more
            towers.append((opened.second.towers, pq.read_table(folder / SECOND / canaries)))
        use_threads(1)
        write_cost(folder, measure_embedding(towers))

"""The output of every stage that retrieves: one type, one save, one load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from data.ranked_lists import ListMatch, MatchedList
from ebr_core.arrays import Float64, Int32, Int64
from tasks.artifacts import Artifact

_PROMISED = "kept_at_"
MATCH = "list_match.json"


class Retrieved(NamedTuple):
    """The documents retrieved for each of S sampled searches, and the work that it took."""

    rows: Int32  # (S, K) document rows in order, −1 behind the last
    scanned: Int64 | None = None  # (S,) documents compared by an embedding or a score; None if not counted
    returned: Int64 | None = None  # (S,) documents in the list; None if always K, or all there are
    seconds: float | None = None  # for all searches together
    promised: tuple[int, Float64] | None = None  # the K that an index was tuned for, and (S,) its index recall@K


def count_returned(rows: Int32) -> Int64:
    """(S,) the documents in each list."""
    return np.asarray((rows >= 0).sum(1), np.int64)


def as_document_rows(positions: npt.NDArray[np.integer], candidates: Int32) -> Int32:
    """(S, K) document rows of positions among the candidates; −1 stays."""
    return np.where(positions >= 0, candidates[positions], -1).astype(np.int32)


def save_retrieved(retrieved: Retrieved, folder: Path) -> None:
    """Write a list into the folder of its stage."""
    np.save(folder / "retrieved.npy", retrieved.rows)
    for name, counts in (("scanned", retrieved.scanned), ("returned", retrieved.returned)):
        if counts is not None:
            np.save(folder / f"{name}.npy", counts)
    if retrieved.promised is not None:
        k, recall = retrieved.promised
        np.save(folder / f"{_PROMISED}{k}.npy", recall)
    if retrieved.seconds is not None:
        costs = {
            "search_s": retrieved.seconds,
            "queries_per_s": len(retrieved.rows) / max(retrieved.seconds, 1e-9),
        }
        (folder / "costs.json").write_text(json.dumps(costs, indent=1))


def save_matched(matched: MatchedList, nothing: str, folder: Path) -> None:
    """Write a ranked list, or the reason `nothing` if it has no result for these searches, and its match."""
    (folder / MATCH).write_text(matched.match.model_dump_json(indent=1))
    if matched.match.covered:
        save_retrieved(Retrieved(matched.rows, returned=count_returned(matched.rows)), folder)
    else:
        save_unavailable(nothing, folder)


def load_match(artifact: Artifact) -> ListMatch | None:
    """What became of the rows of a ranked list; None for a list that was computed."""
    file = artifact.folder / MATCH
    return ListMatch.model_validate_json(file.read_text()) if file.exists() else None


def save_unavailable(reason: str, folder: Path) -> None:
    """Write the reason why these logs allow no such list."""
    (folder / "unavailable.json").write_text(json.dumps({"reason": reason}))


def load_retrieved(artifact: Artifact) -> Retrieved | str:
    """The list of a stage, without its seconds, or the reason why it has none."""
    folder = artifact.folder
    if (folder / "unavailable.json").exists():
        return str(json.loads((folder / "unavailable.json").read_text())["reason"])
    scanned, returned = (
        np.load(file) if (file := folder / f"{name}.npy").exists() else None for name in ("scanned", "returned")
    )
    promised = [(int(file.stem.removeprefix(_PROMISED)), np.load(file)) for file in folder.glob(f"{_PROMISED}*.npy")]
    return Retrieved(np.load(folder / "retrieved.npy"), scanned, returned, None, promised[0] if promised else None)

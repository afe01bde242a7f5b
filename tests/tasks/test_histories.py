"""Histories from a log to the towers: what they may know, what is left out, refusals, the check for leaks, serving."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.experiment.experiment_file import load_experiment
from data.experiment.log_config import Simulated, Split, Tables
from ebr_core.errors import InputError
from ebr_core.towers.checkpoint import embed_queries, load_towers, query_columns, searcher_rows
from ebr_core.training.arm_config import Arm
from tasks.feature_stages import check_features, extract_columns, featurise, read_bags, read_fitted
from tasks.histories import LATEST, SEARCHERS, list_counts
from tasks.history_checks import history_checks
from tasks.kinds import ExtraColumns, FeatureSet, Log
from tasks.log_stages import contents_of, extract, join_validation, sample, simulate_log
from tasks.retrieval_stages import embed_texts
from tasks.training_inputs import read_corpus, with_own_pairs
from tasks.training_stages import train_arm
from tests.data.small_logs import small_log

SMOKE = Path(__file__).parent.parent.parent / "experiments" / "smoke.yaml"
SMALL = {"towers": {"dimensions": 16}, "training": {"epochs": 1, "batch_size": 256}}
CLICKED = {"kind": "history"}
# ann: a session of two searches on the 1st, one on the 2nd at the same instant as a search of bob's, the rest later.
SEARCHES = """\
search_id,searched_at,query,searcher_id,session_id,groups
1,2020-01-01 10:00:00,a,ann,s1,"[""shoe"", ""hat""]"
2,2020-01-01 10:01:00,b,ann,s1,"[""shoe"", ""hat""]"
3,2020-01-02 10:00:00,a,ann,s2,"[""shoe"", ""sock"", ""nowhere""]"
4,2020-01-02 10:00:00,a,bob,s3,"[""boot"", ""boot""]"
5,2020-01-03 10:00:00,a,,s4,"[""hat"", ""boot""]"
6,2020-01-04 10:00:00,b,ann,s5,"[""shoe"", ""boot""]"
7,2020-01-05 10:00:00,b,ann,s6,"[""hat"", ""sock""]"
8,2020-01-05 11:00:00,a,bob,s7,
9,2020-01-05 12:00:00,a,,s8,"[""hat"", ""boot""]"
"""
RESULTS = """\
search_id,document_id,position,clicked
1,shoe,1,true
2,hat,1,true
3,sock,1,true
3,shoe,2,true
4,boot,1,true
5,hat,1,true
6,boot,1,true
7,shoe,1,true
7,hat,2,false
8,hat,1,true
9,boot,1,true
"""
DOCUMENTS = "document_id,title\nshoe,Red shoe\nboot,Brown boot\nhat,Hat\nsock,Sock\ncap,Cap\n"
SPLIT = Split(validation_from="2020-01-04", test_from="2020-01-05")


def files_of(folder: Path) -> Tables:
    return small_log(folder, searches=SEARCHES, results=RESULTS, documents=DOCUMENTS)


def extracted(folder: Path, split: Split = SPLIT) -> tuple[Log, Tables]:
    files = files_of(folder)
    return extract.fn(files, split, contents_of(files)), files


def featurised(log: Log, group: dict[str, Any], files: Tables | None = None) -> FeatureSet:
    features = Arm.model_validate({"groups": {"before": group}}).features
    columns: ExtraColumns | None = None
    if files is not None:
        columns = extract_columns.fn(files, log, contents_of(files), features)
    return featurise.fn(log, features, columns=columns)


def documents_of(features: FeatureSet, side: str) -> list[list[str]]:
    """The identities in each bag of a side."""
    bags, known = read_bags(features, "before", side), read_fitted(features).history_documents("before")
    return [[known[i] for i in bags.ids[a:b]] for a, b in zip(bags.offsets[:-1], bags.offsets[1:], strict=True)]


def test_a_history_knows_earlier_sessions_of_the_training_window(tmp_path: Path) -> None:
    log, _ = extracted(tmp_path)
    features = featurised(log, CLICKED)
    rows = dict(zip(pq.read_table(log.folder / "searches.parquet")["search_id"].to_pylist(), range(9), strict=True))
    known = read_fitted(features).history_documents("before")
    assert known == ["boot", "hat", "shoe", "sock"], "the documents clicked in the training window"
    searches = documents_of(features, "searches")
    assert {search: searches[row] for search, row in rows.items()} == {
        "1": [],
        "2": [],  # the click before it belongs to its own session
        "3": ["shoe", "hat"],
        "4": [],  # the clicks of another searcher
        "5": [],  # not signed in
        "6": ["shoe", "hat", *_in_row_order(log, "shoe", "sock")],
        "7": ["shoe", "hat", *_in_row_order(log, "shoe", "sock")],  # not that of the validation
        "8": ["boot"],
        "9": [],
    }
    latest = documents_of(features, LATEST)
    assert latest[rows["7"]] == [*searches[rows["7"]], "boot"]
    assert latest[rows["8"]] == ["boot"]
    assert [latest[rows[search]] for search in "1234"] == [[], [], [], []], "only what is evaluated has one"
    people = pq.read_table(log.folder / "searchers.parquet")["searcher_id"].to_pylist()
    at_end = dict(zip(people, documents_of(features, SEARCHERS), strict=True))
    assert at_end == {"ann": searches[rows["7"]], "bob": ["boot"]}
    ids = pq.read_table(log.folder / "documents.parquet")["document_id"].to_pylist()
    own = documents_of(features, "documents")
    assert own == [[] if document == "cap" else [document] for document in ids]


def test_a_history_goes_by_the_time_of_the_click(tmp_path: Path) -> None:
    """ann buys the shoe of her first session after her second has begun, and the sock when the validation has."""
    times = {"1,shoe,1,true": "2020-01-02 10:00:00", "3,sock,1,true": "2020-01-04 00:00:00"}
    lines = [f"{line},{times.get(line, '')}" for line in RESULTS.splitlines()[1:]]
    results = "\n".join(["search_id,document_id,position,clicked,acted_at", *lines])
    files = small_log(tmp_path, searches=SEARCHES, results=results, documents=DOCUMENTS)
    log = extract.fn(files, SPLIT, contents_of(files))
    features = featurised(log, CLICKED)
    searches = dict(zip("123456789", documents_of(features, "searches"), strict=True))
    assert searches["3"] == ["hat"], "the shoe is bought at the instant of this search"
    assert searches["6"] == ["hat", "shoe", "shoe"]  # of the sessions of the 1st and the 2nd, without the sock
    assert searches["7"] == searches["6"]
    latest = dict(zip("123456789", documents_of(features, LATEST), strict=True))
    assert latest["6"] == searches["6"], "training does not know the sock, so it has no vector"
    assert latest["7"] == [*latest["6"], "boot"]
    assert history_checks(log, features, ("train",))[0]["status"] == "clean"
    # With the log of the same results without times, the features know too much of this one.
    unaware, _ = extracted(tmp_path / "unaware")
    (check,) = history_checks(log, featurised(unaware, CLICKED), ("train",))
    assert check["status"] == "leak"


def _in_row_order(log: Log, *documents: str) -> list[str]:
    ids = pq.read_table(log.folder / "documents.parquet")["document_id"].to_pylist()
    return sorted(documents, key=ids.index)


def test_a_refit_knows_the_validation_too(tmp_path: Path) -> None:
    log, _ = extracted(tmp_path)
    joined = join_validation.fn(log)
    features = featurised(joined, CLICKED)
    test_search = documents_of(features, "searches")[6]
    assert test_search == [*documents_of(featurised(log, CLICKED), "searches")[6], "boot"]
    (check,) = history_checks(log, features, ("train", "validation"), " of the refit")
    assert (check["check"], check["status"]) == ("history before of the refit", "clean")
    (check,) = history_checks(log, features, ("train",))
    assert check["status"] == "leak", "without the validation's right to be there"


@pytest.fixture(scope="module")
def world() -> Log:
    experiment = load_experiment(SMOKE)
    assert isinstance(experiment.logs, Simulated)
    files = experiment.logs.tables(simulate_log.fn(experiment.logs.world).folder)
    return extract.fn(files, experiment.split, contents_of(files))


@pytest.mark.parametrize("side", ["searches", LATEST])
def test_histories_are_those_of_a_loop(world: Log, side: str) -> None:
    features = featurised(world, {**CLICKED, "newest": 3})
    searches = pq.read_table(world.folder / "searches.parquet").to_pylist()
    ids = pq.read_table(world.folder / "documents.parquet")["document_id"].to_pylist()
    session_from: dict[int, datetime] = {}
    for search in searches:
        first = session_from.get(search["session_row"], search["searched_at"])
        session_from[search["session_row"]] = min(first, search["searched_at"])
    cut = min(search["searched_at"] for search in searches if search["split"] != "train")
    clicks: dict[int, list[tuple[datetime, int, int]]] = {}
    trained: set[int] = set()
    for row in pq.read_table(world.folder / "results.parquet").to_pylist():
        search = searches[row["search_row"]]
        usable = search["split"] == "train" and search["searched_at"] < cut
        if row["clicked"] and usable:
            trained.add(row["document_row"])
        if row["clicked"] and search["searcher_row"] is not None and (usable or side == LATEST):
            click = search["searched_at"], row["search_row"], row["document_row"]
            clicks.setdefault(search["searcher_row"], []).append(click)
    found, filled = documents_of(features, side), 0
    for row, search in enumerate(searches):
        before = search["searched_at"] if side == LATEST else session_from[search["session_row"]]
        if side == LATEST and search["split"] == "train" and search["searched_at"] < cut:
            before = datetime.min
        earlier = sorted(click for click in clicks.get(search["searcher_row"], []) if click[0] < before)
        expected = [ids[document] for _, _, document in earlier if document in trained][-3:]
        assert found[row] == expected
        filled += bool(expected)
    assert filled > 50


def test_a_list_leaves_out_what_its_searcher_clicks_later(tmp_path: Path) -> None:
    log, files = extracted(tmp_path)
    features = featurised(log, {**CLICKED, "column": "groups"}, files)
    assert documents_of(features, "searches") == [
        ["hat"],  # ann clicks the shoe in the test, and the boot in the validation
        ["hat"],
        ["sock"],  # and no document is named nowhere
        ["boot", "boot"],
        ["hat", "boot"],
        [],
        ["hat", "sock"],
        [],
        ["hat"],  # a search without a searcher clicks the boot itself
    ]
    assert list_counts(features) == {"groups": (17, 1, 6)}
    check, note = history_checks(log, features, ("train",))
    assert (check["check"], check["status"]) == ("listed before", "clean")
    assert note["says"].startswith("6 of 17 documents in searches.groups are left out")
    corpus = with_own_pairs(read_corpus(log, features, Arm()), log, features)
    assert corpus.own is not None
    assert corpus.own.listed == ("before",)
    assert not corpus.own.change_documents


@pytest.mark.parametrize("group", [CLICKED, {**CLICKED, "column": "groups"}])
def test_a_history_that_knows_too_much_is_a_leak(tmp_path: Path, group: dict[str, Any]) -> None:
    log, files = extracted(tmp_path)
    features = featurised(log, group, files if "column" in group else None)
    assert history_checks(log, features, ("train",))[0]["status"] == "clean"
    known = read_fitted(features).history_documents("before")
    ids = np.load(features.folder / "before.searches.ids.npy")
    row = int(np.load(features.folder / "before.searches.offsets.npy")[2 if "column" in group else 6])
    ids[row] = known.index("shoe" if "column" in group else "boot")  # of the test; of the validation
    np.save(features.folder / "before.searches.ids.npy", ids)
    assert history_checks(log, features, ("train",))[0]["status"] == "leak"


def test_without_a_history_the_group_is_refused(tmp_path: Path) -> None:
    log, files = extracted(tmp_path)
    features = Arm.model_validate({"groups": {"before": {**CLICKED, "column": "query"}}}).features
    columns = extract_columns.fn(files, log, contents_of(files), features)
    with pytest.raises(InputError, match=r"groups.before: searches.query lists no document of this log"):
        check_features(log, features, columns)
    anonymous = "\n".join(line.replace(",ann,", ",,").replace(",bob,", ",,") for line in SEARCHES.splitlines())
    files = small_log(tmp_path / "anonymous", searches=anonymous, results=RESULTS, documents=DOCUMENTS)
    log = extract.fn(files, SPLIT, contents_of(files))
    with pytest.raises(InputError, match=r"groups.before: no search .* has a searcher_id and an earlier session"):
        check_features(log, Arm.model_validate({"groups": {"before": CLICKED}}).features, None)


def test_clicks_need_a_split_by_time(tmp_path: Path) -> None:
    parts = ["train", "train", "train", "train", "train", "validation", "train", "test", "test"]
    lines = SEARCHES.splitlines()
    text = "\n".join([f"{lines[0]},part", *(f"{line},{part}" for line, part in zip(lines[1:], parts, strict=True))])
    files = small_log(tmp_path, searches=text, results=RESULTS, documents=DOCUMENTS)
    log = extract.fn(files, Split(by="part"), contents_of(files))
    with pytest.raises(InputError, match=r"groups.before: a history of clicks ends with the training window, but"):
        check_features(log, Arm.model_validate({"groups": {"before": CLICKED}}).features, None)


@pytest.mark.parametrize("shared", [True, False])
def test_the_query_tower_knows_what_the_evaluation_knew(world: Log, shared: bool) -> None:
    group = {**CLICKED, "half_life_days": 2, "newest": 4, "shared": shared}
    arm = Arm.model_validate({**SMALL, "groups": {"before": group}})
    features = featurise.fn(world, arm.features)
    test = sample.fn(world, "test", 60, 1)
    towers = train_arm.fn(world, features, sample.fn(world, "validation", 50, 1), arm, 0)
    vectors = {
        side: np.load(embed_texts.fn(features, towers, test, 1, side).folder / "queries.npy")
        for side in ("searches", LATEST)
    }
    assert not np.array_equal(*vectors.values())
    model = load_towers(towers.folder)
    assert query_columns(model) == ["history"]
    table = pq.read_table(world.folder / "searches.parquet").take(
        pq.read_table(test.folder / "searches.parquet")["search_row"]
    )
    queries = pq.read_table(world.folder / "queries.parquet")["query"].take(table["query_row"]).combine_chunks()
    ids = pq.read_table(world.folder / "searchers.parquet")["searcher_id"].take(table["searcher_row"]).to_pylist()
    rows = searcher_rows(model, np.array([identity.encode() for identity in ids], np.bytes_))
    np.testing.assert_allclose(embed_queries(model, queries, rows), vectors["searches"], atol=1e-5)

    known = read_fitted(features).history_documents("before")
    one, nobody = queries[:1], np.array([-1], np.int32)
    given = pa.array([["unknown", *known[:3], "unknown", known[7], known[8]]])
    first = embed_queries(model, one, nobody, {"history": given})
    newest = embed_queries(model, one, rows[:1], {"history": pa.array([[known[1], known[2], known[7], known[8]]])})
    np.testing.assert_allclose(first, newest, atol=1e-6)
    plain = embed_queries(model, one)
    assert not np.allclose(plain, first)
    np.testing.assert_array_equal(embed_queries(model, one, rows[:1], {"history": pa.array([["unknown"]])}), plain)


def test_the_bags_are_empty_for_what_nobody_has(tmp_path: Path) -> None:
    log, _ = extracted(tmp_path)
    features = featurised(log, CLICKED)
    weights = read_bags(features, "before", "searches").weights
    assert np.isfinite(weights).all()

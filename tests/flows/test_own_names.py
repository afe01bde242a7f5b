"""The user's own names of columns: an experiment that writes them is the experiment with the layout's names, and models
answer to both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from rich.console import Console

from data.column_names import ambiguous_names, own_names
from data.experiment.experiment_file import load_experiment
from data.experiment.experiment_spec import Experiment
from ebr_core.errors import InputError
from ebr_core.serving.known_context import unknown_context
from ebr_core.serving.model_bundle import Bundle, open_bundle
from ebr_core.serving.own_data import OwnSettings, read_own_data
from ebr_core.serving.query_answer import answer, unknown_in_condition
from ebr_core.serving.search_query import SearchQuery
from ebr_core.text.bm25_config import Bm25
from flows.app.batch_file import answer_file
from flows.app.check import describe_experiment
from flows.app.model_search import export_vectors
from flows.evaluated_lists import slice_searches
from flows.sources import Source, extract_log, with_own_data
from tasks.bm25_stages import tune_bm25
from tasks.bundle_stages import tabulate
from tasks.hybrid_stages import retrieve_hybrid
from tasks.log_stages import sample
from tasks.own_slices import read_own_slices
from tasks.retrieved import load_retrieved
from tests.bundles import KINDS, PRICES, SERVED, TITLES, make_bundle, with_own_columns
from tests.csv_experiments import write_csv_experiment

TOWNS, SORTS = ("Lyon", "Bonn", ""), ("shoe", "hat", "lamp", "pen")
N, S, K = 12, 60, 6
COLUMNS = {
    "document_id": "sku",
    "searched_at": "ts",
    "query": "Q",
    "searches": {"city": "town", "searcher_id": "user"},
    "documents": {"title": "name", "kind": "Sort", "city": "ort"},
}
ROWS: dict[str, list[dict[str, Any]]] = {
    "documents": [
        {"sku": f"d{i:02}", "name": f"thing {i} {SORTS[i % 4]}", "Sort": SORTS[i % 4], "ort": TOWNS[i % 3], "price": i}
        for i in range(N)
    ],
    "searches": [
        {"search_id": s, "ts": f"2024-02-{1 + s // 4:02} {10 + s % 4}:00:00", "Q": f"thing {s % N}",
         "town": TOWNS[s % 3], "user": f"u{s % 7}", "device": ["phone", ""][s % 2]}
        for s in range(S)
    ],
    "results": [
        {"search_id": s, "sku": f"d{(s + step) % N:02}", "clicked": str(step == 0).lower()}
        for s in range(S) for step in range(3)
    ],
}  # fmt: skip


def _write(folder: Path, **sections: Any) -> Path:
    """An experiment on the log above, whose columns have the user's names."""
    split = {"test_from": "2024-02-12", "validation_from": "2024-02-10"}
    return write_csv_experiment(folder, ROWS, split, {"columns": COLUMNS}, sections)


def _sections(own: bool) -> dict[str, Any]:
    """What names columns, by the user's names or by the layout's."""
    sku, sort, town, ort = ("SKU", "sort", "town", "ort") if own else ("document_id", "kind", "city", "city")
    means = {"column": ort, "means": town}
    return {
        "evaluation": {"slices": [town if own else "searches.city", sort], "ks": [1, 3], "main_k": 3},
        "serving": {"show": [sku, sort, "price"]},
        "retrievals": {"r": {"terms": "any", "where": f"{sort} IN (shoe, hat) AND NOT {sku} = d04"}},
        "arms": {"a": {"groups": {"place": {"kind": "values", "searches": [town], "documents": [means]},
                                  "sort": {"kind": "values", "documents": [sort]}}}},
    }  # fmt: skip


def _read(folder: Path, own: bool) -> tuple[Experiment, Source]:
    folder.mkdir()
    spec = load_experiment(_write(folder, **_sections(own)))
    return spec, with_own_data(spec, extract_log(spec))


def test_an_experiment_may_write_either_name(tmp_path: Path) -> None:
    """The same arms, lists, slices and bundles; slices and results bear the names as they were written."""
    (own, by_own), (standard, by_standard) = _read(tmp_path / "own", True), _read(tmp_path / "standard", False)
    assert own.arms["a"].model_dump() == standard.arms["a"].model_dump()
    assert own.arms["a"].features.columns("documents") == ["city", "kind"]
    test = sample.fn(by_own.log, "test", 100, 1)
    bm25 = tune_bm25.fn(by_own.log, None, Bm25(k1=1.2, b=0.75), 3)
    lists = []
    for spec, source in ((own, by_own), (standard, by_standard)):
        made = load_retrieved(
            retrieve_hybrid.fn(
                *(source.log, test, bm25, spec.retrievals["r"], K, 1), own_names=source.own.own_names["documents"]
            )
        )
        assert not isinstance(made, str)
        lists.append(made.rows)
    ids = pq.read_table(by_own.log.folder / "documents.parquet")["document_id"].to_pylist()
    found = {ids[row] for row in lists[0].ravel().tolist() if row >= 0}
    assert found == {row["sku"] for row in ROWS["documents"] if row["Sort"] in ("shoe", "hat") and row["sku"] != "d04"}
    assert (lists[0] == lists[1]).all()

    slices = [read_own_slices(slice_searches(source, test), "clicked") for source in (by_own, by_standard)]
    assert [list(part) for part in slices] == [["town", "Sort"], ["city", "documents.kind"]]
    for mine, layouts in zip(slices[0].values(), slices[1].values(), strict=True):
        assert mine.labels == layouts.labels
        assert mine.codes.tolist() == layouts.codes.tolist()

    names = by_own.own.own_names
    assert names["documents"] == {"sku": "document_id", "name": "title", "Sort": "kind", "ort": "city"}
    assert names["searches"] == {"ts": "searched_at", "Q": "query", "town": "city", "user": "searcher_id"}
    settings = [
        read_own_data(
            tabulate.fn(
                *(source.log, test, bm25, source.own.documents, source.own.places, spec.serving, source.own.own_names)
            ).folder
        ).settings
        for spec, source in ((own, by_own), (standard, by_standard))
    ]
    assert [part.show for part in settings] == [("sku", "Sort", "price"), ("document_id", "kind", "price")]
    assert settings[0].document_names == names["documents"]


def test_messages_and_check_speak_the_names_of_the_files(tmp_path: Path) -> None:
    path = _write(tmp_path, serving={"show": ["nam"]}, retrievals={"r": {"terms": "any", "where": "sort = shoez"}})
    with pytest.raises(InputError, match=r"serving\.show: no column 'nam'\. Documents have Sort, ort, price"):
        with_own_data(load_experiment(path), extract_log(load_experiment(path)))
    text = describe_experiment(_write(tmp_path, retrievals={"r": {"terms": "any", "where": "sort = shoez"}}))
    assert "retrievals.r.where: sort: no document has 'shoez'; similar: shoe" in text
    (line,) = (line for line in text.splitlines() if "columns that nothing reads" in line)
    assert "searches: town, device; documents: ort, price." in line


def test_a_column_under_both_of_its_names_is_refused(tmp_path: Path) -> None:
    groups = {"place": {"kind": "values", "searches": ["town", "city"]}}
    with pytest.raises(InputError, match=r"arms\.a\.groups\.place\.searches: town is your name of city"):
        load_experiment(_write(tmp_path, arms={"a": {"groups": groups}}))


def test_a_name_that_is_also_the_layouts_means_the_layouts(tmp_path: Path) -> None:
    columns = {**COLUMNS, "documents": {"title": "name", "kind": "city", "city": "ort"}}
    path = _write(tmp_path)
    content = yaml.safe_load(path.read_text())
    content["logs"]["columns"] = columns
    path.write_text(yaml.safe_dump(content))
    logs = load_experiment(path).logs
    assert own_names(logs, "documents") == {"sku": "document_id", "name": "title", "ort": "city"}
    (sentence,) = ambiguous_names(logs)
    assert sentence.startswith("logs.columns reads your city as kind; wherever else a column is named, city means")


def test_layouts_with_names_of_their_own_take_those(tmp_path: Path) -> None:
    logs = {"layout": "beir", "corpus": "c.jsonl", "queries": "q.jsonl", "test_qrels": "t.tsv"}
    (tmp_path / "b.yaml").write_text(yaml.safe_dump({"logs": {**logs, "columns": {"corpus": {"title": "name"}}}}))
    read = load_experiment(tmp_path / "b.yaml").logs
    assert own_names(read, "documents") == {"_id": "document_id", "text": "body", "name": "title"}
    assert own_names(read, "searches") == {"_id": "search_id", "text": "query"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    settings = OwnSettings(
        show=("Sort", "Price"),
        document_names={"sku": "document_id", "Sort": "kind", "name": "title"},
        search_names={"town": "city", "q": "query", "user": "searcher_id"},
    )
    folder = make_bundle(tmp_path_factory.mktemp("own") / "one")
    return open_bundle(with_own_columns(folder, {"arm": "hand", "seed": 0, **SERVED}, settings))


def test_a_model_answers_to_both_names(bundle: Bundle) -> None:
    for where in ("SORT = person AND sku != d1", "kind = person AND document_id != d1"):
        hits = answer(bundle, SearchQuery(query="walks smith", k=9, where=where))
        assert {hit.document_id for hit in hits} == {"d0", "d2"}
        assert {hit.document_id: hit.shown for hit in hits} == {
            f"d{row}": {"Sort": KINDS[row], "Price": PRICES[row]} for row in (0, 2)
        }
    shown = answer(bundle, SearchQuery(query="walks", k=9, show=["SKU", "kind", "name"]))
    assert shown
    for hit in shown:
        row = int(hit.document_id[1:])
        assert hit.shown == {"sku": f"d{row}", "kind": KINDS[row], "name": TITLES[row]}
    by_field = answer(bundle, SearchQuery(query="walks", k=9, fields={"Town": "Lyon"}))
    assert by_field == answer(bundle, SearchQuery(query="walks", k=9, city="Lyon"))
    assert by_field != answer(bundle, SearchQuery(query="walks", k=9))
    with pytest.raises(InputError, match="town: it is city under your name"):
        answer(bundle, SearchQuery(query="walks", city="Bonn", fields={"town": "Lyon"}))


def test_remarks_and_refusals_have_the_users_names(bundle: Bundle) -> None:
    query = SearchQuery(query="walks", where="sort = persn", fields={"town": "Nowhere-on-sea"})
    assert unknown_in_condition(bundle, query) == ["sort: no document has 'persn'; similar: person"]
    assert any("'Nowhere-on-sea'" in remark for remark in unknown_context(bundle, query))
    with pytest.raises(InputError, match=r"no column 'srt'.*there are sku, Sort, city"):
        answer(bundle, SearchQuery(query="walks", where="srt = person"))


def test_files_of_queries_may_have_either_names(bundle: Bundle, tmp_path: Path) -> None:
    values = {"q": ["walks", "smith"], "town": ["Lyon", None]}
    pq.write_table(pa.table(values), tmp_path / "own.parquet")
    pq.write_table(pa.table({"query": values["q"], "city": values["town"]}), tmp_path / "standard.parquet")
    for name in ("own", "standard"):
        answer_file(
            bundle, tmp_path / f"{name}.parquet", tmp_path / f"{name}-out.parquet", {"k": 9}, Console(quiet=True)
        )
        export_vectors(bundle, tmp_path / f"{name}-vectors", tmp_path / f"{name}.parquet", ["sort"])
    own, standard = (pq.read_table(tmp_path / f"{name}-out.parquet") for name in ("own", "standard"))
    assert own.drop_columns(["q", "town"]).equals(standard.drop_columns(["query", "city"]))
    assert set(own["problem"].to_pylist()) == {None}
    documents, queries = (
        [pq.read_table(tmp_path / f"{name}-vectors" / f"{side}.parquet") for name in ("own", "standard")]
        for side in ("documents", "queries")
    )
    assert documents[0].equals(documents[1])
    assert queries[0].equals(queries[1])
    assert documents[0].column_names == ["document_id", "title", "vector", "Sort"]
    assert documents[0]["Sort"].to_pylist() == KINDS
    pq.write_table(pa.table({"text": ["walks"]}), tmp_path / "none.parquet")
    with pytest.raises(InputError, match="no column query nor q, your name of it"):
        export_vectors(bundle, tmp_path / "no", tmp_path / "none.parquet")


def test_check_says_it_in_the_users_words(tmp_path: Path) -> None:
    """Places, the columns that models hold, and a list whose columns are named as those of the log."""
    folder = tmp_path / "own"
    folder.mkdir()
    lines = ["Q,sku,rank", *(f"thing {i},d{i:02},1" for i in range(N))]
    (folder / "production.csv").write_text("\n".join(lines) + "\n")
    sections = _sections(True) | {"lists": {"production": "production.csv"}}
    sections["arms"]["hard"] = {"positives": {"hard_share": 0.9}}
    text = describe_experiment(_write(folder, **sections))
    assert f"places: {S * 2 // 3} of {S} searches have one, by town and country" in text
    assert f"places: {N * 2 // 3} of {N} documents have one, by ort and country" in text
    assert "models hold price of the documents, 0.0 MB (serving.columns chooses others)" in text
    assert f"list production: {N} of {N} rows match the log" in text
    assert "hard cannot be trained: positives.hard_share 0.9 of " in text
    assert "these logs have no hard positives" in text

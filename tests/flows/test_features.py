"""Features from a log to the towers: groups end to end, columns outside the layout, refusals, and leaks."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from rich.console import Console

from data.experiment.experiment_file import load_experiment
from data.experiment.experiment_spec import Experiment
from data.experiment.log_config import Simulated, Split, Tables
from ebr_core.errors import InputError
from ebr_core.search.index_specs import Exact
from ebr_core.serving.model_bundle import open_bundle
from ebr_core.serving.query_answer import answer
from ebr_core.serving.query_towers import embed_query_table
from ebr_core.serving.search_query import SearchQuery, queries_as_table
from ebr_core.text.bm25_config import Bm25
from ebr_core.towers.checkpoint import embed_queries, load_towers, query_columns, searcher_rows
from ebr_core.towers.vector_config import Graph
from ebr_core.training.arm_config import Arm
from flows.app.batch_file import AnsweredFile, answer_file
from flows.app.check import describe_experiment
from flows.app.cli import explain
from flows.app.search_options import read_fields
from flows.leaking_models import leak_of, leaking_models
from tasks.artifacts import Artifact
from tasks.bm25_stages import tune_bm25
from tasks.bundle_stages import bundle, tabulate
from tasks.feature_stages import extract_columns, featurise, needs_columns, read_bags, read_inputs
from tasks.fusion_stages import choose_mode, choose_weights_of_fusion, rank_terms, retrieve_fused
from tasks.graph_stage import embed_graph, leak_remark, read_edges
from tasks.hybrid_stages import calibrate_radius
from tasks.log_stages import contents_of, extract, sample, simulate_log
from tasks.retrieval_stages import build_index, embed_texts, retrieve
from tasks.training_inputs import read_corpus, with_own_pairs, with_titles
from tasks.training_stages import train_arm

SMOKE = Path(__file__).parent.parent.parent / "experiments" / "smoke.yaml"
PLACE = {"kind": "values", "searches": ["city", "country"], "documents": ["city", "country"]}
FRIENDS = {"kind": "graph", "dimensions": 16, "epochs": 1}
SMALL = {"towers": {"dimensions": 16}, "training": {"epochs": 1, "batch_size": 256}}


@pytest.fixture(scope="module")
def log() -> Artifact:
    experiment = load_experiment(SMOKE)
    assert isinstance(experiment.logs, Simulated)
    files = experiment.logs.tables(simulate_log.fn(experiment.logs.world).folder)
    return extract.fn(files, experiment.split, contents_of(files))


@pytest.mark.parametrize("fusion", ["additive", "mlp"])
def test_all_groups_go_from_the_log_to_vectors_and_to_the_query_tower(log: Artifact, fusion: str) -> None:
    arm = Arm.model_validate(
        {**SMALL, "towers": {"dimensions": 16, "fusion": fusion}, "groups": {"place": PLACE, "friends": FRIENDS}}
    )
    graphs = {"friends": embed_graph.fn(log, arm.features.graphs["friends"])}
    features = featurise.fn(log, arm.features, graphs)
    validation, test = sample.fn(log, "validation", 100, 1), sample.fn(log, "test", 50, 1)
    towers = train_arm.fn(log, features, validation, arm, 0)
    weights = json.loads((towers.folder / "weights.json").read_text())
    epochs = json.loads((towers.folder / "epochs.json").read_text())
    assert ("weight.query.friends" in epochs[0]) == ("query.friends" in weights) == (fusion == "additive")
    vectors = embed_texts.fn(features, towers, test, 1)
    queries, documents = (np.load(vectors.folder / f"{side}.npy") for side in ("queries", "documents"))
    assert len(documents) == pq.read_metadata(log.folder / "documents.parquet").num_rows
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-5)

    model = load_towers(towers.folder)
    assert query_columns(model) == ["city", "country"]
    rows = pq.read_table(test.folder / "searches.parquet").to_pylist()
    searches = pq.read_table(log.folder / "searches.parquet").to_pylist()
    texts = pq.read_table(log.folder / "queries.parquet")["query"].to_pylist()
    searchers = pq.read_table(log.folder / "searchers.parquet")["searcher_id"].to_pylist()
    sampled = [searches[row["search_row"]] for row in rows]
    query_texts = pa.array([texts[search["query_row"]] for search in sampled])
    ids = np.array([searchers[search["searcher_row"]].encode() for search in sampled], np.bytes_)
    columns = {name: pa.array([search[name] for search in sampled], pa.string()) for name in ("city", "country")}
    np.testing.assert_allclose(
        embed_queries(model, query_texts, searcher_rows(model, ids), columns), queries, atol=1e-5
    )
    assert embed_queries(model, query_texts).shape == queries.shape


def test_the_graph_reads_no_edge_from_after_the_cut(log: Artifact) -> None:
    cut = json.loads((log.folder / "report.json").read_text())["cuts"]["validation_from"].rstrip("Z")
    edges = pq.read_table(log.folder / "edges.parquet").to_pylist()
    edges_before = [edge for edge in edges if edge["created_at"].isoformat() < cut]
    assert 0 < len(edges_before) < len(edges)
    assert len(read_edges(log, Graph())) <= len(edges_before)
    with pytest.raises(InputError, match=r"no edge of kind listen.*there are .*friend"):
        read_edges(log, Graph(edges=("listen",)))


def test_clicked_queries_are_those_of_the_training_window(log: Artifact) -> None:
    plain = featurise.fn(log, Arm().features)
    wider = featurise.fn(log, Arm.model_validate({"text": {"clicked_queries": True}}).features)
    searches = {row["search_row"]: row for row in pq.read_table(log.folder / "searches.parquet").to_pylist()}
    clicked: dict[int, set[int]] = {}
    for row in pq.read_table(log.folder / "results.parquet").to_pylist():
        if row["clicked"] and searches[row["search_row"]]["split"] == "train":
            clicked.setdefault(row["document_row"], set()).add(searches[row["search_row"]]["query_row"])
    queries = read_bags(plain, "text", "searches")
    plain_bags, wider_bags = (read_bags(features, "text", "documents") for features in (plain, wider))
    for document in range(len(plain_bags)):
        expected = np.diff(plain_bags.offsets)[document] + sum(
            np.diff(queries.offsets)[q] for q in clicked.get(document, set())
        )
        assert np.diff(wider_bags.offsets)[document] == expected
    assert len(wider_bags.ids) > len(plain_bags.ids)


def test_what_a_pair_knows_of_itself_is_that_of_its_session(log: Artifact) -> None:
    arm = Arm.model_validate({"text": {"clicked_queries": True}, "groups": {"clicks": {**FRIENDS, "clicks": True}}})
    graph = arm.features.graphs["clicks"]
    features = featurise.fn(log, arm.features, {"clicks": embed_graph.fn(log, graph)})
    corpus = with_own_pairs(read_corpus(log, features, arm), log, features)
    searches = pq.read_table(log.folder / "searches.parquet").to_pylist()
    sessions: dict[tuple[int, int], set[int]] = {}
    clicks: Counter[tuple[int, int, int]] = Counter()
    edges: Counter[frozenset[tuple[str, int]]] = Counter()
    for row in pq.read_table(log.folder / "results.parquet").to_pylist():
        search, document = searches[row["search_row"]], row["document_row"]
        if row["clicked"] and search["split"] == "train":
            sessions.setdefault((document, search["query_row"]), set()).add(search["session_row"])
            if search["searcher_row"] is not None:
                clicks[search["session_row"], document, search["searcher_row"]] += 1
    assert corpus.own is not None
    queries, own_edges = corpus.own.queries, corpus.own.edges["clicks"]
    assert queries is not None
    n = corpus.inputs.documents
    expected = sorted((min(of), document, query) for (document, query), of in sessions.items() if len(of) == 1)
    assert 0 < len(expected) < len(sessions)
    assert list(zip(*np.divmod(queries.keys, n), queries.queries, strict=True)) == expected
    by_document = [queries.clicked[queries.offsets[d] : queries.offsets[d + 1]].tolist() for d in range(n)]
    assert [(d, q) for d, known in enumerate(by_document) for q in known] == sorted(sessions)
    assert list(zip(*np.divmod(own_edges.keys, n), own_edges.searchers, strict=True)) == sorted(clicks)
    assert own_edges.clicks.tolist() == [clicks[key] for key in sorted(clicks)]
    for edge in read_edges(log, graph).to_pylist():
        ends = frozenset((edge[f"{end}_type"], edge[f"{end}_row"]) for end in ("source", "target"))
        edges[ends] += edge["weight"]
    weights = [edges[frozenset([("searcher", u), ("document", d)])] for _, d, u in sorted(clicks)]
    assert own_edges.weights.tolist() == weights


def test_titles_of_the_training_window_stand_for_queries(log: Artifact) -> None:
    features = featurise.fn(log, Arm().features)
    corpus = with_titles(read_corpus(log, features, Arm()), log, features)
    documents = pq.read_table(log.folder / "documents.parquet").to_pylist()
    assert corpus.titles is not None
    rows, groups = corpus.titles.documents.tolist(), corpus.titles.groups.tolist()
    assert 0 < len(rows) < len(documents)
    assert rows == [row for row in corpus.trainable if documents[row]["title"].strip()]
    titles = [documents[row]["title"].strip().lower() for row in rows]
    group_of = dict(zip(titles, groups, strict=True))
    assert [group_of[title] for title in titles] == groups
    assert len(set(groups)) == len(group_of)
    made = [corpus.titles.queries(np.array([0, 5, 5], np.int32), seed) for seed in (1, 1, 2)]
    assert all(len(bags) == 3 for bags in made)
    np.testing.assert_array_equal(made[0].ids, made[1].ids)
    assert made[0].ids.tolist() != made[2].ids.tolist()


def test_all_that_pairs_leave_out_and_titles_go_together(log: Artifact) -> None:
    arm = Arm.model_validate(
        {
            **SMALL,
            "text": {"clicked_queries": True, "remainders": 1024},
            "groups": {"clicks": {**FRIENDS, "clicks": True}, "place": PLACE},
            "positives": {"titles": 0.3},
            "typos": {"share": 0.3, "teaching": 1},
            "negatives": {"random": 20, "in_batch": "all", "memory": 100, "impressions": 1},
            "loss": {"kind": "softmax", "logq": 1},
            "training": {"epochs": 2, "batch_size": 256, "window": 65_536},
        }
    )
    features = featurise.fn(log, arm.features, {"clicks": embed_graph.fn(log, arm.features.graphs["clicks"])})
    towers = train_arm.fn(log, features, sample.fn(log, "validation", 50, 1), arm, 0)
    epochs = json.loads((towers.folder / "epochs.json").read_text())
    assert epochs[1]["loss"] < epochs[0]["loss"]
    assert epochs[1]["validation_recall"] > 0


def _searched(i: int) -> str:
    return f"{i},2024-01-{1 + i:02},word{i % 5},{'ann' if i % 2 else 'bob'},{'tv' if i % 3 else 'phone'}"


def _shown(i: int) -> str:
    return f"{i},d{i % 8},true\n{i},d{(i + 1) % 8},false"


def _document(i: int) -> str:
    size = "big" if i % 2 else "small"
    return f'd{i},word{i % 5},b{i % 3},{10 * i},x,"[""red"",""{size}""]"'


LOGS = {
    "searches": ["search_id,searched_at,query,searcher_id,device", *(_searched(i) for i in range(24))],
    "results": ["search_id,document_id,clicked", *(_shown(i) for i in range(24))],
    "documents": ["document_id,title,brand,price,same,tags", *(_document(i) for i in range(8))],
    "edges": ["source_id,target_id,source_type,target_type,kind", "ann,bob,searcher,searcher,friend"],
}


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    for name, lines in LOGS.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return Tables(layout="tables", **{name: str(tmp_path / f"{name}.csv") for name in LOGS})


def features_of(tables: Tables, groups: dict[str, Any]) -> tuple[Artifact, Arm]:
    arm = Arm.model_validate({"groups": groups})
    log = extract.fn(tables, Split(), contents_of(tables))
    columns = (
        extract_columns.fn(tables, log, contents_of(tables), arm.features) if needs_columns(arm.features) else None
    )
    graphs = {name: embed_graph.fn(log, graph) for name, graph in arm.features.graphs.items()}
    return featurise.fn(log, arm.features, graphs, columns), arm


def test_any_column_of_the_log_can_be_a_feature(tables: Tables) -> None:
    groups = {
        "brand": {"kind": "values", "documents": ["brand"]},
        "tags": {"kind": "values", "documents": ["tags"]},
        "price": {"kind": "numbers", "documents": ["price"], "buckets": 2},
        "device": {"kind": "values", "searches": ["device"]},
    }
    features, arm = features_of(tables, groups)
    fitted = json.loads((features.folder / "known.json").read_text())
    assert fitted["brand"] == {"brand": ["b0", "b1", "b2"]}
    assert fitted["tags"] == {"tags": ["big", "red", "small"]}
    assert fitted["device"] == {"device": ["phone", "tv"]}
    inputs = read_inputs(features, arm.towers)
    log = extract.fn(tables, Split(), contents_of(tables))
    rows = {
        row["document_id"]: row["document_row"] for row in pq.read_table(log.folder / "documents.parquet").to_pylist()
    }
    brands, prices, tags = (read_bags(features, name, "documents") for name in ("brand", "price", "tags"))
    for i in range(8):
        row = rows[f"d{i}"]
        assert brands.ids[brands.offsets[row] : brands.offsets[row + 1]].tolist() == [i % 3]
        assert prices.ids[prices.offsets[row]] == int(10 * i >= fitted["price"]["price"][0])
        assert sorted(tags.ids[tags.offsets[row] : tags.offsets[row + 1]].tolist()) == ([0, 1] if i % 2 else [1, 2])
    assert list(inputs.groups) == ["text", *groups]
    assert not len(read_bags(features, "brand", "searches").ids)


def test_an_arm_that_reads_columns_of_its_own_is_bundled_and_asked(tables: Tables, tmp_path: Path) -> None:
    """In every mode the answers to the searches of the test, with their fields, are the rows' lists."""
    groups = {"device": {"kind": "values", "searches": ["device"]}}
    arm = Arm.model_validate({**SMALL, "groups": groups, "towers": {"dimensions": 16, "query_vectors": 2}})
    log = extract.fn(tables, Split(), contents_of(tables))
    columns = extract_columns.fn(tables, log, contents_of(tables), arm.features)
    features = featurise.fn(log, arm.features, {}, columns)
    validation, test = sample.fn(log, "validation", 100, 1), sample.fn(log, "test", 50, 1)
    towers = train_arm.fn(log, features, validation, arm, 0)
    parts, bm25 = [], tune_bm25.fn(log, validation, Bm25(), 3)
    for part in (validation, test):
        vectors = embed_texts.fn(features, towers, part, 1)
        parts.append((part, rank_terms.fn(log, part, bm25, 100), vectors, build_index.fn(vectors, part, Exact(), 1)))
    fusion = choose_weights_of_fusion.fn(*parts[0], 3, 1)
    lists = {
        "ebr": [retrieve.fn(vectors, index, part, 5, 1) for part, _, vectors, index in parts],
        "hybrid": [retrieve_fused.fn(*part, 5, 1) for part in parts],
        "weighted": [retrieve_fused.fn(*part, 5, 1, fusion) for part in parts],
    }
    mode = choose_mode.fn(validation, {name: both[0] for name, both in lists.items()}, 3)
    radius, content = calibrate_radius.fn(parts[0][2], validation, 1), tabulate.fn(log, test, bm25)
    facts = (None, [columns], fusion, mode, "device", 0, (1, 5))
    opened = open_bundle(bundle.fn(content, test, [towers], *parts[1][2:], radius, *facts).folder)
    assert opened.fields == ("device",)
    documents = pq.read_table(log.folder / "documents.parquet")["document_id"].to_pylist()
    searches = pq.read_table(log.folder / "searches.parquet").to_pylist()
    texts = pq.read_table(log.folder / "queries.parquet")["query"].to_pylist()
    devices = pq.read_table(columns.folder / "searches.parquet")["device"].to_pylist()
    rows = pq.read_table(test.folder / "searches.parquet")["search_row"].to_pylist()
    queries = [texts[searches[row]["query_row"]] for row in rows]
    for name, (_, retrieved) in lists.items():
        expected = np.load(retrieved.folder / "retrieved.npy")
        for at, row in enumerate(rows):
            query = SearchQuery(query=queries[at], k=5, mode=name, fields={"device": devices[row][0]})
            ids = [hit.document_id for hit in answer(opened, query)]
            assert ids == [documents[document] for document in expected[at].tolist() if document >= 0]
    with pytest.raises(InputError, match=r"fields: device reads no colour; the fields are device"):
        answer(opened, SearchQuery(query="word1", k=3, fields=read_fields(["colour=red"])))
    with pytest.raises(InputError, match="expected a name and a value"):
        read_fields(["device"])
    with_device, without = (
        embed_query_table(opened.towers, queries_as_table([SearchQuery(query="word1", fields=fields)], opened.fields))
        for fields in ({"device": "tv"}, {})
    )
    assert not np.allclose(with_device, without)
    pq.write_table(pa.table({"query": ["word1"] * 2, "device": ["tv", None], "other": [1, 2]}), tmp_path / "in.parquet")
    files = tmp_path / "in.parquet", tmp_path / "out.parquet"
    assert answer_file(opened, *files, {"k": 5}, Console(quiet=True)) == AnsweredFile(2, 0)
    answered = pq.read_table(tmp_path / "out.parquet").to_pylist()
    for at, fields in enumerate(({"device": "tv"}, {})):
        hits = answer(opened, SearchQuery(query="word1", k=5, fields=fields))
        cosines = [row["cosine"] for row in answered if row["query_row"] == at]
        assert cosines == pytest.approx([hit.cosine for hit in hits])


def test_an_arm_that_reads_own_columns_of_documents_alone_is_bundled(tables: Tables) -> None:
    groups = {"brand": {"kind": "values", "documents": ["brand"]}}
    arm = Arm.model_validate({**SMALL, "groups": groups})
    log = extract.fn(tables, Split(), contents_of(tables))
    columns = extract_columns.fn(tables, log, contents_of(tables), arm.features)
    features = featurise.fn(log, arm.features, {}, columns)
    validation, test = sample.fn(log, "validation", 100, 1), sample.fn(log, "test", 50, 1)
    towers, bm25 = train_arm.fn(log, features, validation, arm, 0), tune_bm25.fn(log, validation, Bm25(), 3)
    vectors = embed_texts.fn(features, towers, validation, 1)
    index, terms = build_index.fn(vectors, validation, Exact(), 1), rank_terms.fn(log, validation, bm25, 100)
    fusion = choose_weights_of_fusion.fn(validation, terms, vectors, index, 3, 1)
    mode = choose_mode.fn(validation, {"ebr": retrieve.fn(vectors, index, validation, 5, 1)}, 3)
    served = embed_texts.fn(features, towers, test, 1)
    content = (served, build_index.fn(served, test, Exact(), 1), calibrate_radius.fn(vectors, validation, 1))
    facts = (None, [columns], fusion, mode, "brand", 0, (1, 5))
    opened = open_bundle(bundle.fn(tabulate.fn(log, test, bm25), test, [towers], *content, *facts).folder)
    assert opened.fields == ()
    assert len(answer(opened, SearchQuery(query="word1", k=3))) == 3


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"g": {"kind": "values", "documents": ["brnd"]}}, r"groups name a column of the documents.*no column 'brnd'"),
        ({"g": {"kind": "values", "documents": ["same"]}}, r"documents\.same holds the value 'x' alone"),
        ({"g": {"kind": "values", "documents": ["title"]}}, r"documents\.title holds 5 different values in 8"),
        ({"g": {"kind": "numbers", "documents": ["brand"]}}, r"documents\.brand.*Expected numbers"),
        ({"g": {"kind": "graph"}}, r"none of the 1 edges has a date.*undated_edges: true"),
        ({"g": {"kind": "graph", "undated_edges": True}}, "the graph knows no document"),
        ({"g": {"kind": "graph", "edges": ["foe"]}}, "no edge of kind foe before the cut-off; there are friend"),
    ],
)
def test_an_impossible_feature_is_reported_by_training_and_by_check(
    tables: Tables, groups: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        features_of(tables, groups)
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump({"logs": tables.model_dump(), "arms": {"odd": {"groups": groups}}}))
    report = describe_experiment(path)
    assert "odd cannot be trained: " in report


def test_undated_edges_are_a_leak_if_they_repeat_the_test(tmp_path: Path) -> None:
    """Listens repeat the clicks of the test: a leak. Friendships repeat none of them: they may leak."""
    clicks = [(i, f"s{i % 40}", f"d{d}") for i, d in enumerate(np.random.default_rng(0).integers(0, 90, 400))]
    searches = "search_id,searched_at,query,searcher_id\n" + "".join(
        f"{i},2024-01-{1 + i // 16:02} {i % 16:02}:00:00,word,{s}\n" for i, s, _ in clicks
    )
    results = "search_id,document_id,clicked\n" + "".join(f"{i},{d},true\n" for i, _, d in clicks)
    documents = "document_id,title\n" + "".join(f"d{i},word\n" for i in range(90))
    edges = "source_id,target_id,source_type,target_type,kind\n" + "".join(
        f"{s},{d},searcher,document,listen\n" for _, s, d in clicks
    )
    edges += "s1,s2,searcher,searcher,friend\ns3,d3,searcher,document,friend\n"
    for name, text in (("searches", searches), ("results", results), ("documents", documents), ("edges", edges)):
        (tmp_path / f"{name}.csv").write_text(text)
    files = Tables(
        layout="tables",
        **{name: str(tmp_path / f"{name}.csv") for name in ("searches", "results", "documents", "edges")},
    )
    log = extract.fn(files, Split(), contents_of(files))

    def leak(**graph: Any) -> str | None:
        return leak_remark(log, Arm.model_validate({"groups": {"g": {"kind": "graph", **graph}}}).features)

    listens, friends = leak(edges=["listen"], undated_edges=True), leak(edges=["friend"], undated_edges=True)
    assert listens is not None
    assert listens.startswith("leaks: edges without a date join 100.0%")
    assert friends is not None
    assert friends.startswith("reads edges without a date")
    assert leak(clicks=True) is None
    assert leak_remark(log, Arm().features) is None

    def graph_of(kind: str) -> dict[str, Any]:
        return {"groups": {"g": {"kind": "graph", "edges": [kind], "undated_edges": True}}}

    arms = {
        "text": {},
        "listens": graph_of("listen"),
        "friends": graph_of("friend"),
        "started": {"start_from": "listens"},
    }
    spec = Experiment.model_validate(
        {
            "logs": files.model_dump(),
            "arms": arms,
            "ensembles": {"both": {"parts": ["text", "listens"]}},
            "cascades": {"then": {"first": "text", "then": "listens"}, "fair": {"first": "text", "then": "friends"}},
        }
    )
    models = [*arms, "both", "then", "fair"]
    assert list(leaking_models(spec, log, models)) == ["listens", "started", "both", "then"]
    assert leak_of(spec, log, "fair") == friends
    assert leak_of(spec, log, "text") is None


def test_explain_prints_the_matrix_of_an_arm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = yaml.safe_load(SMOKE.read_text())
    content["arms"] = {"all": {**SMALL, "groups": {"place": PLACE, "friends": FRIENDS}}}
    content["indexes"] = content["questions"] = content["retrievals"] = {}
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump(content))
    experiment: Experiment = load_experiment(path)
    assert isinstance(experiment.logs, Simulated)
    explain("maria", [f"{path}/all"], document="d1", searcher="s1")
    output = capsys.readouterr().out
    for part in ("parts that add up to the cosine", "text", "place", "friends", "rank", "n-grams"):
        assert part in output
    for arguments, message in [
        (([f"{path}/none"], "d1", "s1"), "no arm 'none'; there are all"),
        (([f"{path}/all"], "nobody", "s1"), "document_id: there is no 'nobody'"),
        (([f"{path}/all"], "d1", "x"), "searcher_id: there is no 'x'"),
        ((["all"], "d1", "s1"), "no experiment 'all'"),
    ]:
        with pytest.raises(InputError, match=message):
            explain("maria", arguments[0], document=arguments[1], searcher=arguments[2])

"""What the official client sends to OpenSearch. No server was run: the stub keeps what arrives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ebr_core.errors import InputError
from ebr_core.serving.model_bundle import model_digest, open_bundle
from tasks.engines.engine_export import export_model, roll_back_engine
from tasks.engines.exported_documents import exported_documents
from tasks.engines.opened_engine import EngineAddress, open_engine
from tests.opensearch_stub import OpenSearchStub, run_stub
from tests.tasks.engines.conftest import SHOW
from tests.tasks.engines.engine_contents import content_of, content_of_bundle
from tests.tasks.engines.test_contract import version_of

pytestmark = pytest.mark.more


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenSearchStub]:
    monkeypatch.setenv("EBR_HOME", str(tmp_path))
    with run_stub() as running:
        yield running


def test_the_mapping_says_how_vectors_are_searched(stub: OpenSearchStub, bundles: list[Path]) -> None:
    export_model(EngineAddress("opensearch", stub.url, "shop"), bundles[0], SHOW)
    version = version_of(bundles[0])
    (created,) = stub.sent("PUT", f"/{version.name}")
    assert created["settings"] == {"index": {"knn": True, "refresh_interval": None}}  # set back after the load
    assert created["mappings"]["dynamic"] == "strict"
    assert created["mappings"]["properties"] == {
        "document_id": {"type": "keyword"},
        "title": {"type": "text"},
        "price": {"type": "double"},
        "Tag's": {"type": "keyword"},
        "row": {"type": "integer"},
        "vector": {
            "type": "knn_vector",
            "dimension": 24,
            "method": {
                "name": "hnsw",
                "space_type": "innerproduct",
                "engine": "faiss",
                "parameters": {"m": 16, "ef_construction": 200},
            },
        },
    }
    facts = {"name": version.name, "model": model_digest(bundles[0]), "arm": "hand", "documents": 700, "dimensions": 24}
    assert created["mappings"]["_meta"] == {"ebr": facts, "previous": None}


def test_bulk_has_two_lines_for_each_document_in_order(stub: OpenSearchStub, bundles: list[Path]) -> None:
    export_model(EngineAddress("opensearch", stub.url, "shop"), bundles[0], SHOW, batch_rows=300)
    bulks = stub.sent("POST", "/_bulk")
    assert [len(lines) for lines in bulks] == [600, 600, 200]
    lines = [line for lines in bulks for line in lines]
    name = version_of(bundles[0]).name
    assert lines[::2] == [{"index": {"_index": name, "_id": f"d{i}"}} for i in range(700)]
    vectors = open_bundle(bundles[0]).vectors
    assert set(lines[1]) == {"document_id", "title", "row", "vector", "Tag's"}  # a price that is null is left out
    assert (lines[5]["row"], lines[5]["price"], lines[5]["Tag's"]) == (2, 0.5, ["new", "red"])
    assert lines[5]["vector"] == pytest.approx(vectors[2].tolist())


def test_searches_ask_for_identities_alone(stub: OpenSearchStub, bundles: list[Path]) -> None:
    export_model(EngineAddress("opensearch", stub.url, "shop"), bundles[0], SHOW)
    asked = stub.sent("POST", "/_search")[0]
    near = asked["query"]["knn"]["vector"]
    assert (asked["size"], asked["_source"], near["k"]) == (10, False, 10)
    assert near["method_parameters"] == {"ef_search": 100}
    assert len(near["vector"]) == 24


def test_the_alias_moves_in_one_request(stub: OpenSearchStub, bundles: list[Path]) -> None:
    address = EngineAddress("opensearch", stub.url, "shop")
    for folder in bundles[:2]:
        export_model(address, folder, SHOW)
    roll_back_engine(address)
    first, second = (version_of(folder).name for folder in bundles[:2])
    add = [{"add": {"index": name, "alias": "shop"}} for name in (first, second)]
    remove = [{"remove": {"index": name, "alias": "shop"}} for name in (first, second)]
    moves = [body["actions"] for body in stub.sent("POST", "/_aliases")]
    assert moves == [[add[0]], [remove[0], add[1]], [remove[1], add[0]]]


def test_a_bulk_that_breaks_in_its_middle_is_sent_again(stub: OpenSearchStub, bundles: list[Path]) -> None:
    version, documents = version_of(bundles[0]), exported_documents(open_bundle(bundles[0]), SHOW)
    killed = open_engine(EngineAddress("opensearch", stub.url, "shop"))
    killed.create(version, documents.schema)
    killed.write(version, next(documents.batches(100)))
    late = list(documents.batches(100))[3]
    killed._rows[version.name] = 300  # type: ignore[attr-defined]  # as if a request had overtaken two
    killed.write(version, late)
    killed.close()
    promotion = export_model(EngineAddress("opensearch", stub.url, "shop"), bundles[0], SHOW, batch_rows=100)
    assert promotion.measured.written == 700  # there was a gap, so all were sent
    assert content_of(EngineAddress("opensearch", stub.url, "shop"), "shop", stub) == content_of_bundle(bundles[0])


def test_a_connection_that_breaks_is_tried_again(stub: OpenSearchStub, bundles: list[Path]) -> None:
    stub.cut_bulk = 40
    export_model(EngineAddress("opensearch", stub.url, "shop"), bundles[0], SHOW)
    assert stub.cut_bulk is None
    assert content_of(EngineAddress("opensearch", stub.url, "shop"), "shop", stub) == content_of_bundle(bundles[0])


def test_documents_that_the_cluster_refuses_end_the_export(stub: OpenSearchStub, bundles: list[Path]) -> None:
    version = version_of(bundles[0])
    opened = open_engine(EngineAddress("opensearch", stub.url, "shop"))
    opened.create(version, exported_documents(open_bundle(bundles[0]), ["price"]).schema)  # without Tag's
    opened.close()
    with pytest.raises(InputError, match=r"refuses 700 documents: mapping set to strict.*Tag's"):
        export_model(EngineAddress("opensearch", stub.url, "shop"), bundles[0], SHOW)


@pytest.mark.parametrize("heading", ["row", "a.b", "_id"])
def test_a_column_that_cannot_be_a_field_is_refused(heading: str, stub: OpenSearchStub, bundles: list[Path]) -> None:
    schema = exported_documents(open_bundle(bundles[0]), ["price"]).schema
    schema = schema.set(3, schema.field(3).with_name(heading))
    opened = open_engine(EngineAddress("opensearch", stub.url, "shop"))
    with pytest.raises(InputError, match=f"{heading!r} cannot be the name of a field there; leave it out of --show"):
        opened.create(version_of(bundles[0]), schema)
    opened.close()
    assert not stub.indexes

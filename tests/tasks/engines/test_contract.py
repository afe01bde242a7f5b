"""What every engine does alike, against the real LanceDB and PostgreSQL and a stub of OpenSearch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ebr_core.errors import InputError
from ebr_core.serving.model_bundle import model_digest, open_bundle
from tasks.engines.engine_export import export_model, roll_back_engine
from tasks.engines.engine_recalls import read_recalls
from tasks.engines.exported_documents import exported_documents
from tasks.engines.opened_engine import open_engine
from tasks.engines.search_engine import Version, version_name
from tests.opensearch_stub import Request
from tests.tasks.engines.conftest import SHOW, RunningEngine
from tests.tasks.engines.engine_contents import content_of_bundle

pytestmark = pytest.mark.more


def version_of(folder: Path, alias: str = "shop") -> Version:
    """The version that an export of this bundle writes."""
    bundle = open_bundle(folder)
    model = model_digest(folder)
    name = version_name(alias, model, exported_documents(bundle, SHOW).schema)
    return Version(name=name, model=model, arm="hand", documents=700, dimensions=bundle.vectors.shape[1])


def test_versions_are_written_promoted_kept_and_rolled_back(engine: RunningEngine, bundles: list[Path]) -> None:
    second, third = (version_of(folder).name for folder in bundles[1:])
    for folder in bundles:
        promotion = export_model(engine.address, folder, SHOW, batch_rows=300)
        assert promotion.live
        assert promotion.live.name == version_of(folder).name
        assert engine.content() == content_of_bundle(folder)
        assert promotion.measured.written == 700
        assert promotion.measured.recall >= 0.9 == promotion.measured.target  # that of the bundle's own index
    opened = open_engine(engine.address)
    assert {version.name for version in opened.versions()} == {second, third}  # the one before the last is removed
    opened.close()
    restored, replaced = roll_back_engine(engine.address)
    assert (restored.name, replaced.name) == (second, third)
    assert engine.content() == content_of_bundle(bundles[1])
    with pytest.raises(InputError, match=f"only {second} as shop, so there is no version to go back to"):
        roll_back_engine(engine.address)
    again = export_model(engine.address, bundles[2], SHOW)
    assert again.measured.written == 0  # it was there still
    assert engine.content() == content_of_bundle(bundles[2])
    assert export_model(engine.address, bundles[2], SHOW).describe().endswith(f"{third} answers already")
    assert roll_back_engine(engine.address)[0].name == second


def test_an_export_goes_on_where_a_killed_one_was(engine: RunningEngine, bundles: list[Path]) -> None:
    version, documents = version_of(bundles[0]), exported_documents(open_bundle(bundles[0]), SHOW)
    killed = open_engine(engine.address)
    assert killed.create(version, documents.schema) == 0
    for batch in list(documents.batches(100))[:2]:
        killed.write(version, batch)
    killed.close()
    promotion = export_model(engine.address, bundles[0], SHOW, batch_rows=100)
    assert promotion.measured.written == 500
    assert engine.content() == content_of_bundle(bundles[0])


def test_a_version_that_finds_other_documents_is_not_promoted(engine: RunningEngine, bundles: list[Path]) -> None:
    export_model(engine.address, bundles[0], SHOW)
    wrong, documents = version_of(bundles[1]), exported_documents(open_bundle(bundles[0]), SHOW)
    broken = open_engine(engine.address)
    broken.create(wrong, documents.schema)
    for batch in documents.batches(700):
        broken.write(wrong, batch)  # the vectors of another model under its name
    broken.close()
    promotion = export_model(engine.address, bundles[1], SHOW)
    assert promotion.measured.recall < 0.2
    assert promotion.describe().endswith(f"not promoted: {version_of(bundles[0]).name} goes on answering as shop")
    assert engine.content() == content_of_bundle(bundles[0])
    (saved,) = read_recalls(model_digest(bundles[1]))
    assert not saved.reached
    assert saved == promotion.measured


def test_an_alias_that_others_made_is_left_alone(engine: RunningEngine, bundles: list[Path]) -> None:
    match engine.address.kind:
        case "lancedb":
            import lancedb

            lancedb.connect(engine.address.url).create_table("shop", [{"theirs": 1}])
        case "pgvector":
            import psycopg

            with psycopg.connect(engine.address.url) as database:
                database.execute("CREATE TABLE shop AS SELECT 1 AS theirs")
        case "opensearch":
            assert engine.stub
            body = {"settings": {"index": {}}, "mappings": {"properties": {"theirs": {"type": "long"}}}}
            assert engine.stub.answer(Request("PUT", "/shop", body))[0] == 200
    with pytest.raises(InputError, match="shop that no export made; choose another name with --alias") as raised:
        export_model(engine.address, bundles[0], SHOW)
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match="shop that no export made"):
        roll_back_engine(engine.address)
    opened = open_engine(engine.address)
    assert opened.versions() == []  # nothing was written
    opened.close()


def test_a_table_of_other_dimensions_under_the_name_of_a_version_is_left_alone(
    engine: RunningEngine, bundles: list[Path]
) -> None:
    theirs = version_of(bundles[0]).model_copy(update={"dimensions": 32})
    opened = open_engine(engine.address)
    opened.create(theirs, exported_documents(open_bundle(bundles[2]), SHOW).schema)
    opened.close()
    with pytest.raises(InputError, match=r"32.*this model\s+has 24.*--alias") as raised:
        export_model(engine.address, bundles[0], SHOW)
    assert "\n" not in str(raised.value)


def test_what_is_found_is_what_exact_search_finds(engine: RunningEngine, bundles: list[Path]) -> None:
    export_model(engine.address, bundles[0], SHOW)
    version, vectors = version_of(bundles[0]), np.load(bundles[0] / "vectors.npy")
    opened = open_engine(engine.address)
    for row in range(0, 700, 70):
        found = opened.search(version, vectors[row], 5, opened.efforts[-1])
        assert found == [f"d{i}" for i in np.argsort(-(vectors @ vectors[row]))[:5]]
    opened.close()

"""`ebr export --to`: its options, its output and its exit code, with a real LanceDB."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ebr_core.errors import InputError
from ebr_core.serving.model_bundle import model_digest, open_bundle
from flows.app.cli import app
from flows.app.export_settings import ExportSettings, read_settings
from tests.bundles import publish_bundles
from tests.engine_bundles import large_bundle

NO_OPTIONS = {"out": None, "url_from": None, "alias": None, "target": None, "back": False, "queries": None}


@pytest.mark.parametrize(
    ("to", "options", "says"),
    [
        (None, {}, "name a new folder, or an engine with --to"),
        (None, {"out": "x", "alias": "a"}, "for engines: name one with --to"),
        (None, {"out": "x", "back": True}, "for engines: name one with --to"),
        ("redis", {"out": "x"}, "--to: got 'redis'; allowed: pgvector, lancedb, opensearch"),
        ("lancedb", {"out": "x", "queries": Path("q")}, "--queries is for files"),
        ("lancedb", {"out": "x", "url_from": "Y"}, "the engine's address or --url-from, not both"),
        ("lancedb", {"out": "x", "alias": "My shop"}, "--alias: got 'My shop'; expected up to 40 of a to z"),
        ("lancedb", {"out": "x", "target": 1.5}, "--target: got 1.5; expected a recall above 0, at most 1"),
        ("lancedb", {}, "the environment variable EBR_ENGINE_URL is not set"),
        ("lancedb", {"url_from": "NOT_SET"}, "the environment variable NOT_SET is not set"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    to: str | None, options: dict[str, object], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EBR_ENGINE_URL", raising=False)
    with pytest.raises(InputError, match=says):
        read_settings(to, **(NO_OPTIONS | options))  # type: ignore[arg-type]


def test_the_address_comes_from_the_command_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBR_ENGINE_URL", "default")
    monkeypatch.setenv("SHOP", "shop's")
    read = [read_settings("lancedb", **(NO_OPTIONS | options)) for options in ({"out": "x"}, {"url_from": "SHOP"}, {})]  # type: ignore[arg-type]
    assert [settings and settings.url for settings in read] == ["x", "shop's", "default"]
    assert read[0] == ExportSettings("lancedb", "x", None, None, False)
    assert read_settings(None, **(NO_OPTIONS | {"out": "folder"})) is None  # type: ignore[arg-type]


@pytest.mark.more
def test_a_model_is_exported_measured_reported_and_rolled_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("EBR_HOME", str(home))
    folders = {f"arm{seed}": large_bundle(home / "artifacts" / f"b{seed}", 400, seed) for seed in range(2)}
    publish_bundles(home, "shop-2", folders, "arm0")
    export = ["export", "--to", "lancedb", str(tmp_path / "lance")]
    first = CliRunner().invoke(app, export)
    assert first.exit_code == 0, first.output
    assert "400 of 400 documents written" in first.output
    assert "index recall@10 1.000 on 3 canaries alone, because the vectors of its run" in first.output
    assert "latency " in first.output
    assert "elsewhere the model answers in mode hybrid" in first.output
    (file,) = (home / "engines" / model_digest(folders["arm0"])).glob("*.json")
    assert file.name == "lancedb-ebr_shop_2.json"
    assert json.loads(file.read_text())["target"] == 0.9  # of the bundle's index
    second = CliRunner().invoke(app, [*export, "--model", "shop-2/arm1", "--show", "price"])
    assert second.exit_code == 0, second.output
    assert "is kept, to go back to" in second.output
    back = CliRunner().invoke(app, [*export, "--rollback"])
    assert back.exit_code == 0, back.output
    assert "answers again, in place of" in back.output


@pytest.mark.more
def test_a_recall_below_the_target_ends_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.engines.engine_export import write_version
    from tasks.engines.exported_documents import exported_documents
    from tasks.engines.opened_engine import EngineAddress, open_engine
    from tasks.engines.search_engine import Version, version_name

    monkeypatch.setenv("EBR_HOME", str(tmp_path / "home"))
    right, wrong = (large_bundle(tmp_path / str(seed), 400, seed) for seed in range(2))
    model = model_digest(right)
    documents = exported_documents(open_bundle(wrong))
    name = version_name("shop", model, documents.schema)
    opened = open_engine(EngineAddress("lancedb", str(tmp_path / "lance"), "shop"))
    version = Version(name=name, model=model, arm="hand", documents=400, dimensions=24)
    write_version(opened, version, documents, 400)  # another model's vectors under the name of this one
    options = ["--model", str(right), "--alias", "shop"]
    done = CliRunner().invoke(app, ["export", "--to", "lancedb", str(tmp_path / "lance"), *options])
    assert done.exit_code == 1
    assert "not promoted: nothing answers as shop" in done.output
    shutil.rmtree(tmp_path / "lance")

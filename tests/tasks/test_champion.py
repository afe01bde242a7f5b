"""The choice of the champion by validation recall, from hand-written modes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.artifacts import Artifact
from tasks.champion_choice import champion_of
from tasks.home import artifacts
from tasks.kinds import ModelBundle, ServedMode

RECALLS = {"best": 0.9, "second": 0.8, "third": 0.7}


@pytest.fixture
def modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ServedMode]:
    monkeypatch.setenv("EBR_HOME", str(tmp_path))
    written = {}
    for name, recall in RECALLS.items():
        written[name] = ServedMode(Artifact(stage="choose_mode", digest=name))
        folder = artifacts() / f"choose_mode-{name}"
        folder.mkdir(parents=True)
        (folder / "mode.json").write_text(json.dumps({"mode": "ebr", "recalls": {"ebr": recall}}))
    return written


@pytest.mark.parametrize(
    ("leaking", "champion"),
    [((), "best"), (("best",), "second"), (("best", "second"), "third"), (tuple(RECALLS), "best")],
)
def test_a_model_that_has_seen_the_test_is_champion_only_if_there_is_no_other(
    modes: dict[str, ServedMode], leaking: tuple[str, ...], champion: str
) -> None:
    bundles = {name: ModelBundle(Artifact(stage="bundle", digest=name)) for name in RECALLS}
    assert champion_of(bundles, modes, leaking) == (champion, "ebr", RECALLS[champion])

"""The paper's experiment files: questions are put to the full model and to text alone, with nothing else changed."""

import pytest
import yaml

from tasks.home import ROOT

PAIRS = ["paper-training-data", "paper-later-ideas"]


@pytest.mark.parametrize("name", PAIRS)
def test_files_of_text_alone_differ_by_their_groups_only(name: str) -> None:
    full, text = (
        yaml.safe_load((ROOT / "experiments" / f"{name}{suffix}.yaml").read_text()) for suffix in ("", "-text")
    )
    assert set(full["arms"].pop("base")["groups"]) == {"place", "friends"}
    assert full == text

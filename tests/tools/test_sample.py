"""What the README and the docs show is what the product prints: rendered again from the result files of the sample."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.experiment.experiment_file import load_experiment
from tasks.home import ROOT
from tools.sample import (
    README,
    SAMPLE,
    as_code,
    blocks_of,
    keep,
    rendered,
    sizes,
    three_steps,
    verdict,
    with_blocks,
)

STALE = "stale: make sample writes it anew"


def test_the_sample_is_a_run_of_the_default_experiment_as_it_is() -> None:
    spec = load_experiment(ROOT / "experiments" / "default.yaml")
    assert (SAMPLE / "run" / "experiment.yaml").read_text() == spec.to_yaml(), STALE


def test_the_sample_report_is_what_its_result_files_give() -> None:
    assert rendered(SAMPLE) == (SAMPLE / "report.html").read_text(encoding="utf-8"), STALE


def test_the_blocks_of_the_readme_are_those_of_the_sample() -> None:
    blocks = blocks_of(README.read_text(encoding="utf-8"))
    assert set(blocks) == {"verdict", "sizes", "init", "check", "run", "search"}
    assert blocks["verdict"] == as_code(verdict(SAMPLE)), STALE
    assert len(blocks["verdict"].splitlines()) == 2 + 9 + 2  # the fence, the head and eight rows, a gap and the advice
    assert blocks["sizes"] == sizes(), STALE


def test_every_picture_of_the_readme_is_there() -> None:
    for name in ("report.png", "search.png"):
        assert (SAMPLE / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.more
def test_the_three_steps_print_what_the_readme_shows(tmp_path: Path) -> None:
    blocks = blocks_of(README.read_text(encoding="utf-8"))
    assert three_steps(tmp_path) == {name: blocks[name] for name in ("init", "check", "run")}, STALE


def test_a_block_is_replaced_and_nothing_else() -> None:
    page = "a\n<!-- sample: one -->\nold\n<!-- end -->\nb\n<!-- sample: two -->\nkept\n<!-- end -->\n"
    written = with_blocks(page, {"one": "new\nlines"})
    assert written == page.replace("old", "new\nlines")
    assert blocks_of(written) == {"one": "new\nlines", "two": "kept"}


def test_a_sample_kept_is_complete(tmp_path: Path) -> None:
    keep(SAMPLE / "run", tmp_path)
    assert rendered(tmp_path) == (SAMPLE / "report.html").read_text(encoding="utf-8"), STALE

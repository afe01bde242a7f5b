"""A run on a log with several actions, from the file to the report: weights, target sets, purchases as positives."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from data.experiment.experiment_file import load_experiment
from flows.app.check import describe_experiment
from flows.app.results_table import show
from flows.ebr import ebr
from tasks.report.result import read
from tasks.tracking.runs import Outcome

pytestmark = pytest.mark.more
COLOURS = ["red", "blue", "green", "warm", "cold", "small", "large", "old", "new", "soft"]
THINGS = ["shoe", "boot", "hat", "scarf", "coat", "glove", "sock", "shirt"]
ARM = {
    "loss": {"kind": "softmax"}, "negatives": {"random": 20, "in_batch": "all"}, "towers": {"dimensions": 16},
    "training": {"batch_size": 64, "epochs": 2, "patience": None},
}  # fmt: skip


def write_log(folder: Path) -> None:
    """Searches for a coloured thing: what has the colour is clicked more often, and half of that is bought."""
    draw = random.Random(0)
    documents = [(f"d{i}", f"{draw.choice(COLOURS)} {draw.choice(COLOURS)} {THINGS[i % 8]}") for i in range(96)]
    searches, results = [], []
    for search in range(900):
        colour, thing = draw.choice(COLOURS), draw.choice(THINGS)
        at = f"2020-01-{1 + search // 60:02} {search // 3 % 20:02}:{search % 60:02}:00"
        searches.append(f"{search},{at},{colour} {thing},u{draw.randrange(90)}")
        shown = draw.sample([document for document in documents if thing in document[1]], 6)
        for position, (document, title) in enumerate(shown, 1):
            results.append(f"{search},{document},{position},")
            if draw.random() < (0.7 if colour in title else 0.15):
                events = ["click", *["add_to_cart"] * (draw.random() < 0.5), *["purchase"] * (draw.random() < 0.6)]
                results += [f"{search},{document},{position},{event}" for event in events]
            elif draw.random() < 0.1:
                results.append(f"{search},{document},{position},hover")
    for name, header, lines in (
        ("searches", "search_id,searched_at,query,searcher_id", searches),
        ("results", "search_id,document_id,position,action", results),
        ("documents", "document_id,title", [",".join(document) for document in documents]),
    ):
        (folder / f"{name}.csv").write_text("\n".join([header, *lines]) + "\n")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write_log(folder)
    weights = {"click": 1, "add_to_cart": 3, "purchase": 5}
    tables = {name: f"{name}.csv" for name in ("searches", "results", "documents")}
    content = {
        "logs": {"layout": "tables", "actions": weights} | tables,
        "evaluation": {"ks": [1, 10], "resamples": 100, "searches": 100},
        "refit": True,
        "arms": {
            "base": ARM,
            "clicks": {"positives": {"actions": ["click"]}},
            "weighted": {},
            "purchases": {"positives": {"actions": ["purchase"]}},
        },
        "rankers": {"reordered": {"of": "weighted", "depth": 20, "trees": 3, "leaf_rows": 5}},
        "questions": {"P": {"baseline": "clicks", "arms": ["purchases", "weighted"], "metric": "ndcg@10"}},
    }
    (folder / "shop.yaml").write_text(yaml.safe_dump(content))
    return folder / "shop.yaml"


@pytest.fixture(scope="module")
def outcome(own_home: Path, experiment: Path) -> Outcome:
    state = ebr(str(experiment), return_state=True)
    assert state.is_completed(), state.message
    result: Outcome = state.result()
    return result


def test_target_sets_are_measured_apart(outcome: Outcome) -> None:
    result = read(outcome.report.folder)
    assert list(result.every_set) == ["clicked", "carted", "purchased"]
    assert [row["targets"] for row in result.counts] == ["clicked", "carted", "purchased"]
    for targets in result.every_set:
        compared = {row.arm for row in result.compared["P"] if row.targets == targets}
        assert compared == {"purchases", "weighted"}
    found = {arm: [row.value for row in result.plain if row.arm == arm] for arm in ("clicks", "weighted", "purchases")}
    assert found["clicks"] != found["weighted"] != found["purchases"]


def test_the_engine_of_today_is_not_judged_by_what_was_bought_in_its_lists(outcome: Outcome) -> None:
    checks = json.loads((outcome.report.folder / "checks.json").read_text())
    assert {"clicked", "carted", "purchased"} <= checks["undecidable"]["logged"].keys()


def test_the_report_says_what_was_left_out(outcome: Outcome, experiment: Path) -> None:
    page = (outcome.report.folder / "report.html").read_text()
    for words in ("what was purchased", "what was put into the cart", "no weight in logs.actions", "hover"):
        assert words in page, words
    console = Console(record=True, width=200, file=None, quiet=False)
    show(outcome, load_experiment(experiment), console)
    shown = console.export_text()
    assert shown.index("targets: clicked") < shown.index("into the cart") < shown.index("targets: what was purchased")


def test_the_check_counts_actions(experiment: Path, prefect_server: None) -> None:
    text = describe_experiment(experiment)
    assert "none: left out" in text
    assert "clicked searches, and apart" in text
    assert "purchased" in text
    rare = experiment.with_name("rare.yaml")
    content = yaml.safe_load(experiment.read_text())
    content["logs"]["actions"]["subscribe"] = 9
    content["arms"]["rare"] = {"positives": {"actions": ["subscribe"]}}
    rare.write_text(yaml.safe_dump(content))
    assert "rare cannot be trained: positives.actions: no result has the action subscribe; the actions are click" in (
        describe_experiment(rare)
    )

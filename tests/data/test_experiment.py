"""Experiment files: what is accepted, and what is said of what is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.experiment import json_schema, load_experiment
from data.logs import Tables
from ebr_core.config import InputError, Softmax, Triplet

EXPERIMENTS = Path(__file__).parent.parent.parent / "experiments"
LOGS = "logs: {layout: tables, searches: a.parquet, results: logs/*.csv, documents: 's3://bucket/c.parquet'}\n"


def _load(folder: Path, text: str):  # type: ignore[no-untyped-def]
    path = folder / "my.yaml"
    path.write_text(text)
    return load_experiment(path)


def test_arms_lie_over_their_base(tmp_path: Path) -> None:
    asked = _load(
        tmp_path,
        LOGS
        + """
arms:
  base: {loss: {kind: triplet, margin: 0.3}, negatives: {random: 7}}
  plain: {}
  more: {negatives: {impressions: 2}}
  soft: {loss: {kind: softmax, temperature: 0.1}}
""",
    )
    assert list(asked.arms) == ["plain", "more", "soft"]
    assert asked.arms["plain"].loss == Triplet(margin=0.3)
    assert (asked.arms["more"].negatives.random, asked.arms["more"].negatives.impressions) == (7, 2)
    assert asked.arms["soft"].loss == Softmax(temperature=0.1)  # another kind replaces the base's settings whole


def test_paths_start_from_the_file(tmp_path: Path) -> None:
    logs = _load(tmp_path, LOGS).logs
    assert isinstance(logs, Tables)
    assert logs.searches == str(tmp_path / "a.parquet")
    assert logs.results == str(tmp_path / "logs" / "*.csv")
    assert logs.documents == "s3://bucket/c.parquet"


def test_all_errors_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as told:
        _load(
            tmp_path,
            """
logs: {layout: tables, searches: a, results: b, documents: c, sesions: d}
split: {validation: 1.5}
arms:
  soft: {loss: {kind: softmax, temprature: 1}, positives: {source: klicks}, negatives: {random: 0}}
  bm25: {}
questions:
  P02: {baseline: sft, arms: [soft], metric: recall@11}
colour: red
""",
        )
    lines = str(told.value).splitlines()
    assert lines[0] == f"{tmp_path / 'my.yaml'}: 9 problems"
    for wanted in (
        "logs.sesions: unknown key; allowed here: documents, edges",
        "split.validation: got 1.5; input should be less than 1",
        "arms.soft.loss.temprature: unknown key (did you mean temperature?)",
        "arms.soft.positives.source: got 'klicks'; input should be 'clicks', 'impressions' or 'both'",
        "arms.soft.negatives: every count is 0",
        "arms.bm25: this name is taken by a baseline",
        "questions.P02.baseline: no arm 'sft' (did you mean soft?)",
        "questions.P02.metric: got 'recall@11'",
        "colour: unknown key; allowed here: arms, evaluation",
    ):
        assert sum(wanted in line for line in lines) == 1, (wanted, lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("logs: [", "not YAML"),
        ("just words", "expected sections such as logs"),
        ("arms: {}", "logs: missing"),
        ("logs: {layout: parquet}", "logs.layout: got 'parquet'; allowed: tables, ubi, esci, beir"),
        (LOGS + "arms: 3", "arms: got 3"),
        (LOGS + "seeds: []", "seeds: got []"),
        (LOGS + "split: {test: 0.5, validation: 0.5}", "leave nothing to train on"),
        (LOGS + "split: {test_from: 2020-01-01}", "go together"),
        (LOGS + "arms: {base: [1]}", "arms.base"),
        (LOGS + "arms: {a: {}, b: {}, a: {}}", "the key 'a' stands twice"),
        (LOGS + "seeds: [0, 1, 0]", "a seed stands twice"),
        (LOGS + "indexes: {none: {kind: ivf}}", "none: exact search is always there"),
        (LOGS + "arms: {a: {loss: {kind: sofmax}}}", "arms.a.loss.kind: got 'sofmax' (did you mean softmax?)"),
        (LOGS + "arms: {a: {}}\nquestions: {q: {baseline: a, arms: [a]}}", "cannot be compared with itself"),
        (LOGS + "arms: {a: {}}\nquestions: {'is it @?': {baseline: a, arms: [bm25]}}", "questions.is it @?"),
        (LOGS + "arms: {a: {}}\nindexes: {pq: {kind: ivf, code: pq7}}", "indexes.pq: code pq7 does not divide the 128"),
        (
            LOGS + "arms: {a: {}}\nindexes: {pq: {kind: ivfpq}}",
            "kind: got 'ivfpq' (did you mean ivf?); allowed: exact, scan",
        ),
        (LOGS + "arms: {a: {}}\nindexes: {t: {kind: ivf, target: 0.9, at: 200}}", "indexes.t.at: got 200; at most 100"),
        (LOGS + "arms: {a: {}}\nindexes: {t: {kind: ivf, target: 0.9, parameters_of: b}}", "parameters_of: no arm 'b'"),
        (LOGS + "arms: {base: {seed: 1}, a: {}, b: {}}", "1 problem\n  arms.base.seed: unknown key"),
    ],
)
def test_what_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=r"my\.yaml") as told:
        _load(tmp_path, text)
    assert said in str(told.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_experiment(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_experiment_of_the_project_is_valid(path: Path) -> None:
    assert load_experiment(path).logs


def test_the_committed_schema_is_the_one_generated() -> None:
    committed = json.loads((EXPERIMENTS / "schema.json").read_text())
    assert committed == json.loads(json.dumps(json_schema())), "run: ebr schema > experiments/schema.json"

"""Messages for invalid ensembles, cascades, rankers and filters, all at once and before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.experiment.experiment_file import load_experiment
from ebr_core.errors import InputError

ARMS = """
logs: {layout: simulated, world: {}}
arms:
  a: {}
  b: {towers: {dimensions: 64}}
  views: {towers: {query_vectors: 2}}
"""


def _problems(folder: Path, text: str) -> str:
    path = folder / "my.yaml"
    path.write_text(ARMS + text)
    with pytest.raises(InputError) as error:
        load_experiment(path)
    return str(error.value)


def test_invalid_values_are_reported(tmp_path: Path) -> None:
    message = _problems(
        tmp_path,
        """
ensembles:
  one: {parts: [a]}
  five: {parts: [a, b, a, b, a]}
  short: {parts: [a, b], weights: [1]}
  below: {parts: [a, b], weights: [1, -2]}
  first: {parts: [a, b], weights: [2, 1]}
cascades: {none: {first: a, then: b, depth: 0}}
rankers: {none: {of: a, depth: 0}, dot: {of: a, embedding: dot}, nobody: {}}
""",
    )
    for expected in (
        "ensembles.one.parts: got ['a']; tuple should have at least 2 items",
        "ensembles.five.parts: got ['a', 'b', 'a', 'b', 'a']; tuple should have at most 4 items",
        "ensembles.short: got 1 weights for 2 parts; give one for each",
        "ensembles.below.weights.1: got -2; input should be greater than or equal to 0",
        "ensembles.first: weights: the first is 2; it is always 1",
        "cascades.none.depth: got 0; input should be greater than or equal to 1",
        "rankers.none.depth: got 0; input should be greater than or equal to 1",
        "rankers.dot.embedding: got 'dot'; input should be 'none', 'cosine', 'hadamard' or 'raw'",
        "rankers.nobody.of: missing",
    ):
        assert expected in message


def test_unknown_and_taken_names_are_reported(tmp_path: Path) -> None:
    message = _problems(
        tmp_path,
        """
ensembles:
  b: {parts: [a, b]}
  lost: {parts: [a, bb]}
  several: {parts: [a, views]}
retrievals: {through: {arm: loost}}
cascades:
  bm25: {first: a, index: tuned, then: lost}
  through: {first: aa, then: b}
filters:
  a: {arm: a, of: [b]}
  strict: {arm: lost, index: tuned, of: [a, bb]}
rankers:
  cascade: {of: loost}
  memory: {of: lost, index: tuned}
  lost: {of: through}
questions: {Q: {baseline: a, arms: [several, cascaade]}}
""",
    )
    for expected in (
        "ensembles.b: this name is taken by one of the arms; choose another",
        "ensembles.lost.parts.1: no arm 'bb' (did you mean b?); allowed: a, b, views",
        "ensembles.several.parts.1: views gives a query 2 vectors; expected one from a part of an ensemble",
        "retrievals.through.arm: no arm 'loost' (did you mean lost?)",
        "cascades.bm25: this name is taken by a baseline",
        "cascades.bm25.index: no index 'tuned'; allowed: exact",
        "cascades.through: this name is taken by one of the retrievals",
        "cascades.through.first: no arm 'aa' (did you mean a?)",
        "filters.a: this name is taken by one of the arms",
        "filters.strict.arm: no arm 'lost'",
        "filters.strict.of.1: no arm 'bb' (did you mean b?)",
        "filters.strict.index: no index 'tuned'; allowed: exact",
        "rankers.cascade.of: no arm 'loost' (did you mean lost?)",
        "rankers.memory: this name is taken by a baseline",
        "rankers.memory.index: no index 'tuned'; allowed: exact",
        "rankers.lost: this name is taken by one of the ensembles",
        "rankers.lost.of: no arm 'through'",
        "questions.Q.arms: no arm 'cascaade' (did you mean cascade?)",
    ):
        assert expected in message


def test_the_indexes_must_suit_the_dimensions_of_ensembles(tmp_path: Path) -> None:
    text = "ensembles: {both: {parts: [a, b]}}\nindexes: {cut: {kind: scan, code: pq64, prefix: 128}}\n"
    assert "indexes.cut: prefix 128 is more than the 64 dimensions" in _problems(tmp_path, text)
    path = tmp_path / "good.yaml"
    path.write_text(ARMS + "ensembles: {both: {parts: [a, b]}, three: {parts: [a, b, b]}}\n")
    assert load_experiment(path).dimensions == [64, 128, 192, 256]


def test_the_truth_rates_only_in_a_simulated_world(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    logs = "logs: {layout: tables, searches: s.csv, results: r.csv, documents: d.csv}\n"
    path.write_text(logs + "feedback: {rater: {noise: 0}}\n")
    with pytest.raises(InputError, match=r"feedback\.rater: only a simulated world has the truth"):
        load_experiment(path)
    path.write_text(logs + "feedback: {k: 5}\n")
    assert load_experiment(path).feedback.imported == "mine"
    path.write_text(ARMS + "feedback: {rater: null, imported: others}\n")
    assert load_experiment(path).feedback.imported == "others"

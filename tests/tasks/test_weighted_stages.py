"""Stages on a log with several actions: the table of actions goes wherever the log goes."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from data import extracted_log
from data.experiment.log_config import Split, Tables
from ebr_core.errors import InputError
from ebr_core.training.pair_config import Positives
from tasks.eval_sets import read_sample
from tasks.kinds import Log
from tasks.log_stages import contents_of, extract, join_validation, sample
from tasks.training_inputs import read_pairs

FILES = {
    "searches": """search_id,searched_at,query,searcher_id
1,2020-01-01 10:00:00,red shoe,ann
2,2020-01-02 10:00:00,boot,bob
3,2020-01-03 10:00:00,red hat,ann
4,2020-01-04 10:00:00,hat,bob
5,2020-01-05 10:00:00,shoe,ann
""",
    "results": """search_id,document_id,position,action
1,shoe,1,click
1,shoe,1,purchase
1,boot,2,
2,boot,1,click
2,shoe,2,
3,hat,1,cart
4,hat,1,click
5,shoe,1,purchase
5,boot,2,click
5,hat,3,
""",
    "documents": "document_id,title\nshoe,Red shoe\nboot,Boot\nhat,Hat\n",
}
SPLIT = Split(validation_from="2020-01-04", test_from="2020-01-05")
WEIGHTS = {"click": 1.0, "cart": 3.0, "purchase": 5.0}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    folder = tmp_path_factory.mktemp("acted")
    for name, text in FILES.items():
        (folder / f"{name}.csv").write_text(text)
    logs = Tables(layout="tables", actions=WEIGHTS, **{name: str(folder / f"{name}.csv") for name in FILES})
    return Log(extract.fn(logs, SPLIT, contents_of(logs)))


def test_pairs_have_the_weights_of_their_actions(log: Log) -> None:
    pairs, _ = read_pairs(log, Positives(), "pair", 0)
    assert pairs.weights is not None
    np.testing.assert_allclose(pairs.weights, np.array([5, 1, 3]) / 3)
    purchases, known = read_pairs(log, Positives(actions=("purchase",)), "query", 0)
    assert (len(purchases.search_rows), purchases.weights) == (1, None)
    assert len(known.documents) == 3
    with pytest.raises(InputError, match=r"no result of the training window has the action hug; the actions there are"):
        read_pairs(log, Positives(actions=("hug",)), "pair", 0)


def test_a_refit_has_the_actions_of_the_validation(log: Log) -> None:
    joined = Log(join_validation.fn(log))
    weights = extracted_log.read_weights(joined.folder, ())
    assert weights is not None
    assert sorted(weights.tolist()) == [0, 0, 1, 1, 3, 5]


def test_grades_of_a_sample(log: Log) -> None:
    drawn = read_sample(sample.fn(log, "test", 10, 1))
    assert drawn.names == ["clicked", "purchased"]
    documents = pq.read_table(log.folder / "documents.parquet")["document_id"].to_pylist()
    _, clicked = drawn.for_targets("clicked")
    _, purchased = drawn.for_targets("purchased")
    assert clicked.grades is not None
    assert purchased.grades is not None
    grades = dict(zip((documents[row] for row in clicked.documents), clicked.grades.tolist(), strict=True))
    assert grades == {"shoe": 5.0, "boot": 1.0}
    assert ([documents[row] for row in purchased.documents], purchased.grades.tolist()) == (["shoe"], [1.0])

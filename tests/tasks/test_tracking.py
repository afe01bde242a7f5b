"""What MLflow is shown."""

from __future__ import annotations

from tasks.tracking import _panels


def test_each_target_set_has_its_own_curve() -> None:
    rows = [
        {
            "question": None,
            "arm": "random",
            "seed": 0,
            "index": index,
            "targets": targets,
            "slice": slice_,
            "metric": metric,
            "k": k,
            "value": value,
        }
        for targets, values in (("truth", (0.1, 0.4)), ("clicked", (0.2, 0.5)))
        for k, value in zip((10, 1), reversed(values), strict=True)
        for index, slice_, metric in (
            ("exact", "all", "recall"),
            ("ivfpq", "all", "recall"),
            ("exact", "misspelt", "recall"),
            ("exact", "all", "mrr"),
        )
    ]
    assert _panels(rows) == {
        "clicked": {"random": [(1, 0.2), (10, 0.5)]},
        "truth": {"random": [(1, 0.1), (10, 0.4)]},
    }

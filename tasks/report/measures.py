"""One description of each metric: its heading, its K, and whether the page, a terminal and MLflow show it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tasks.evaluation import COUNTS
from tasks.report.formats import count, share, signed, three_digits
from tasks.report.result import ResultRow


class Measure(NamedTuple):
    """A metric, and where it is shown. Recall is shown at every K, the others at the one K that a place shows."""

    metric: str
    heading: str
    has_k: bool = True  # MRR and counts have none
    on_page: Callable[[float], str] | None = None  # how the page shows it
    on_terminal: Callable[[float], str] | None = None
    in_mlflow: bool = False

    def names(self, ks: list[int], k: int) -> list[str]:
        """The measures in result rows: recall@1, recall@10 …; ndcg@10; mrr."""
        if not self.has_k:
            return [self.metric]
        return [f"{self.metric}@{each}" for each in (ks if self.metric == "recall" else [k])]

    def headings(self, ks: list[int], k: int) -> list[str]:
        """The headings of those columns. What has no K is cut at the deepest: MRR@100; a count is not cut at all."""
        if not self.has_k:
            return [self.heading if self.metric in COUNTS else f"{self.heading}@{max(ks)}"]
        return [f"{self.heading}@{each}" for each in (ks if self.metric == "recall" else [k])]


MEASURES = (
    Measure("recall", "recall", on_page=share, on_terminal=three_digits, in_mlflow=True),
    Measure("mrr", "MRR", has_k=False, on_page=share, on_terminal=three_digits, in_mlflow=True),
    Measure("ndcg", "nDCG", on_page=share, in_mlflow=True),
    Measure("success", "success", on_page=share),
    Measure("precision", "precision", in_mlflow=True),
    Measure("coverage", "coverage", on_page=share, in_mlflow=True),
    Measure("popularity_lift", "popularity lift", on_page=signed, in_mlflow=True),
    Measure("index_recall", "index recall", on_terminal=three_digits, in_mlflow=True),
    Measure("scanned", "scanned", has_k=False, on_terminal=count),
)


def in_mlflow(row: ResultRow, k: int) -> bool:
    """Whether MLflow shows the row: recall at every K and MRR, the others at this K; through an index only recall and
    index recall. All rows are in results.parquet."""
    by_itself = row.is_level or row.metric in ("recall", "index_recall")
    shown = {measure.metric for measure in MEASURES if measure.in_mlflow}
    return by_itself and row.metric in shown and (row.k in (k, None) or (row.is_level and row.metric == "recall"))

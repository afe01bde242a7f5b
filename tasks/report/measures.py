"""One description of each metric: its heading, its K, and how the page, a terminal and MLflow show it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from tasks.list_measures import COUNTS
from tasks.report.formats import DASH, Written, count, share, signed, three_digits
from tasks.report.page import Columns
from tasks.report.result import ResultRow

T = TypeVar("T")


class Measure(NamedTuple):
    """A metric, and how it is written where it is shown. Recall is shown at every K, the others at the main one."""

    metric: str
    heading: str
    has_k: bool = True  # MRR and counts have none
    on_page: Written | None = None
    on_terminal: Written | None = None
    in_mlflow: bool = False

    def at(self, ks: list[int], k: int) -> dict[str, str]:
        """The heading of each measure in result rows: recall@1, ndcg@10, mrr. MRR is cut at the deepest K."""
        if not self.has_k:
            return {self.metric: self.heading if self.metric in COUNTS else f"{self.heading}@{max(ks)}"}
        return {f"{self.metric}@{at}": f"{self.heading}@{at}" for at in (ks if self.metric == "recall" else [k])}


MEASURES = (
    Measure("recall", "recall", on_page=share, on_terminal=three_digits, in_mlflow=True),
    Measure("mrr", "MRR", has_k=False, on_page=share, in_mlflow=True),
    Measure("ndcg", "nDCG", on_page=share, in_mlflow=True),
    Measure("success", "success", on_page=share),
    Measure("precision", "precision", in_mlflow=True),
    Measure("coverage", "coverage", on_page=share, in_mlflow=True),
    Measure("popularity_lift", "popularity lift", on_page=signed, in_mlflow=True),
    Measure("unseen", "unseen", on_page=share, in_mlflow=True),
    Measure("index_recall", "index recall", on_terminal=three_digits, in_mlflow=True),
    Measure("scanned", "scanned", has_k=False, on_terminal=count),
)


def measure_columns(
    runs: Mapping[T, dict[str, ResultRow]], ks: list[int], k: int, show: Callable[[Measure], Written | None]
) -> Columns[T]:
    """The columns of the measures for which show returns a format; cells are empty in lines without the measure. Recall
    at the main K has its interval."""
    columns: Columns[T] = []
    for measure in MEASURES:
        if write := show(measure):
            for name, heading in measure.at(ks, k).items():
                rows = {run: by[name] for run, by in runs.items() if name in by}
                texts = {run: write(row.value) for run, row in rows.items()}
                if name == f"recall@{k}":
                    texts = {run: write(row.value, row.low, row.high) for run, row in rows.items()}
                columns.append((heading, lambda run, texts=texts: texts.get(run, "")))  # type: ignore[misc]
    return columns


def level_cell(row: ResultRow | None) -> str:
    """.683 [.671, .695], or a dash where there is no row."""
    return share(row.value, row.low, row.high) if row else DASH


def in_mlflow(row: ResultRow, k: int) -> bool:
    """True for a row that MLflow shows: recall at every K and MRR, the others at this K; through an index only recall
    and index recall. All rows are in results.parquet."""
    by_itself = row.is_level or row.metric in ("recall", "index_recall")
    shown = {measure.metric for measure in MEASURES if measure.in_mlflow}
    return by_itself and row.metric in shown and (row.k in (k, None) or (row.is_level and row.metric == "recall"))

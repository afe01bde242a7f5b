"""The page of the files that a run writes."""

from __future__ import annotations

import inspect
import re

import pyarrow as pa

from data import schemas
from tools.reference.pages import as_page, as_table, code

# The Parquet files of a run's folder, and what a row of each is.
TABLES = {
    "results.parquet": (
        "RESULTS_OF_RUN",
        "A row for each list, target set, slice and metric, and one for each difference of a question.",
    ),
    "per_search.parquet": (
        "PER_SEARCH",
        "A row for each list, target set, metric and search, from which the intervals are computed.",
    ),
    "costs.parquet": ("COSTS", "A row for each measured cost, such as seconds of training or bytes of an index."),
}
# The extracted log, beside `report.json`: the tables that every stage reads.
LOG_TABLES = {
    "documents.parquet": ("DOCUMENTS", "All documents, in an order that says nothing about them."),
    "queries.parquet": ("QUERIES", "The distinct queries."),
    "searches.parquet": ("SEARCHES", "All searches, by time."),
    "searchers.parquet": ("SEARCHERS", "The signed-in searchers."),
    "results.parquet": ("RESULTS", "The results and clicks of each search."),
    "edges.parquet": ("EDGES", "The edges of the graph, if the log has one."),
    "judgements.parquet": ("JUDGEMENTS", "The judgements, if the log has any."),
}
# Of tasks.report.result.FILES.
JSON_FILES = {
    "checks": (
        "reasons to doubt the figures: leaks, lists that are not available or decide nothing, arms above the oracle, "
        "the ceilings of recall, the repetitions of a refit"
    ),
    "audit": "each check for leaks, and the order of the arms with sampled negatives",
    "data": "the report of the extraction: rows read, rows dropped and the reasons, the split",
    "counts": "searches and targets of each target set, and those that the sample leaves out",
    "run": (
        "the time and circumstances of the run: versions, seeds, the champion and its mode, failures, looks at the test"
    ),
    "bm25": "the language and parameters of BM25, and the recall of all parameters tried",
    "ensembles": "the weights of each ensemble, and the recall of all weights tried",
    "rankers": "the training data of each ranker, and the importance of each feature",
    "feedback": "the number and quality of ratings and filters",
    "courses": "the validation recall of each arm and seed after each epoch, and why its training ended",
    "examples": "searches that the champion won and lost, with titles and other texts of the log",
}
OTHER_FILES = {
    "report.html": "the report",
    "report.md": "the same report, without the texts of searches",
    "experiment.yaml": "all settings of the run, including defaults",
}
ABOUT_RUN = (
    "`ebr run` prints the folder of the run's report, `EBR_HOME/artifacts/report-…`. It holds copies of all files "
    "below, so you need nothing else to read a run, compare it, or write its report again. The first two tables have "
    "the same bytes for the same inputs, seeds, threads and versions on the same machine. Null means that there is no "
    "value."
)
EXAMPLE = """```python
import pandas as pd

rows = pd.read_parquet(f"{folder}/results.parquet")
rows[rows.question.isna() & (rows.slice == "all") & (rows.metric == "recall") & (rows.k == 10)]
```"""
ABOUT_LOG = (
    "The folder `EBR_HOME/artifacts/extract-…`, in Python `ebr.load_log(…).folder`, holds `report.json` and these "
    "tables, whatever the layout of your files. Rows are numbered from 0; identities stay as they are in your files."
)


def results_page() -> str:
    """The page: the files in a run's folder, their columns, and those of the extracted log."""
    others = [[code(name), meaning] for name, meaning in OTHER_FILES.items()]
    others += [[code(f"{name}.json"), meaning] for name, meaning in JSON_FILES.items()]
    return as_page(
        "The files of a run",
        [
            ABOUT_RUN,
            EXAMPLE,
            *_tables(TABLES),
            "## Other files",
            as_table(["file", "content"], others),
            "## The extracted log",
            ABOUT_LOG,
            *_tables(LOG_TABLES, "###"),
        ],
    )


def _tables(files: dict[str, tuple[str, str]], level: str = "##") -> list[str]:
    """The blocks of some Parquet files: heading, what a row is, columns."""
    blocks: list[str] = []
    for file, (schema, meaning) in files.items():
        blocks += [f"{level} {file}" if level == "##" else f"{level} {file} of the log", meaning, _columns(schema)]
    return blocks


def _columns(schema: str) -> str:
    """The columns of a schema, with the comments beside their fields."""
    comments = comments_of(schema)
    fields: pa.Schema = getattr(schemas, schema)
    return as_table(
        ["column", "type", "may be null", "meaning"],
        [[code(it.name), str(it.type), "yes" if it.nullable else "", comments.get(it.name, "")] for it in fields],
    )


def comments_of(schema: str) -> dict[str, str]:
    """Column → the comment beside its field in data/schemas.py."""
    source = inspect.getsource(schemas)
    body = source[source.index(f"\n{schema} = pa.schema(") :]
    body = body[: body.index("\n)\n")]
    return dict(re.findall(r'pa\.field\("(\w+)".*\),  # (.*)', body))

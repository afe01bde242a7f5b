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
        "A row for each list, target set, metric and search: what the intervals are made of.",
    ),
    "costs.parquet": ("COSTS", "A row for each measured cost, such as seconds of training or bytes of an index."),
}
# The extracted log, beside `report.json`: the tables that every stage reads.
LOG_TABLES = {
    "documents.parquet": ("DOCUMENTS", "All documents, in an order that says nothing about them."),
    "queries.parquet": ("QUERIES", "The distinct queries."),
    "searches.parquet": ("SEARCHES", "All searches, by time."),
    "searchers.parquet": ("SEARCHERS", "The searchers that are signed in."),
    "results.parquet": ("RESULTS", "What each search showed, and what was clicked."),
    "edges.parquet": ("EDGES", "The edges of the graph, where the log has one."),
    "judgements.parquet": ("JUDGEMENTS", "The grades that people gave, where the log has some."),
}
# Of tasks.report.result.FILES.
JSON_FILES = {
    "checks": (
        "what makes figures doubtful: leaks, lists that are not available or decide nothing, arms above the "
        "oracle, the ceilings of recall, what a refit repeats"
    ),
    "audit": "the checks for leaks, one by one, and the order of the arms among sampled negatives",
    "data": "the report of the extraction: rows read, dropped and why, the split",
    "counts": "of each target set: searches, targets, what the sample leaves out",
    "run": (
        "when and with what the run was made: versions, seeds, the champion and its mode, failures, looks at the test"
    ),
    "bm25": "the language and parameters of BM25, and the recall of all that were tried",
    "ensembles": "the weights of each ensemble, and the recall of those tried",
    "rankers": "what each ranker learned from, and how much each feature counts",
    "feedback": "ratings and filters: how many, how good",
    "courses": "validation recall of each arm and seed after every epoch, and why its training ended",
    "examples": "searches that the champion won and lost, with titles: the only file with texts of the log",
}
OTHER_FILES = {
    "report.html": "the report",
    "report.md": "the same, without the texts of searches",
    "experiment.yaml": "all settings of the run, defaults included",
}
ABOUT_RUN = (
    "`ebr run` prints the folder of the run's report, `EBR_HOME/artifacts/report-…`. It holds copies of all files "
    "below, so that nothing else is needed to read a run, to compare it, or to write its report again. The first two "
    "tables are the same bytes for the same inputs, seeds, threads and versions on the same machine. A null means that "
    "there is no such value."
)
EXAMPLE = """```python
import pandas as pd

rows = pd.read_parquet(f"{folder}/results.parquet")
rows[rows.question.isna() & (rows.slice == "all") & (rows.metric == "recall") & (rows.k == 10)]
```"""
ABOUT_LOG = (
    "`ebr.load_log(…).folder` in Python, `EBR_HOME/artifacts/extract-…`: these tables, whatever the layout of your "
    "files, and `report.json`. Rows are numbered from 0; identities stay as they are in your files."
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

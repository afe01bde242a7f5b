"""The sections on levels: the recall of every arm by itself, and through indexes."""

from __future__ import annotations

from data.experiment.experiment_spec import ORACLES
from ebr_core.search.index_specs import OWN_INDEXES
from tasks.report import plots
from tasks.report.answers import SETS
from tasks.report.formats import DASH, optional, share
from tasks.report.measures import measure_columns
from tasks.report.page import Block, Columns, Grid, Heading, Paragraph, Picture, tabulate
from tasks.report.result import Result, cells, label, pivot, without_oracles, written
from tasks.slices import WHOLE

KIND = "kind: "


def curve_blocks(result: Result) -> list[Block]:
    """Recall by K, a panel for each target set."""
    panels = {}
    for name in result.sets:
        rows = [row for row in without_oracles(result.plain, name) if row.metric == "recall"]
        ks = sorted({row.k for row in rows if row.k})
        curves = pivot(rows, ["arm"], "k")
        panels[name] = {str(arm): [(k, line[k]) for k in ks] for arm, line in curves.iterrows()}
    if not panels:
        return []
    words = "Recall by K of every arm, a panel for each target set"
    return [Heading("Recall by K"), Picture("recall-by-k", plots.svg(plots.recall_by_k(panels)), words)]


def attainable_blocks(result: Result) -> list[Block]:
    """Recall@K of every arm on truth, and its share of the oracle's, over all searches and over those for each kind of
    document; empty without an oracle."""
    levels = [row for row in result.levels if (row.targets, row.measure) == ("truth", result.recall)]
    rows = [row for row in levels if row.slice == WHOLE or row.slice.startswith(KIND)]
    if ORACLES[-1] not in {row.arm for row in rows}:
        return []
    means = pivot(rows, ["arm"], "slice")
    best, counts = means.loc[ORACLES[-1]], {row.slice: row.n for row in rows}
    arms = sorted(means.index, key=lambda arm: (arm not in ORACLES, arm in result.baselines, -means[WHOLE][arm]))
    columns: Columns[str] = [("arm", str)]
    for name, n in counts.items():
        most = max(best[name], 1e-9)
        cell = written(means[name], lambda value, most=most: f"{share(value)}, {value / most:.0%}")  # type: ignore[misc]
        columns.append((f"{name.removeprefix(KIND)} (n = {n:,})", cell))
    return [
        Heading("What is attainable"),
        Paragraph(
            f"Recall@{result.k} on what the searcher wanted, and the share of what the oracle reaches that knows text, "
            "place and friends. The other oracles do not see all of it: what they lack, no arm reads from the text."
        ),
        tabulate(columns, arms, "by kind of document"),
    ]


def level_blocks(result: Result) -> list[Block]:
    """The tables of all metrics of all arms: the main target set is shown, the others on demand."""
    return [Heading("All metrics"), *(_level_grid(result, targets) for targets in result.sets)]


def _level_grid(result: Result, targets: str) -> Grid:
    """A line for each arm and seed, a column for each measure that the page shows."""
    ks, k = result.spec["evaluation"]["ks"], result.k
    rows = [row for row in result.plain if row.targets == targets]
    runs = cells(rows, lambda row: (row.arm, row.seed), lambda row: row.measure)
    order = sorted(runs, key=lambda run: (run[0] in ORACLES, -runs[run][result.recall].value))
    columns: Columns[tuple[str, int | None]] = [("arm", lambda run: label(*run))]
    columns += measure_columns(runs, ks, k, lambda measure: measure.on_page)
    caption = (
        f"Targets: {SETS[targets]}. Coverage: share of the documents alive that any search shows; popularity lift: "
        "how much more popular the retrieved are than the targets, in shares of the documents; unseen: share of the "
        "retrieved that nobody was shown or judged for the query; intervals over "
        "searchers, training noise not included."
    )
    return tabulate(columns, order, caption, folded=targets != result.main)


def index_blocks(result: Result) -> list[Block]:
    """The table of the recall that indexes lose against exact search, and their cost; empty without indexes."""
    rows = [
        row
        for row in result.rows
        if row.question is None and row.index not in OWN_INDEXES
        if (row.slice, row.targets, row.k) == (WHOLE, result.main, result.k)
    ]
    values = {
        run: {metric: row.value for metric, row in by.items()}
        for run, by in cells(rows, lambda row: (row.arm, row.seed, row.index), lambda row: row.metric).items()
    }
    for cost in result.costs:
        if cost.index and (run := (cost.arm, cost.seed, cost.index)) in values:
            values[run][cost.cost] = cost.value
    if not values:
        return []
    lines = [
        [
            label(arm, seed),
            index,
            share(by["recall"]),
            share(by["index_recall"]) if "index_recall" in by else DASH,
            f"{by['index_bytes'] / 1e6:.1f} MB" if "index_bytes" in by else DASH,
            optional("{:,.0f}", by.get("queries_per_s")),
        ]
        for (arm, seed, index), by in values.items()
    ]
    headers = ["arm", "index", result.recall, f"index {result.recall}", "size", "queries/s"]
    caption = "Index recall: the share of the exactly nearest that the index finds; it is never mixed with the model's."
    return [Heading("Indexes"), Grid(headers, lines, caption)]

"""The sections on levels: the recall of every arm by itself, and through indexes."""

from __future__ import annotations

from typing import Any

from data.experiment.experiment_spec import ORACLES
from ebr_core.search.index_specs import OWN_INDEXES
from ebr_core.search.modes import LATEST
from ebr_core.serving.query_cost import EMBED_QUERY
from tasks.engines.engine_recalls import EngineRecall
from tasks.report.engine_rows import NO_RIVAL, engine_rows
from tasks.report.formats import DASH, optional, share
from tasks.report.measures import level_cell, measure_columns
from tasks.report.page import Block, Columns, Grid, Heading, Paragraph, tabulate
from tasks.report.result import Result, cells, pivot, written
from tasks.report.seed_means import over_seeds, validation_recalls
from tasks.report.served_row import is_served
from tasks.report.target_sets import set_words
from tasks.slices import WHOLE

KIND = "kind: "
LATEST_REMARK = f"{LATEST}: histories up to each search; all other rows know the clicks of the training window"


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
    """The tables of all metrics of all arms: the main target set is shown, the others, and seeds, on demand."""
    sets = [*result.sets, *result.few_sets]
    return [Heading("All metrics"), *(_level_grid(result, targets) for targets in sets), *_seed_grids(result)]


def _level_grid(result: Result, targets: str) -> Grid:
    """A line for each arm, a column for each measure that the page shows: means over seeds."""
    ks, k = result.spec["evaluation"]["ks"], result.k
    rows = [row for row in over_seeds(result.rows) if row.is_level and (row.targets, row.slice) == (targets, WHOLE)]
    arms = cells(rows, lambda row: row.arm, lambda row: row.measure)
    apart = engine_rows(result.checks, targets, result.spec.get("lists") or {})
    order = sorted(arms, key=lambda arm: (arm in ORACLES, arm in apart, -arms[arm][result.recall].value))
    columns: Columns[str] = [("arm", lambda arm: arm + _marks(result, arm, apart))]
    if (on_validation := validation_recalls(result.validation, k)) and targets == result.main:
        columns.append((f"validation recall@{k}", lambda arm: level_cell(on_validation.get(arm))))
    columns += measure_columns(arms, ks, k, lambda measure: measure.on_page)
    about = f"Targets: {set_words(targets)} ({result.every_set[targets]:,} searches)."
    if apart:
        about += f" These were clicked in {' and '.join(f'`{name}`' for name in sorted(apart))}, which is no rival."
    if targets != result.main:
        return tabulate(columns, order, about, folded=True)
    caption = (
        f"{about} Means over seeds. Coverage: share of the documents alive that any search shows; popularity lift: how "
        "much more popular the retrieved are than the targets, in shares of the documents; unseen: share of the "
        "retrieved that nobody was shown or judged for the query; intervals over searchers, without training noise."
    )
    if any(arm.endswith(LATEST) for arm in arms):
        caption += f" {LATEST_REMARK}."
    return tabulate(columns, order, caption)


def _marks(result: Result, arm: str, apart: frozenset[str]) -> str:
    return (" (served)" if is_served(result.served, arm) else "") + (NO_RIVAL if arm in apart else "")


def _seed_grids(result: Result) -> list[Grid]:
    """The main recall by arm and seed; empty where every arm has one seed."""
    rows = [row for row in result.plain if (row.targets, row.measure) == (result.main, result.recall)]
    values = pivot((row for row in rows if row.seed is not None), ["arm"], "seed")
    if len(values.columns) < 2:
        return []
    columns: Columns[str] = [("arm", str)]
    columns += [(f"seed {seed}", written(values[seed], share)) for seed in values.columns]
    return [tabulate(columns, values.index, f"{result.recall} by seed, targets: {set_words(result.main)}", folded=True)]


def index_blocks(result: Result) -> list[Block]:
    """The table of the recall that indexes lose against exact search, and their cost; empty without indexes."""
    wanted = (WHOLE, result.main, result.k)
    values: dict[tuple[str, str], dict[str, float]] = {}
    for row in over_seeds(result.rows):
        if row.index not in OWN_INDEXES and (row.slice, row.targets, row.k) == wanted:
            values.setdefault((row.arm, row.index), {})[row.metric] = row.value
    for (arm, index, cost), of_seeds in _costs(result).items():
        if (arm, index) in values:
            values[arm, index][cost] = sum(of_seeds) / len(of_seeds)
    embedding = {cost.arm: cost.value for cost in result.costs if cost.cost == EMBED_QUERY}
    lines = [
        [
            arm,
            index,
            share(by["recall"]),
            share(by["index_recall"]) if "index_recall" in by else DASH,
            f"{by['index_bytes'] / 1e6:.1f} MB" if "index_bytes" in by else DASH,
            optional("{:,.0f}", by.get("queries_per_s")),
            optional("{:,.2f} ms", embedding.get(arm)),
        ]
        for (arm, index), by in values.items()
    ]
    headers = ["arm", "index", result.recall, f"index {result.recall}", "size", "queries/s", "to embed a query"]
    caption = (
        "Means over seeds. Index recall: the share of the exactly nearest that the index finds; it is never mixed with "
        "the model's. The time to embed a query, the median of 40 on one thread, comes before the search."
    )
    finer = [Paragraph(f"Index {index}: {words}.") for index, words in result.run.get("finer_codes", {}).items()]
    if result.engines:
        headers.append("latency, median and p99")
        lines = [[*line, DASH] for line in lines]
        lines += [_engine_line(result, engine, embedding.get(engine.arm)) for engine in result.engines]
        caption += (
            " Engines that models were exported to were asked one query at a time, canaries and searches of the test: "
            + "; ".join(f"{engine.engine} ({engine.alias}): {engine.index}" for engine in result.engines)
            + "."
        )
    if not lines:
        return []
    return [Heading("Indexes"), Grid(headers, lines, caption), *finer, *_filter_blocks(result)]


def _engine_line(result: Result, engine: EngineRecall, embedding_ms: float | None) -> list[str]:
    """The line of an engine below those of indexes; its index recall names its K where that is not the main one."""
    recall = share(engine.recall) + ("" if engine.k == result.k else f" @{engine.k}")
    latency = f"{engine.median_ms:.1f} ms, {engine.p99_ms:.1f} ms"
    name = f"{engine.engine}: {engine.alias}" + ("" if engine.reached else f", below its target {share(engine.target)}")
    return [engine.arm, name, DASH, recall, DASH, DASH, optional("{:,.2f} ms", embedding_ms), latency]


def _filter_blocks(result: Result) -> list[Block]:
    """The table of the recall of indexes under conditions; empty without indexes."""
    points = {(at["arm"], at["index"], at["share"]): at for at in result.run.get("filters", [])}
    shares = sorted({share for _, _, share in points}, reverse=True)
    if not points:
        return []
    lines = [
        [arm, index, *(_under_filter(points.get((arm, index, share))) for share in shares)]
        for arm, index in dict.fromkeys((arm, index) for arm, index, _ in points)
    ]
    headers = ["arm", "index", *(f"{100 * share:g} % left" for share in shares)]
    caption = (
        "Recall under conditions, by the share of the documents that they leave, drawn at random: of the nearest "
        "documents left, up to ten, the part that a search under the condition finds. All compared: no more are left "
        "than the index scans anyway, so each of them is compared. First seed, 256 searches."
    )
    return [Grid(headers, lines, caption)]


def _under_filter(point: dict[str, Any] | None) -> str:
    if point is None:
        return DASH
    return share(point["recall"]) + (", all compared" if point["is_exact"] else "")


def _costs(result: Result) -> dict[tuple[str, str, str], list[float]]:
    """(arm, index, cost) → its value for each seed."""
    values: dict[tuple[str, str, str], list[float]] = {}
    for cost in result.costs:
        if cost.index:
            values.setdefault((cost.arm, cost.index, cost.cost), []).append(cost.value)
    return values

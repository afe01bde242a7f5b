"""The sections on the run itself: what training cost, what the logs held, which versions computed."""

from __future__ import annotations

from typing import Any

from tasks.report.formats import NOTHING, optional
from tasks.report.page import Block, Bullets, Columns, Heading, Paragraph, tabulate
from tasks.report.result import Result

COSTS = {
    "train_s": ("training", "{:.1f} s"),
    "pairs": ("pairs seen", "{:,.0f}"),
    "pairs_per_s": ("pairs/s", "{:,.0f}"),
    "table_rows": ("rows of the table", "{:,.0f}"),
    "queries_per_s": ("queries/s, exact", "{:,.0f}"),
}


def cost_blocks(result: Result) -> list[Block]:
    """What training cost, a line for each arm and seed."""
    runs: dict[tuple[str, int | None], dict[str, float]] = {}
    for row in result.costs:
        if row.index in (None, "exact"):
            runs.setdefault((row.arm, row.seed), {})[row.cost] = row.value
    if not runs:
        return []
    columns: Columns[tuple[str, int | None]] = [
        ("arm", lambda run: run[0]),
        ("seed", lambda run: optional("{}", run[1])),
    ]
    for name, (heading, form) in COSTS.items():
        texts = {run: optional(form, costs.get(name)) for run, costs in runs.items()}
        columns.append((heading, texts.__getitem__))
    return [Heading("Cost"), tabulate(columns, runs, "On the machine named below; other arms may have run beside.")]


def data_blocks(result: Result) -> list[Block]:
    """What was read and dropped, the parts of the log, the target sets, and what these logs cannot answer."""
    data = result.data
    tables: Columns[tuple[str, dict[str, Any]]] = [
        ("table", lambda line: line[0]),
        *_numbers({"read": "read", "kept": "kept"}),
        ("dropped", lambda line: _dropped(line[1]["dropped"])),
    ]
    parts = {"searches": "searches", "clicks": "clicks", "impressions": "impressions", "queries": "distinct queries"}
    sets = {"searches": "test searches", "with_target": "with a target", "sampled": "sampled"}
    sets["targets_not_alive"] = "targets not alive, left out"
    page: list[Block] = [Heading("Data"), tabulate(tables, data["tables"].items())]
    part: Columns[tuple[str, dict[str, Any]]] = [("part", lambda line: line[0])]
    page.append(tabulate([*part, *_numbers(parts | {"searchers": "searchers"})], data["splits"].items()))
    if data["cuts"] and data["cuts"]["test_from"]:
        cuts = f"Validation from {data['cuts']['validation_from']}, test from {data['cuts']['test_from']} on."
        page.append(Paragraph(cuts))
    targets: Columns[tuple[str, dict[str, Any]]] = [("targets", lambda line: line[0])]
    counts = [(counts["targets"], counts) for counts in result.counts]
    page.append(tabulate([*targets, *_numbers(sets)], counts))
    if data["cannot"]:
        page += [Heading("What these logs cannot answer", 3)]
        page.append(Bullets([f"{lack['needs']}: {lack['so']}." for lack in data["cannot"]]))
    return page


def _numbers(headings: dict[str, str]) -> Columns[tuple[str, dict[str, Any]]]:
    """A column for each of these keys of a line's counts."""
    return [(heading, lambda line, key=key: f"{line[1][key]:,}") for key, heading in headings.items()]  # type: ignore[misc]


def _dropped(reasons: list[dict[str, Any]]) -> str:
    return "; ".join(f"{dropped['reason']}: {dropped['rows']:,}" for dropped in reasons) or NOTHING


def version_blocks(result: Result) -> list[Block]:
    """Versions of all that computes, and the artifacts that the report was made of."""
    versions = [f"{name} {version}" for name, version in result.run["versions"].items()]
    places = f"Log `{result.run['log']}`, results `{result.run['results']}`."
    return [Heading("Versions"), Paragraph(", ".join(versions) + "."), Paragraph(places)]

"""The data report as text, for `ebr check`."""

from __future__ import annotations

from typing import Any


def describe(report: dict[str, Any]) -> str:
    """The text of a report of `data.extract`: rows read and dropped, the split, what stays unanswered."""
    parts = [
        _tables(report["tables"]),
        _dropped(report["tables"]),
        _notes(report["notes"]),
        _time(report),
        _splits(report["splits"]),
        _habits(report),
        _positions(report["positions"]),
        _columns(report),
        _cannot(report["cannot"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _aligned(rows: list[tuple[str, ...]]) -> str:
    """Lines with columns two spaces apart, the first aligned to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _tables(tables: dict[str, Any]) -> str:
    order = ("searches", "results", "documents", "edges", "judgements", "events", "impressions")
    rows: list[tuple[str, ...]] = [("table", "read", "kept", "dropped")]
    for name in order:
        if name in tables and tables[name]["read"]:
            read, kept = tables[name]["read"], tables[name]["kept"]
            rows.append((name, f"{read:,}", f"{kept:,}", f"{read - kept:,}" if read > kept else "–"))
    return _aligned(rows)


def _dropped(tables: dict[str, Any]) -> str:
    lines = [
        f"  {name}: {dropped['rows']:,} × {dropped['reason']}"
        + (f", e.g. {'; '.join(dropped['examples'])}" if dropped["examples"] else "")
        for name, table in tables.items()
        for dropped in table["dropped"]
    ]
    return "\n".join(["Dropped", *lines]) if lines else "Nothing was dropped."


def _notes(notes: list[dict[str, str | None]]) -> str:
    lines = [f"  {note['note']}" + (f" It is {note['example']}." if note["example"] else "") for note in notes]
    return "\n".join(["Notes", *lines]) if lines else ""


def _instant(text: str) -> str:
    return text.replace("T", " ").removesuffix("Z").split(".")[0].removesuffix(" 00:00:00")


def _time(report: dict[str, Any]) -> str:
    time, cuts = report["time"], report["cuts"]
    split = report.get("split", "time")
    if time is None and split == "random":
        return (
            "These logs carry no times, and the split is at random: training holds searches of the test's days and "
            "sessions, so the figures are better than those of a model that is used after its training."
        )
    if split not in ("time", "random", "last_click"):
        leak = "" if time is None else " It is not by time: training may see the test's future."
        return f"The split is that of column {split}.{leak}"
    if time is None:
        return "These logs carry no times: their own split is used."
    if cuts["test_from"] is None:
        return "The split is not by time: training sees the test's future. It is for `ebr audit` alone."
    return (
        f"Searches run from {_instant(time['first'])} to {_instant(time['last'])} (UTC). Sessions that start from "
        f"{_instant(cuts['validation_from'])} on are validation, those from {_instant(cuts['test_from'])} on are test."
    )


def _splits(splits: dict[str, Any]) -> str:
    names = ("searches", "clicked_searches", "clicks", "impressions", "queries", "searchers", "sessions")
    head = ("part", "searches", "clicked", "clicks", "shown", "queries", "searchers", "sessions")
    rows = [head, *((part, *(f"{counts[name]:,}" for name in names)) for part, counts in splits.items())]
    text = _aligned(rows)
    if "train" not in splits:
        text += "\nThere is no training part: only baselines that need no training can be measured."
    late = sum(counts["after_cut"] for counts in splits.values())
    if late:
        text += f"\n{late:,} searches come after a cut, in sessions that began before it and are kept whole."
    return text


def _habits(report: dict[str, Any]) -> str:
    return (
        f"{report['signed_in'] or 0:.1%} of the searches are signed in; "
        f"{report['several_clicks'] or 0:.1%} of the clicked ones have several clicks."
    )


def _positions(positions: list[dict[str, Any]]) -> str:
    if not positions:
        return ""
    rows: list[tuple[str, ...]] = [("position", "shown", "clicks", "click rate")]
    rows += [(str(p["position"]), f"{p['shown']:,}", f"{p['clicks']:,}", f"{p['click_rate']:.1%}") for p in positions]
    return _aligned(rows)


def _columns(report: dict[str, Any]) -> str:
    """For each table, the optional columns that have values, with the share of rows if not all rows have one."""
    lines = []
    for table, filled in report["columns"].items():
        kept = report["tables"][table]["kept"]
        present = [name if n == kept else f"{name} ({n / kept:.1%})" for name, n in filled.items() if n]
        absent = [name for name, n in filled.items() if not n]
        if kept:
            lines.append(
                f"  {table}: {', '.join(present) or 'none'}" + (f"; without {', '.join(absent)}" if absent else "")
            )
    return "\n".join(["Optional columns", *lines])


def _cannot(cannot: list[dict[str, str]]) -> str:
    if not cannot:
        return ""
    width = max(len(item["needs"]) for item in cannot)
    lines = [f"  {item['needs'].ljust(width)}  {item['so']}" for item in cannot]
    return "\n".join(["What these logs lack, and what that leaves unanswered", *lines])

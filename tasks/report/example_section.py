"""The section that shows what is behind the numbers: searches won and lost, and queries without an answer."""

from __future__ import annotations

from typing import Any

from tasks.report.formats import count, share
from tasks.report.page import Block, Heading, LogTable, LogText, Paragraph, plain_text
from tasks.report.target_sets import set_words

LONGEST = 90  # letters of a text
UNANSWERED = {
    "nothing returned": ("Queries for which the engine of the log returned nothing", "searches that got nothing"),
    "never clicked": ("Queries whose results nobody clicked", "searches with results"),
}


def example_blocks(examples: dict[str, Any]) -> list[Block]:
    """The section: the searches that the champion won and lost, and the unanswered queries; empty without any."""
    page: list[Block] = []
    if lists := examples.get("lists"):
        arm, baseline = examples["arms"]
        seed = f" (seed {examples['seed']})" if examples["seed"] else ""
        tied = examples["searches"] - examples["won"] - examples["lost"]
        page.append(
            Paragraph(
                f"Of {count(examples['searches'])} test searches `{arm}`{seed} finds more targets than `{baseline}` "
                f"for {count(examples['won'])}, fewer for {count(examples['lost'])}, as many for {count(tied)}. "
                f"Targets: {set_words(examples['targets'])}; they are green."
            )
        )
        page += [_searches(name, lists[name], (arm, baseline)) for name in lists if lists[name]]
    unanswered = examples.get("unanswered") or []
    for outcome, (summary, heading) in UNANSWERED.items():
        if queries := [query for query in unanswered if query["outcome"] == outcome]:
            rows = [
                [[_text(query["query"])], [LogText(f"{count(query['failed'])} of {count(query['searches'])}")]]
                for query in queries
            ]
            page.append(LogTable(f"{summary}: the {len(rows)} most frequent of the test", ["query", heading], rows))
    return [Heading("Searches to look at"), *page] if page else []


def _searches(name: str, searches: list[dict[str, Any]], arms: tuple[str, str]) -> LogTable:
    """A row for each search: its query, its targets, and the first documents of both lists."""
    rows = [
        [
            [_text(search["query"])],
            [*map(_text, search["targets"]), *_more(search["more_targets"])],
            *(
                [LogText("", f"recall {share(recall)}" if documents else "nothing retrieved"), *_ranked(documents)]
                for documents, recall in zip(search["retrieved"], search["recall"], strict=True)
            ),
        ]
        for search in searches
    ]
    return LogTable(f"{len(rows)} searches {name}", ["query", "targets", *arms], rows)


def _ranked(documents: list[tuple[int, str, bool]]) -> list[LogText]:
    return [_text(title)._replace(before=f"{rank}", is_hit=is_hit) for rank, title, is_hit in documents]


def _more(targets: int) -> list[LogText]:
    return [LogText("", f"and {count(targets)} more")] if targets else []


def _text(text: str) -> LogText:
    """A text on one line, without control characters, cut where it is long."""
    plain = plain_text(text)
    return LogText(plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 1]}…")

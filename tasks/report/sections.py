"""The sections of a report, the answer first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ebr_core.search.index_specs import EXACT
from ebr_core.serving.query_cost import EMBED_QUERY
from tasks.report.curve_sections import course_blocks, curve_blocks
from tasks.report.difference_sections import difference_blocks, slice_blocks
from tasks.report.engine_section import engine_blocks, list_blocks
from tasks.report.ensemble_section import ensemble_blocks
from tasks.report.example_section import example_blocks
from tasks.report.feedback_section import feedback_blocks
from tasks.report.formats import DASH, optional, share, tau
from tasks.report.level_sections import attainable_blocks, index_blocks, level_blocks
from tasks.report.opening_section import answer_blocks, leak_status, opening_blocks
from tasks.report.page import Block, Bullets, Grid, Heading, Paragraph, Picture
from tasks.report.ranker_section import ranker_blocks
from tasks.report.recommendation import main_recalls
from tasks.report.refit_section import refit_blocks
from tasks.report.result import Result, means


def blocks(result: Result) -> list[Block]:
    """The whole report."""
    main = [row for row in result.plain if row.targets == result.main]
    return [
        *opening_blocks(result),
        *answer_blocks(result),
        *difference_blocks(result),
        *example_blocks(result.examples),
        *curve_blocks(result),
        *attainable_blocks(result),
        *engine_blocks(result),
        *slice_blocks(result),
        *level_blocks(result),
        *refit_blocks(result),
        *ensemble_blocks(result.ensembles, result.spec, main, result.costs, result.k),
        *ranker_blocks(result.rankers),
        *feedback_blocks(result.feedback),
        *index_blocks(result),
        *_leaks(result),
        *_sampled(result),
        *course_blocks(result),
        *_costs(result),
        *_data(result),
        *_versions(result),
    ]


def pictures(page: Iterable[Block]) -> list[Picture]:
    """The pictures of a page."""
    return [block for block in page if isinstance(block, Picture)]


def _leaks(result: Result) -> list[Block]:
    """The table of all leak checks and their findings."""
    lines = [[check["check"], check["status"], check["says"]] for check in result.audit["leaks"]]
    lines += [[f"edges of {arm}", leak_status(why), why] for arm, why in result.checks.get("leaks", {}).items()]
    caption = "A note is no leak, but makes the test easier or harder to believe."
    return [Heading("Leak checks"), Grid(["check", "result", "what was found"], lines, caption)]


def _sampled(result: Result) -> list[Block]:
    """B17: the result that 100 sampled negatives would have given."""
    sampled = result.audit["sampled"].get(result.main) or {"arms": {}}
    arms, k, n = sampled["arms"], sampled.get("k"), sampled.get("negatives")
    if len(arms) < 2:
        return []
    whole = {arm: recalls["whole"] for arm, recalls in arms.items()}
    of_searches = f", {sampled.get('searches', 0):,} searches"
    if sampled.get("searches") == result.every_set.get(result.main):  # so it is the recall of the other tables
        levels, of_searches = means(main_recalls(result)), ""
        whole |= {arm: levels[arm] for arm in arms if arm in levels}
    order = sorted(arms, key=lambda arm: -whole[arm])
    sampled_order = sorted(arms, key=lambda arm: -arms[arm]["sampled"])
    lines = [
        [arm, share(whole[arm]), str(at), share(arms[arm]["sampled"]), str(1 + sampled_order.index(arm))]
        for at, arm in enumerate(order, 1)
    ]
    changed, pairs = len(sampled["changed"]), len(arms) * (len(arms) - 1) // 2
    moved = f"{changed} of {pairs} pairs of arms would have changed places." if changed else "No pair changes places."
    agreement = DASH if sampled["agreement"] is None else tau(sampled["agreement"])
    return [
        Heading("Had the targets been ranked among sampled negatives"),
        Paragraph(
            f"B17: many evaluations rank a target among {n} random documents in place of the whole corpus. Kendall's τ "
            f"of the two orders is {agreement}. {moved} "
            "The expected value is computed from exact ranks, nothing is drawn."
        ),
        Grid(["arm", f"recall@{k}, whole corpus{of_searches}", "place", f"recall@{k}, {n} sampled", "place"], lines),
    ]


COST_COLUMNS = {
    "train_s": ("training", "{:.1f} s"),
    "pairs": ("pairs seen", "{:,.0f}"),
    "pairs_per_s": ("pairs/s", "{:,.0f}"),
    "table_rows": ("rows of the table", "{:,.0f}"),
    "parameters": ("weights of the encoder", "{:,.0f}"),
    "trained_parameters": ("of these trained", "{:,.0f}"),
    "queries_per_s": ("queries/s, exact", "{:,.0f}"),
    EMBED_QUERY: ("to embed a query", "{:,.2f} ms"),
}
OF_ENCODERS = ("parameters", "trained_parameters")  # columns of runs that train one


def _costs(result: Result) -> list[Block]:
    """The cost of training, a line for each arm and seed."""
    runs: dict[tuple[str, int | None], dict[str, float]] = {}
    for row in result.costs:
        if row.index in (None, EXACT):
            runs.setdefault((row.arm, row.seed), {})[row.cost] = row.value
    used = {name for costs in runs.values() for name in costs}
    columns = {name: column for name, column in COST_COLUMNS.items() if name in used or name not in OF_ENCODERS}
    lines = [
        [arm, optional("{}", seed), *(optional(form, costs.get(name)) for name, (_, form) in columns.items())]
        for (arm, seed), costs in runs.items()
    ]
    headers = ["arm", "seed", *(heading for heading, _ in columns.values())]
    caption = "On the machine named below; other arms may have run beside."
    return [Heading("Cost"), Grid(headers, lines, caption)] if runs else []


def _data(result: Result) -> list[Block]:
    """The rows read and dropped, the parts of the log, the target sets, and what these logs cannot answer."""
    data, cuts = result.data, result.data["cuts"]
    tables = [
        [name, *_counts(table, "read", "kept"), _dropped(table["dropped"])] for name, table in data["tables"].items()
    ]
    keys = ("searches", "clicks", "impressions", "queries", "searchers")
    parts = [[name, *_counts(part, *keys)] for name, part in data["splits"].items()]
    page: list[Block] = [
        Heading("Data"),
        Grid(["table", "read", "kept", "dropped"], tables),
        *_actions(data.get("actions", [])),
        Grid(["part", "searches", "clicks", "impressions", "distinct queries", "searchers"], parts),
    ]
    if cuts and cuts["test_from"]:
        page.append(Paragraph(f"Validation from {cuts['validation_from']}, test from {cuts['test_from']} on."))
    if result.bm25:
        page.append(Paragraph(_bm25(result.bm25)))
    columns = ("searches", "with_target", "sampled", "targets_not_alive", "targets_excluded")
    sets = [[counts["targets"], *_counts({"targets_excluded": 0} | counts, *columns)] for counts in result.counts]
    headers = ["targets", "test searches", "with a target", "sampled", "targets not alive, left out"]
    page.append(Grid([*headers, "clicked before by their searcher, left out"], sets))
    page += list_blocks(result)
    if data.get("notes"):  # runs of earlier versions have none
        page += [Heading("How these logs were read", 3), Bullets([note["note"] for note in data["notes"]])]
    if data["cannot"]:
        lacks = [f"{lack['needs']}: {lack['so']}." for lack in data["cannot"]]
        page += [Heading("What these logs cannot answer", 3), Bullets(lacks)]
    return page


def _actions(actions: list[dict[str, Any]]) -> list[Block]:
    """A line for each action of the log; empty for a log with clicks alone."""
    lines = [
        [action["action"], DASH, f"{action['rows']:,}", DASH, DASH]
        if action["weight"] is None
        else [action["action"], f"{action['weight']:g}", *_counts(action, "rows", "results"), action["targets"]]
        for action in actions
    ]
    left_out = "Actions without a weight are left out; what they were made on counts as shown."
    return [Grid(["action", "weight", "rows", "results", "targets"], lines, left_out)] if lines else []


def _bm25(chosen: dict[str, Any]) -> str:
    """The sentence on the words and the parameters of BM25."""
    language = chosen["language"] or "none, so words are not stemmed and no stop words dropped"
    return f"BM25: k1 {chosen['k1']:g}, b {chosen['b']:g}, {chosen['reason']}. Language: {language}."


def _counts(counts: dict[str, int], *keys: str) -> list[str]:
    return [f"{counts[key]:,}" for key in keys]


def _dropped(reasons: list[dict[str, Any]]) -> str:
    return "; ".join(f"{dropped['reason']}: {dropped['rows']:,}" for dropped in reasons) or DASH


def _versions(result: Result) -> list[Block]:
    """The versions of the libraries, and the artifacts that the report was made from."""
    versions = [f"{name} {version}" for name, version in result.run["versions"].items()]
    places = f"Log `{result.run['log']}`, results `{result.run['results']}`."
    return [Heading("Versions"), Paragraph(", ".join(versions) + "."), Paragraph(places)]

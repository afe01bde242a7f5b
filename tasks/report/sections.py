"""The sections of a report, the answer first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from data.experiment.experiment_spec import ORACLES, REFIT
from ebr_core.search.index_specs import EXACT
from tasks.list_measures import EVERY_SET
from tasks.report.answers import SETS, answer, for_whom, noise, widest
from tasks.report.difference_sections import difference_blocks, slice_blocks
from tasks.report.engine_section import engine_blocks, list_blocks
from tasks.report.ensemble_section import ensemble_blocks
from tasks.report.feedback_section import feedback_blocks
from tasks.report.formats import DASH, optional, share, tau
from tasks.report.level_sections import attainable_blocks, curve_blocks, index_blocks, level_blocks
from tasks.report.page import Block, Bullets, Grid, Heading, Paragraph, Picture
from tasks.report.ranker_section import ranker_blocks
from tasks.report.refit_section import refit_blocks
from tasks.report.result import Result, means, questions


def blocks(result: Result) -> list[Block]:
    """The whole report."""
    main = [row for row in result.plain if row.targets == result.main]
    return [
        *_opening(result),
        *_answers(result),
        *difference_blocks(result),
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
        *_costs(result),
        *_data(result),
        *_versions(result),
    ]


def pictures(page: Iterable[Block]) -> list[Picture]:
    """The pictures of a page."""
    return [block for block in page if isinstance(block, Picture)]


def _opening(result: Result) -> list[Block]:
    """The lines at the top: the date and the data of the run, leaks and failures."""
    counts = next((counts for counts in result.counts if counts["targets"] == result.main), None)
    searches = "no test search with a target"
    if counts:
        searches = f"{counts['sampled']:,} of {counts['searches']:,} test searches"
    date = result.run["made_at"].replace("T", " ").replace("+00:00", " UTC")
    layout = result.spec["logs"]["layout"]
    page: list[Block] = [
        Paragraph(f"Made {date} from {layout} logs; {searches}; targets: {SETS[result.main]}."),
        _leak_warning(result),
    ]
    page += [
        Paragraph(f"**Do not believe the numbers of {arm}**: it {remark}.", "bad")
        for arm, remark in result.checks.get("leaks", {}).items()
        if _status(remark) == "leak"
    ]
    page += [
        Paragraph(f"**Nothing is decided about {arm}**: {reasons[EVERY_SET]}.", "bad")
        for arm, reasons in result.checks.get("undecidable", {}).items()
        if EVERY_SET in reasons
    ]
    if result.run["failures"]:
        failures = "; ".join(f"{name}: {why}" for name, why in result.run["failures"].items())
        page.append(Paragraph(f"**Not everything was made**: {failures}", "bad"))
    return page


def _leak_warning(result: Result) -> Paragraph:
    checks = result.audit["leaks"]
    leaks = [check["says"] for check in checks if check["status"] == "leak"] + result.checks.get("above_oracle", [])
    if leaks:
        return Paragraph(f"**Something leaks, do not believe these numbers**: {'; '.join(leaks)}.", "bad")
    clean = Counter(check["check"] for check in checks if check["status"] == "clean")
    kinds = ", ".join(f"{number} × {name}" if number > 1 else name for name, number in clean.items())
    return Paragraph(f"**No leak found** in {clean.total()} checks ({kinds}): see below.", "good")


def _answers(result: Result) -> list[Block]:
    compared = questions(row for row in result.rows if row.targets == result.main)
    page: list[Block] = [Heading("Answers"), *_best(result)]
    titles = {name: question["title"] for name, question in result.spec["questions"].items()}
    answers = [answer(row, titles[name]) for name, rows in compared.items() for row in rows]
    if answers:
        method = (
            "Differences are paired on the same searches. Intervals are 95%, for all arms of a question together, "
            f"by a bootstrap over searchers. {noise(result.rows)}"
        )
        page += [Bullets(answers), Paragraph(method, "note")]
    slice_sentences = [sentence for rows in compared.values() if (sentence := for_whom(result.rows, widest(rows)))]
    if slice_sentences:
        page += [Heading("For whom (exploratory: many slices, intervals one by one)", 3), Bullets(slice_sentences)]
    return page


def _best(result: Result) -> list[Block]:
    """The arm with the highest recall, beside the baselines and the oracle; empty if no arm was measured. A list that
    is right by construction does not count."""
    rows = [row for row in result.plain if (row.targets, row.measure) == (result.main, result.recall)]
    mean = means(rows)
    not_served = (*result.baselines, *ORACLES, *result.right_by_construction)
    arms = [arm for arm in mean if arm.removesuffix(REFIT) not in not_served]
    if not arms:
        return []
    best = max(arms, key=mean.__getitem__)
    seeds = [row for row in rows if row.arm == best]
    interval = share(mean[best], seeds[0].low, seeds[0].high) if len(seeds) == 1 else share(mean[best])
    others = ", ".join(f"`{name}` {share(mean[name])}" for name in result.baselines if name in mean)
    oracle, limit = ORACLES[-1], ""
    if oracle in mean:
        limit = f"; {mean[best] / mean[oracle]:.0%} of what the oracle reaches ({share(mean[oracle])})"
    return [Paragraph(f"`{best}` has the highest {result.recall}: {interval}{limit}. The baselines: {others}.")]


def _leaks(result: Result) -> list[Block]:
    """The table of all leak checks and their findings."""
    lines = [[check["check"], check["status"], check["says"]] for check in result.audit["leaks"]]
    lines += [[f"edges of {arm}", _status(why), why] for arm, why in result.checks.get("leaks", {}).items()]
    caption = "A note is no leak, but makes the test easier or harder to believe."
    return [Heading("Leak checks"), Grid(["check", "result", "what was found"], lines, caption)]


def _status(remark: str) -> str:
    """The kind, leak or note, of a remark on the features of an arm."""
    return "leak" if remark.startswith("leaks") else "note"


def _sampled(result: Result) -> list[Block]:
    """B17: the result that 100 sampled negatives would have given."""
    sampled = result.audit["sampled"].get(result.main) or {"arms": {}}
    arms, k, n = sampled["arms"], sampled.get("k"), sampled.get("negatives")
    if len(arms) < 2:
        return []
    order, sampled_order = (sorted(arms, key=lambda arm: -arms[arm][way]) for way in ("whole", "sampled"))
    lines = [
        [arm, share(arms[arm]["whole"]), str(at), share(arms[arm]["sampled"]), str(1 + sampled_order.index(arm))]
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
        Grid(["arm", f"recall@{k}, whole corpus", "place", f"recall@{k}, {n} sampled", "place"], lines),
    ]


COST_COLUMNS = {
    "train_s": ("training", "{:.1f} s"),
    "pairs": ("pairs seen", "{:,.0f}"),
    "pairs_per_s": ("pairs/s", "{:,.0f}"),
    "table_rows": ("rows of the table", "{:,.0f}"),
    "queries_per_s": ("queries/s, exact", "{:,.0f}"),
}


def _costs(result: Result) -> list[Block]:
    """The cost of training, a line for each arm and seed."""
    runs: dict[tuple[str, int | None], dict[str, float]] = {}
    for row in result.costs:
        if row.index in (None, EXACT):
            runs.setdefault((row.arm, row.seed), {})[row.cost] = row.value
    lines = [
        [arm, optional("{}", seed), *(optional(form, costs.get(name)) for name, (_, form) in COST_COLUMNS.items())]
        for (arm, seed), costs in runs.items()
    ]
    headers = ["arm", "seed", *(heading for heading, _ in COST_COLUMNS.values())]
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
    if data["cannot"]:
        lacks = [f"{lack['needs']}: {lack['so']}." for lack in data["cannot"]]
        page += [Heading("What these logs cannot answer", 3), Bullets(lacks)]
    return page


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

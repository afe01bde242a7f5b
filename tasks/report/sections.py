"""The sections of a report, the answer first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from data.experiment import BASELINES, ORACLES
from tasks.report.answers import SETS, answer, for_whom, noise, widest
from tasks.report.difference_sections import difference_blocks, slice_blocks
from tasks.report.ensemble_section import ensemble_blocks
from tasks.report.feedback_section import feedback_blocks
from tasks.report.formats import NOTHING, share, tau
from tasks.report.level_sections import attainable_blocks, curve_blocks, index_blocks, level_blocks
from tasks.report.page import Block, Bullets, Columns, Heading, Paragraph, Picture, tabulate
from tasks.report.ranker_section import ranker_blocks
from tasks.report.result import Result, means, questions
from tasks.report.run_sections import cost_blocks, data_blocks, version_blocks


def blocks(result: Result) -> list[Block]:
    """The whole report."""
    main = [row for row in result.plain if row.targets == result.main]
    return [
        *_opening(result),
        *_answers(result),
        *difference_blocks(result),
        *curve_blocks(result),
        *attainable_blocks(result),
        *slice_blocks(result),
        *level_blocks(result),
        *ensemble_blocks(result.ensembles, result.spec, main, result.costs, result.k),
        *ranker_blocks(result.rankers),
        *feedback_blocks(result.feedback),
        *index_blocks(result),
        *_leaks(result),
        *_sampled(result),
        *cost_blocks(result),
        *data_blocks(result),
        *version_blocks(result),
    ]


def pictures(page: Iterable[Block]) -> list[Picture]:
    """The pictures of a page."""
    return [block for block in page if isinstance(block, Picture)]


def _opening(result: Result) -> list[Block]:
    """The lines at the top: when the run was made, on what, whether something leaks or failed."""
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
    asked = questions(row for row in result.rows if row.targets == result.main)
    page: list[Block] = [Heading("Answers"), *_best(result)]
    titles = {name: question["title"] for name, question in result.spec["questions"].items()}
    answers = [answer(row, titles[name]) for name, rows in asked.items() for row in rows]
    if answers:
        how = (
            "Differences are paired on the same searches. Intervals are 95 %, for all arms of a question together, "
            f"by a bootstrap over searchers. {noise(result.rows)}"
        )
        page += [Bullets(answers), Paragraph(how, "note")]
    whom = [sentence for rows in asked.values() if (sentence := for_whom(result.rows, widest(rows)))]
    if whom:
        page += [Heading("For whom (exploratory: many slices, intervals one by one)", 3), Bullets(whom)]
    return page


def _best(result: Result) -> list[Block]:
    """The arm with the highest recall, beside the baselines and the oracle; nothing where no arm was measured."""
    rows = [row for row in result.plain if (row.targets, row.measure) == (result.main, result.recall)]
    mean = means(rows)
    arms = [arm for arm in mean if arm not in (*BASELINES, *ORACLES)]
    if not arms:
        return []
    best = max(arms, key=mean.__getitem__)
    seeds = [row for row in rows if row.arm == best]
    interval = share(mean[best], seeds[0].low, seeds[0].high) if len(seeds) == 1 else share(mean[best])
    others = ", ".join(f"`{name}` {share(mean[name])}" for name in BASELINES if name in mean)
    oracle, limit = ORACLES[-1], ""
    if oracle in mean:
        limit = f"; {mean[best] / mean[oracle]:.0%} of what the oracle reaches ({share(mean[oracle])})"
    return [Paragraph(f"`{best}` has the highest {result.recall}: {interval}{limit}. Without a model: {others}.")]


def _leaks(result: Result) -> list[Block]:
    """All leak checks and what each found."""
    lines = [(check["check"], check["status"], check["says"]) for check in result.audit["leaks"]]
    remarks = result.checks.get("leaks", {})
    lines += [(f"edges of {arm}", _status(remark), remark) for arm, remark in remarks.items()]
    columns: Columns[tuple[str, str, str]] = [
        ("check", lambda line: line[0]),
        ("result", lambda line: line[1]),
        ("what was found", lambda line: line[2]),
    ]
    caption = "A note is no leak, but makes the test easier or harder to believe."
    return [Heading("Leak checks"), tabulate(columns, lines, caption)]


def _status(remark: str) -> str:
    """Whether a remark on the features of an arm is a leak or a note."""
    return "leak" if remark.startswith("leaks") else "note"


def _sampled(result: Result) -> list[Block]:
    """B17: what 100 sampled negatives would have said."""
    sampled: dict[str, Any] = result.audit["sampled"].get(result.main) or {"arms": {}}
    arms = sampled["arms"]
    if len(arms) < 2:
        return []
    whole, few = ({arm: both[way] for arm, both in arms.items()} for way in ("whole", "sampled"))
    order, sampled_order = (sorted(arms, key=lambda arm, of=of: -of[arm]) for of in (whole, few))  # type: ignore[misc]
    k, n = sampled["k"], sampled["negatives"]
    columns: Columns[str] = [
        ("arm", str),
        (f"recall@{k}, whole corpus", lambda arm: share(whole[arm])),
        ("place", lambda arm: str(1 + order.index(arm))),
        (f"recall@{k}, {n} sampled", lambda arm: share(few[arm])),
        ("place", lambda arm: str(1 + sampled_order.index(arm))),
    ]
    changed, pairs = len(sampled["changed"]), len(arms) * (len(arms) - 1) // 2
    moved = f"{changed} of {pairs} pairs of arms would have changed places." if changed else "No pair changes places."
    agreement = NOTHING if sampled["agreement"] is None else tau(sampled["agreement"])
    return [
        Heading("Had the targets been ranked among sampled negatives"),
        Paragraph(
            f"B17: many evaluations rank a target among {n} random documents in place of the whole corpus. Kendall's τ "
            f"of the two orders is {agreement}. {moved} "
            "The expected value is computed from exact ranks, nothing is drawn."
        ),
        tabulate(columns, order),
    ]

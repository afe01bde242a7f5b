"""The top of a report: what to use, whether to believe it, and the answer to each question."""

from __future__ import annotations

from collections import Counter

from data.experiment.experiment_spec import ORACLES
from ebr_core.search.modes import is_of_arm
from tasks.leaks import is_leak
from tasks.list_measures import EVERY_SET
from tasks.looks import describe_looks
from tasks.report.answers import answers_to, for_whom, noise, widest
from tasks.report.formats import share
from tasks.report.page import Block, Bullets, Heading, Paragraph
from tasks.report.recommendation import certainty, recommendation, served_levels
from tasks.report.result import Result
from tasks.report.served_row import describe_served
from tasks.report.target_sets import set_words


def opening_blocks(result: Result) -> list[Block]:
    """The lines at the top: what to use, the date and the data of the run, leaks and failures. A leak comes first."""
    leak, advice = _leak_warning(result), recommendation(result)
    page: list[Block] = [Paragraph(f"**{advice}**", "answer")] if advice else []
    page += [Paragraph(text) for text in (certainty(result), _beside(result)) if text]
    page = [leak, *page] if leak.kind == "bad" else [*page, leak]
    page += [
        Paragraph(f"**Do not believe the numbers of {arm}**: it {remark}.", "bad")
        for arm, remark in result.checks.get("leaks", {}).items()
        if is_leak(remark) and is_of_arm(arm)
    ]
    open_arms = {
        arm: reasons[EVERY_SET]
        for arm, reasons in result.checks.get("undecidable", {}).items()
        if EVERY_SET in reasons and is_of_arm(arm) and not is_leak(result.checks.get("leaks", {}).get(arm))
    }
    if open_arms:
        why = "; ".join(dict.fromkeys(open_arms.values()))
        page.append(Paragraph(f"**Nothing is decided about {', '.join(open_arms)}**: {why}.", "bad"))
    if result.served:
        served = describe_served(result.served, result.validation, result.k, result.unserved_lists)
        page.append(Paragraph(served, "note"))
    if "looks" in result.run:
        page.append(Paragraph(describe_looks(result.run["looks"]), "note"))
    if result.run["failures"]:
        failures = "; ".join(f"{name}: {why}" for name, why in result.run["failures"].items())
        page.append(Paragraph(f"**Not everything was made**: {failures}", "bad"))
    return [*page, Paragraph(_source(result))]


def _source(result: Result) -> str:
    """The date of the run, the logs and the searches."""
    counts = next((counts for counts in result.counts if counts["targets"] == result.main), None)
    searches = "no test search with a target"
    if counts:
        searches = f"{counts['sampled']:,} of {counts['searches']:,} test searches"
    date = result.run["made_at"].replace("T", " ").replace("+00:00", " UTC")
    return f"Made {date} from {result.spec['logs']['layout']} logs; {searches}; targets: {set_words(result.main)}."


def _beside(result: Result) -> str:
    """The baselines, and the share of the oracle's recall that the champion reaches; empty without any of them."""
    mean = served_levels(result)
    baselines = ", ".join(f"`{name}` {share(mean[name])}" for name in result.baselines if name in mean)
    sentences = [f"{result.recall.capitalize()} of the baselines: {baselines}."] if baselines else []
    best = mean.get(ORACLES[-1])
    if best and result.champion in mean:
        reached = f"`{result.champion}` reaches {mean[str(result.champion)] / best:.0%} of it"
        sentences.append(f"The oracle, which knows the simulated world, has {share(best)}; {reached}.")
    return " ".join(sentences)


def _leak_warning(result: Result) -> Paragraph:
    checks = result.audit["leaks"]
    leaks = [check["says"] for check in checks if check["status"] == "leak"] + result.checks.get("above_oracle", [])
    if leaks:
        return Paragraph(f"**Something leaks, do not believe these numbers**: {'; '.join(leaks)}.", "bad")
    clean = Counter(check["check"] for check in checks if check["status"] == "clean")
    kinds = ", ".join(f"{number} × {name}" if number > 1 else name for name, number in clean.items())
    return Paragraph(f"**No leak found** in {clean.total()} checks ({kinds}): see below.", "good")


def leak_status(remark: str) -> str:
    """The kind, leak or note, of a remark on the features of an arm."""
    return "leak" if is_leak(remark) else "note"


def answer_blocks(result: Result) -> list[Block]:
    """A sentence for each question and arm on the main target set, and the slices where arms differ most."""
    compared = {
        name: of_main
        for name, rows in result.compared.items()
        if (of_main := [row for row in rows if row.targets == result.main])
    }
    answers = [text for name, rows in compared.items() for text in answers_to(rows, result.title(name))]
    if not answers:
        return []
    method = (
        "Differences are paired on the same searches. Intervals are 95%, for all arms of a question together, "
        f"by a bootstrap over searchers. {noise(row for rows in compared.values() for row in rows)}"
    )
    page: list[Block] = [Heading("Answers"), Bullets(answers), Paragraph(method, "note")]
    slice_sentences = [sentence for rows in compared.values() if (sentence := for_whom(result.rows, widest(rows)))]
    if slice_sentences:
        page += [Heading("For whom (exploratory: many slices, intervals one by one)", 3), Bullets(slice_sentences)]
    return page

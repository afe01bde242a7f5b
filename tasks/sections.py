"""The sections of a report, the answer first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from data.experiment import BASELINES, ORACLES
from tasks import plots
from tasks.answers import (
    SETS,
    Row,
    answer,
    ends,
    for_whom,
    metric_name,
    noise,
    questions,
    share,
    signed,
    verdict_of,
)
from tasks.attainable import attainable
from tasks.ensemble_section import ensemble_blocks
from tasks.feedback_section import feedback_blocks
from tasks.page import Block, Bullets, Grid, Heading, Paragraph, Picture
from tasks.ranker_section import ranker_blocks
from tasks.result import Result
from tasks.slices import FEW_SEARCHES, WHOLE

PANELS = 5  # of slices, side by side


def blocks(result: Result) -> list[Block]:
    """All of the report."""
    return [
        *_opening(result),
        *_answers(result),
        *_differences(result),
        *_curves(result),
        *attainable(result),
        *_slices(result),
        *_levels(result),
        *_ensembles(result),
        *ranker_blocks(result.rankers),
        *feedback_blocks(result.feedback),
        *_indexes(result),
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
    """What stands at the top: when, on what, whether something leaks or failed."""
    count = next((each for each in result.counts if each["targets"] == result.main), None)
    on = f"{count['sampled']:,} of {count['searches']:,} test searches" if count else "no test search with a target"
    made = result.run["made_at"].replace("T", " ").replace("+00:00", " UTC")
    page: list[Block] = [
        Paragraph(f"Made {made} from {result.asked['logs']['layout']} logs; {on}; targets: {SETS[result.main]}.")
    ]
    leaks = [check for check in result.audit["leaks"] if check["status"] == "leak"]
    above = result.checks.get("above_oracle", [])
    if leaks or above:
        told = "; ".join([*(check["says"] for check in leaks), *above])
        page.append(Paragraph(f"**Something leaks, do not believe these numbers**: {told}.", "bad"))
    else:
        clean = Counter(check["check"] for check in result.audit["leaks"] if check["status"] == "clean")
        kinds = ", ".join(f"{number} × {name}" if number > 1 else name for name, number in clean.items())
        page.append(Paragraph(f"**No leak found** in {clean.total()} checks ({kinds}): see below.", "good"))
    page += [
        Paragraph(f"**Do not believe the numbers of {arm}**: it {told}.", "bad")
        for arm, told in result.checks.get("leaks", {}).items()
        if _leak_status(told) == "leak"
    ]
    if result.run["failures"]:
        told = "; ".join(f"{name}: {why}" for name, why in result.run["failures"].items())
        page.append(Paragraph(f"**Not everything was made**: {told}", "bad"))
    return page


def _answers(result: Result) -> list[Block]:
    asked = questions([row for row in result.rows if row["targets"] == result.main])
    page: list[Block] = [Heading("Answers")]
    best = _best(result)
    if best:
        page.append(Paragraph(best))
    said = [answer(row, result.asked["questions"][name]["title"]) for name, rows in asked.items() for row in rows]
    if said:
        page.append(Bullets(said))
        page.append(
            Paragraph(
                "Differences are paired on the same searches. Intervals are 95 %, for all arms of a question together, "
                f"by a bootstrap over searchers. {noise(result.rows)}",
                "note",
            )
        )
    whom = [told for rows in asked.values() if (told := for_whom(result.rows, _widest(rows)))]
    if whom:
        page += [Heading("For whom (exploratory: many slices, intervals one by one)", 3), Bullets(whom)]
    return page


def _widest(rows: list[Row]) -> Row:
    """The arm of a question that differs most."""
    return max(rows, key=lambda row: abs(row["difference"]))


def _best(result: Result) -> str | None:
    """The arm with the highest recall, beside the baselines and the oracle."""
    values: dict[str, list[Row]] = {}
    for row in result.plain:
        if (row["targets"], row["metric"], row["k"]) == (result.main, "recall", result.k):
            values.setdefault(row["arm"], []).append(row)
    mean = {arm: sum(row["value"] for row in rows) / len(rows) for arm, rows in values.items()}
    arms = [arm for arm in mean if arm not in (*BASELINES, *ORACLES)]
    if not arms:
        return None
    best = max(arms, key=mean.__getitem__)
    one = values[best][0]
    interval = share(mean[best], one["low"], one["high"]) if len(values[best]) == 1 else share(mean[best])
    others = ", ".join(f"`{name}` {share(mean[name])}" for name in BASELINES if name in mean)
    oracle = ORACLES[-1]
    limit = (
        f"; {mean[best] / mean[oracle]:.0%} of what the oracle reaches ({share(mean[oracle])})"
        if oracle in mean
        else ""
    )
    return f"`{best}` has the highest recall@{result.k}: {interval}{limit}. Without a model: {others}."


def _line(row: Row, label: str) -> plots.Line:
    """A result row as a line of a forest plot; a slice has no family."""
    low, high = row["difference_low"], row["difference_high"]
    family = (row["family_low"], row["family_high"]) if row["family_low"] is not None else (low, high)
    colour = row["verdict"] or row["finding"] or "unclear"
    return plots.Line(label, row["difference"], low, high, *family, colour, faint=bool(row["small"]))


def _differences(result: Result) -> list[Block]:
    """The forest plot of all questions, a panel for each target set, and its table."""
    asked = questions(result.rows)
    if not asked:
        return []
    names = result.sets
    panels: dict[str, list[plots.Line]] = {name: [] for name in names}
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for name, rows in asked.items():
        for row in rows:
            label = f"{name}: {row['arm']} − {row['baseline']}"
            panels[row["targets"]].append(_line(row, label))
            verdict = verdict_of(row)
            text = f"{signed(row['difference'])} {ends(row['family_low'], row['family_high'])}; {verdict}"
            cells.setdefault((name, row["arm"]), {})[row["targets"]] = text
    metrics = sorted({metric_name(row) for rows in asked.values() for row in rows})
    first = {(row["question"], row["arm"]): row for rows in asked.values() for row in rows}
    table = [
        [name, arm, first[name, arm]["baseline"], metric_name(first[name, arm]), first[name, arm]["claim"] or "–"]
        + [of.get(targets, "–") for targets in names]
        for (name, arm), of in cells.items()
    ]
    headers, table, same = _without_constants(["question", "arm", "baseline", "metric", "claim", *names], table)
    margins = {row["margin"] for rows in asked.values() for row in rows}
    margin = margins.pop() if len(margins) == 1 else None
    figure = plots.forest(panels, margin, f"difference in {', '.join(metrics)}")
    words = "Differences to the baseline with intervals, for each question and target set"
    return [
        Heading("Differences to the baseline"),
        Picture("differences", plots.svg(figure), words),
        Paragraph(
            "Thick line: 95 % interval of this difference by itself; thin line: of all arms of the question together, "
            "which the verdict goes by. Green: the claim holds; red: contradicted; grey: undecided."
            + (f" The band is what counts as equal, ± {share(margin)}." if margin else "")
        ),
        Grid(headers, table, f"{same}Targets: " + "; ".join(f"{name}: {SETS[name]}" for name in names) + "."),
    ]


def _without_constants(headers: list[str], table: list[list[str]]) -> tuple[list[str], list[list[str]], str]:
    """The table without baseline and metric where they are the same in every line, and a word on what they are."""
    same = [at for at in (2, 3) if len({row[at] for row in table}) == 1]
    kept = [at for at in range(len(headers)) if at not in same]
    words = "".join(f"{headers[at].capitalize()}: {table[0][at]}. " for at in same)
    return [headers[at] for at in kept], [[row[at] for at in kept] for row in table], words


def _curves(result: Result) -> list[Block]:
    panels: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for name in result.sets:
        curves: dict[str, dict[int, list[float]]] = {}
        for row in result.plain:
            shown = row["arm"] not in ORACLES or name == "truth"  # clicks are not what the oracle aims at
            if row["targets"] == name and row["metric"] == "recall" and shown:
                curves.setdefault(row["arm"], {}).setdefault(row["k"], []).append(row["value"])
        panels[name] = {
            arm: sorted((k, sum(values) / len(values)) for k, values in by_k.items()) for arm, by_k in curves.items()
        }
    words = "Recall by K of every arm, a panel for each target set"
    return (
        [Heading("Recall by K"), Picture("recall-by-k", plots.svg(plots.recall_by_k(panels)), words)] if panels else []
    )


def _slices(result: Result) -> list[Block]:
    """A forest of each question's widest difference by slice, and every arm's recall by slice on demand."""
    page: list[Block] = [Heading("Slices")]
    page.append(
        Paragraph(
            "Slices are exploratory: with so many, some differ by chance, and their intervals hold one by one only. "
            f"Pale and marked small: fewer than {FEW_SEARCHES} searches or too few searchers. A search belongs to the "
            "slice of its main target. Of a question with several arms, the one that differs most is shown.",
            "note",
        )
    )
    asked = list(questions([row for row in result.rows if row["targets"] == result.main]).values())
    for first in range(0, len(asked), PANELS):
        panels = dict(_by_slice(result, _widest(rows)) for rows in asked[first : first + PANELS])
        metrics = sorted({metric_name(row) for rows in asked[first : first + PANELS] for row in rows})
        figure = plots.forest(panels, None, f"difference in {', '.join(metrics)}")
        page.append(Picture(f"slices-{first // PANELS + 1}", plots.svg(figure), "Differences by slice"))
    return [*page, *(_slice_table(result, targets) for targets in result.sets)]


def _by_slice(result: Result, whole: Row) -> tuple[str, list[plots.Line]]:
    """The differences of one arm in every slice."""
    key = (whole["question"], whole["arm"], result.main)
    mine = [
        row
        for row in result.rows
        if (row["question"], row["arm"], row["targets"]) == key and row["difference"] is not None
    ]
    lines = [_line(row, f"{row['slice']} ({row['n']:,}{', small' if row['small'] else ''})") for row in mine]
    return f"{whole['question']}\n{whole['arm']} − {whole['baseline']}", lines


def _slice_table(result: Result, targets: str) -> Grid:
    """Every arm's recall@K in every slice."""
    by_slice: dict[str, dict[str, list[Row]]] = {}
    for row in result.levels:
        if (row["targets"], row["metric"], row["k"]) == (targets, "recall", result.k) and row["arm"] not in ORACLES:
            by_slice.setdefault(row["slice"], {}).setdefault(row["arm"], []).append(row)
    arms = sorted({arm for of in by_slice.values() for arm in of}, key=lambda arm: (arm in BASELINES, arm))
    table = []
    for name, of in by_slice.items():
        one = next(iter(of.values()))[0]
        means = [share(sum(row["value"] for row in of[arm]) / len(of[arm])) if arm in of else "–" for arm in arms]
        table.append([name + (" *small*" if one["small"] else ""), f"{one['n']:,}", *means])
    return Grid(["slice", "n", *arms], table, f"recall@{result.k} by slice, targets: {SETS[targets]}", folded=True)


def _levels(result: Result) -> list[Block]:
    """All metrics of all arms, the main target set shown, the others on demand."""
    page: list[Block] = [Heading("All metrics")]
    k, deepest = result.k, max(result.asked["evaluation"]["ks"])
    columns = [("recall", each) for each in result.asked["evaluation"]["ks"]]
    columns += [("mrr", None), ("ndcg", k), ("success", k), ("coverage", k), ("popularity_lift", k)]
    names = [*(f"recall@{each}" for each in result.asked["evaluation"]["ks"]), f"MRR@{deepest}"]
    names += [f"nDCG@{k}", f"success@{k}", f"coverage@{k}", f"popularity lift@{k}"]
    for targets in result.sets:
        runs: dict[tuple[str, Any], dict[tuple[str, Any], Row]] = {}
        for row in result.plain:
            if row["targets"] == targets:
                runs.setdefault((row["arm"], row["seed"]), {})[row["metric"], row["k"]] = row
        ordered = sorted(runs.items(), key=lambda run: (run[0][0] in ORACLES, -run[1]["recall", k]["value"]))
        table = [
            [arm if seed is None or not seed else f"{arm}, seed {seed}"]
            + [_level(of[column], with_ends=column == ("recall", k)) for column in columns]
            for (arm, seed), of in ordered
        ]
        caption = (
            f"Targets: {SETS[targets]}. Coverage: share of the documents alive that any search shows; popularity lift: "
            "how much more popular the retrieved are than the targets, in shares of the documents; intervals over "
            "searchers, training noise not included."
        )
        page.append(Grid(["arm", *names], table, caption, folded=targets != result.main))
    return page


def _level(row: Row, with_ends: bool) -> str:
    if row["metric"] == "popularity_lift":
        return signed(row["value"])
    return share(row["value"], row["low"], row["high"]) if with_ends else share(row["value"])


def _ensembles(result: Result) -> list[Block]:
    rows = [row for row in result.plain if row["targets"] == result.main]
    return ensemble_blocks(result.ensembles, result.asked, rows, result.costs, result.k)


def _indexes(result: Result) -> list[Block]:
    """What the indexes lose and cost, against exact search."""
    k = result.k
    found: dict[tuple[Any, ...], dict[str, float]] = {}
    for row in result.rows:
        plain = row["question"] is None and row["slice"] == WHOLE and row["targets"] == result.main
        if plain and row["index"] not in ("exact", "none") and row["k"] == k:
            found.setdefault((row["arm"], row["seed"], row["index"]), {})[row["metric"]] = row["value"]
    for cost in result.costs:
        if (cost["arm"], cost["seed"], cost["index"]) in found:
            found[cost["arm"], cost["seed"], cost["index"]][cost["cost"]] = cost["value"]
    if not found:
        return []
    table = [
        [
            arm if not seed else f"{arm}, seed {seed}",
            index,
            share(of["recall"]),
            share(of["index_recall"]) if "index_recall" in of else "–",
            f"{of['index_bytes'] / 1e6:.1f} MB" if "index_bytes" in of else "–",
            f"{of['queries_per_s']:,.0f}" if "queries_per_s" in of else "–",
        ]
        for (arm, seed, index), of in found.items()
    ]
    caption = "Index recall: the share of the exactly nearest that the index finds; it is never mixed with the model's."
    headers = ["arm", "index", f"recall@{k}", f"index recall@{k}", "size", "queries/s"]
    return [Heading("Indexes"), Grid(headers, table, caption)]


def _leaks(result: Result) -> list[Block]:
    """What was looked at in search of leaks."""
    lines = [[check["check"], check["status"], check["says"]] for check in result.audit["leaks"]]
    lines += [[f"edges of {arm}", _leak_status(told), told] for arm, told in result.checks.get("leaks", {}).items()]
    caption = "A note is no leak, but makes the test easier or harder to believe."
    return [Heading("Leak checks"), Grid(["check", "result", "what was found"], lines, caption)]


def _leak_status(told: str) -> str:
    """What the features of an arm are, by what was found of them."""
    return "leak" if told.startswith("leaks") else "note"


def _sampled(result: Result) -> list[Block]:
    """B17: what 100 sampled negatives would have said."""
    told = result.audit["sampled"].get(result.main)
    if not told or len(told["arms"]) < 2:
        return []
    arms = sorted(told["arms"].items(), key=lambda arm: -arm[1]["whole"])
    by_sample = [name for name, _ in sorted(told["arms"].items(), key=lambda arm: -arm[1]["sampled"])]
    table = [
        [name, share(both["whole"]), str(place), share(both["sampled"]), str(1 + by_sample.index(name))]
        for place, (name, both) in enumerate(arms, 1)
    ]
    pairs = len(told["changed"])
    every = len(arms) * (len(arms) - 1) // 2
    agreement = "–" if told["agreement"] is None else f"{told['agreement']:+.2f}".replace("-", "−")
    k, n = told["k"], told["negatives"]
    order = f"{pairs} of {every} pairs of arms would have changed places." if pairs else "No pair changes places."
    said = f"Kendall's τ of the two orders is {agreement}. {order}"
    headers = ["arm", f"recall@{k}, whole corpus", "place", f"recall@{k}, {n} sampled", "place"]
    return [
        Heading("Had the targets been ranked among sampled negatives"),
        Paragraph(
            f"B17: many evaluations rank a target among {n} random documents in place of the whole corpus. {said} "
            "The expected value is computed from exact ranks, nothing is drawn."
        ),
        Grid(headers, table),
    ]


def _costs(result: Result) -> list[Block]:
    """What training cost."""
    runs: dict[tuple[str, Any], dict[str, float]] = {}
    for cost in result.costs:
        if cost["index"] in (None, "exact"):
            runs.setdefault((cost["arm"], cost["seed"]), {})[cost["cost"]] = cost["value"]
    if not runs:
        return []
    table = [
        [arm, "–" if seed is None else str(seed), *(_cost(of, name, form) for name, form in SPENT.items())]
        for (arm, seed), of in runs.items()
    ]
    headers = ["arm", "seed", "training", "pairs seen", "pairs/s", "rows of the table", "queries/s, exact"]
    return [Heading("Cost"), Grid(headers, table, "On the machine named below; other arms may have run beside.")]


SPENT = {
    "train_s": "{:.1f} s",
    "pairs": "{:,.0f}",
    "pairs_per_s": "{:,.0f}",
    "table_rows": "{:,.0f}",
    "queries_per_s": "{:,.0f}",
}


def _cost(of: dict[str, float], name: str, form: str) -> str:
    return form.format(of[name]) if name in of else "–"


def _data(result: Result) -> list[Block]:
    """The data report."""
    data = result.data
    tables = [
        [name, f"{table['read']:,}", f"{table['kept']:,}", _dropped(table["dropped"])]
        for name, table in data["tables"].items()
    ]
    parts = [
        [name, *(f"{part[key]:,}" for key in ("searches", "clicks", "impressions", "queries", "searchers"))]
        for name, part in data["splits"].items()
    ]
    page: list[Block] = [Heading("Data"), Grid(["table", "read", "kept", "dropped"], tables)]
    page.append(Grid(["part", "searches", "clicks", "impressions", "distinct queries", "searchers"], parts))
    if data["cuts"] and data["cuts"]["test_from"]:
        page.append(
            Paragraph(f"Validation from {data['cuts']['validation_from']}, test from {data['cuts']['test_from']} on.")
        )
    sets = [
        [count["targets"], *(f"{count[key]:,}" for key in ("searches", "with_target", "sampled", "targets_not_alive"))]
        for count in result.counts
    ]
    page.append(Grid(["targets", "test searches", "with a target", "sampled", "targets not alive, left out"], sets))
    if data["cannot"]:
        page += [Heading("What these logs cannot answer", 3)]
        page.append(Bullets([f"{each['needs']}: {each['so']}." for each in data["cannot"]]))
    return page


def _dropped(reasons: list[dict[str, Any]]) -> str:
    return "; ".join(f"{dropped['reason']}: {dropped['rows']:,}" for dropped in reasons) or "–"


def _versions(result: Result) -> list[Block]:
    versions = [f"{name} {version}" for name, version in result.run["versions"].items()]
    places = f"Log `{result.run['log']}`, results `{result.run['results']}`."
    return [Heading("Versions"), Paragraph(", ".join(versions) + "."), Paragraph(places)]

"""The tables that a terminal shows after a run."""

from __future__ import annotations

from typing import Any

from data.experiment.experiment_spec import ORACLES, Experiment, nearest_to_10
from ebr_core.search.index_specs import EXACT, NO_INDEX, OWN_INDEXES
from tasks.list_measures import COUNTS, EVERY_SET
from tasks.report.answers import difference, noise, verdict_of
from tasks.report.formats import count, three_digits
from tasks.report.measures import measure_columns
from tasks.report.page import Columns, Grid, tabulate
from tasks.report.refit_section import REMARK
from tasks.report.result import MAIN, ResultRow, cells, pivot, questions, without_oracles, written
from tasks.slices import WHOLE

TARGETS = {
    "clicked": "targets: clicked documents (or what stands in for clicks)",
    "judged": "targets: judged documents",
    "recovered": "targets: what a failed search's session clicked later",
    "randomised": "targets: what was clicked in lists shown in random order",
    "truth": "targets: what the searcher wanted, clicked or not",
}
SLICES = (WHOLE, "misspelt")
UNAVAILABLE = "not available"
RunKey = tuple[str, int | None, str]  # arm, seed, index
RowByMeasure = dict[str, ResultRow]  # by measure


def recall_grid(rows: list[ResultRow], counts: dict[str, Any], checks: dict[str, Any], spec: Experiment) -> Grid:
    """A line for each arm, seed and index: recall@K, the middle K with its 95% interval, MRR, the cost of the index.

    rows: those of one target set; counts: the entry of that set in counts.json.
    """
    ks = sorted(spec.evaluation.ks)
    k = ks[len(ks) // 2]
    plain = [row for row in without_oracles(rows, counts["targets"]) if row.question is None and row.slice == WHOLE]
    runs = cells(plain, lambda row: (row.arm, row.seed, row.index), lambda row: row.measure)
    best = next((by[f"recall@{k}"].value for run, by in runs.items() if run[0] == ORACLES[-1]), None)
    order = _order(runs, f"recall@{k}")
    columns: Columns[RunKey] = [
        ("arm", lambda run: _name(run, checks, spec)),
        ("index", lambda run: run[2]),
        *measure_columns(runs, ks, k, lambda measure: measure.on_terminal),
    ]
    if best:
        columns.append(("of the oracle", lambda run: f"{runs[run][f'recall@{k}'].value / best:.0%}"))
    missing = [[arm, NO_INDEX, *[UNAVAILABLE] * len(ks), UNAVAILABLE, ""] for arm in checks["unavailable"]]
    ceilings = checks["ceilings"][counts["targets"]]
    ceiling = ["ceiling", "", *(three_digits(ceilings[f"recall@{depth}"]) for depth in ks), "", ""]
    grid = tabulate(columns, order, _caption(counts, checks))
    styles = ["dim" if arm in spec.baselines else "italic" if arm in ORACLES else "" for arm, *_ in order]
    return grid._replace(
        title=TARGETS[counts["targets"]],
        rows=[*grid.rows, *missing, ceiling],
        left=2,
        breaks=frozenset(
            at for at, run in enumerate(order) if run[0] == ORACLES[-1]
        ),  # above the best oracle, which is the first
        styles=(*styles, *["dim"] * len(missing), "italic dim"),
    )


def _order(runs: dict[RunKey, RowByMeasure], recall: str) -> list[RunKey]:
    """Arms by recall, an arm's indexes below its exact search, the oracles at the end."""
    values = {run[:2]: by[recall].value for run, by in runs.items()}  # for a retrieval, through its index
    values |= {run[:2]: by[recall].value for run, by in runs.items() if run[2] in OWN_INDEXES}
    return sorted(runs, key=lambda run: (run[0] in ORACLES, -values[run[:2]], str(run[:2]), run[2] != EXACT))


def _name(run: RunKey, checks: dict[str, Any], spec: Experiment) -> str:
    """The arm with its marks; empty for its indexes, which follow below it."""
    arm, seed, index = run
    if index not in OWN_INDEXES and arm not in spec.combined_lists:
        return ""
    return _with_seed(arm, seed, spec) + _mark(checks["leaks"].get(arm)) + _length_mark(arm, checks, spec)


def _with_seed(arm: str, seed: int | None, spec: Experiment) -> str:
    return arm if seed is None or len(spec.seeds) == 1 else f"{arm}, seed {seed}"


def _mark(leak: str | None) -> str:
    """The mark after the name of an arm whose features may hold answers of the test."""
    return "" if leak is None else " (LEAK)" if leak.startswith("leaks") else " (may leak)"


def _length_mark(arm: str, checks: dict[str, Any], spec: Experiment) -> str:
    """The mark of an arm whose training did not end by convergence."""
    if EVERY_SET in checks["undecidable"].get(arm, {}):
        return " (not converged)"
    return " (fixed length)" if arm in spec.arms and spec.arms[arm].training.is_fixed else ""


def _caption(counts: dict[str, Any], checks: dict[str, Any]) -> str:
    without = counts["searches"] - counts["with_target"]
    lines = [
        f"{counts['sampled']:,} of {counts['searches']:,} test searches; {without:,} have no target and are left out."
    ]
    if counts["targets_not_alive"]:
        lines.append(f"{counts['targets_not_alive']:,} targets were not alive in the period and are left out.")
    if counts.get("targets_excluded"):
        lines.append(
            f"{counts['targets_excluded']:,} targets are documents that their searcher clicked before the period; like "
            "these documents in every list, they are left out."
        )
    lines.append("The ceiling is what searches with more than K targets allow.")
    if checks.get("refits"):
        lines.append(f"{REMARK}.")
    lines += [f"{arm}: {UNAVAILABLE}, {reason}." for arm, reason in checks["unavailable"].items()]
    lines += [f"{arm}{_mark(remark)}: it {remark}." for arm, remark in checks["leaks"].items()]
    lines += [
        f"{arm}: nothing is decided; {reasons[EVERY_SET]}."
        for arm, reasons in checks["undecidable"].items()
        if EVERY_SET in reasons
    ]
    return "\n".join(lines)


def question_grid(rows: list[ResultRow], spec: Experiment) -> Grid:
    """Each question: the differences to its baseline, paired on the same searches, a column for each target set."""
    compared = [row for by_question in questions(rows).values() for row in by_question]
    by_arm = cells(compared, lambda row: (row.question, row.arm), lambda row: row.targets)
    lines = [(name, arm, at == 0) for name, question in spec.questions.items() for at, arm in enumerate(question.arms)]

    def on(targets: str, name: str, arm: str) -> str:
        row = by_arm.get((name, arm), {}).get(targets)
        return f"{difference(row)}; {verdict_of(row)}" if row else UNAVAILABLE

    columns: Columns[tuple[str, str, bool]] = [
        ("question", lambda line: f"{line[0]} {spec.questions[line[0]].title}".strip() if line[2] else ""),
        ("claim", lambda line: (spec.questions[line[0]].claim or "") if line[2] else ""),
        ("arm − baseline", lambda line: f"{line[1]} − {spec.questions[line[0]].baseline}"),
    ]
    title = "difference to the baseline on the same searches, and what became of the claim"
    metrics = {question.metric for question in spec.questions.values()}
    if len(metrics) > 1:
        columns.append(("metric", lambda line: spec.questions[line[0]].metric))
    sets = [name for name in MAIN if any(row.targets == name for row in rows)]
    columns += [(name, lambda line, name=name: on(name, *line[:2])) for name in sets]  # type: ignore[misc]
    return tabulate(columns, lines, _how_sure(rows))._replace(
        title=f"{'questions' if len(metrics) > 1 else metrics.pop()}: {title}",
        left=len(columns),
        unwrapped=("arm − baseline", *sets),
        breaks=frozenset(at for at, line in enumerate(lines) if line[2]),
    )


def _how_sure(rows: list[ResultRow]) -> str:
    remark = noise(rows).replace("**", "")
    return f"95% intervals over searchers, for all arms of a question together (max-t). {remark}"


def pair_grid(rows: list[ResultRow]) -> Grid | None:
    """recall@10 (or the nearest K) of searches whose (query, searcher) pair was seen in training, and of new ones; None
    where no search of the test repeats one of the training window."""
    slices = {"(query, searcher): seen": "seen", "(query, searcher): new": "new"}
    levels = [
        row
        for row in rows
        if row.question is None and (row.targets, row.metric) == ("clicked", "recall")
        if row.slice in slices and row.arm not in ORACLES
    ]
    if "seen" not in {slices[row.slice] for row in levels}:
        return None
    k = nearest_to_10({row.k or 0 for row in levels})
    shown = [row for row in levels if row.k == k]
    values = pivot(shown, ["arm", "index"], "slice").reindex(columns=list(slices))
    searches = {(row.arm, row.index, row.slice): row.n for row in reversed(shown)}
    best_first = values.iloc[:, 1].fillna(0).mul(-1).sort_values(kind="stable").index
    columns: Columns[tuple[str, str]] = [("arm", lambda line: line[0]), ("index", lambda line: line[1])]
    for name, heading in slices.items():
        columns.append((heading, written(values[name], three_digits, missing="")))
        columns.append(("n", lambda line, name=name: count(searches.get((*line, name), 0))))  # type: ignore[misc]
    title = f"clicked, recall@{k}: (query, searcher) seen or new"
    return tabulate(columns, best_first)._replace(title=title, left=2)


def retrieval_grid(rows: list[ResultRow], spec: Experiment) -> Grid:
    """The lists made of arms, side by side: recall@K by target set and slice, precision@K, documents scanned and
    returned. K is the nearest to 10."""
    k, names = spec.evaluation.main_k, list(spec.combined_lists)
    rows_of_lists = [row for row in rows if row.arm in names and row.question is None]
    sets = sorted({row.targets for row in rows_of_lists})
    measured = {(row.targets, row.slice) for row in rows_of_lists}
    by_run = cells(rows_of_lists, lambda row: (row.arm, row.seed), lambda row: (row.targets, row.slice, row.measure))
    columns: Columns[tuple[str, int | None]] = [("retrieval", lambda run: _with_seed(*run, spec))]

    def add(heading: str, show: Any, *key: str) -> None:
        columns.append((heading, lambda run: show(by_run[run][key].value)))  # type: ignore[index]

    for targets, part in ((targets, part) for targets in sets for part in SLICES if (targets, part) in measured):
        add(targets if part == WHOLE else f"{targets}, {part}", three_digits, targets, part, f"recall@{k}")
    for targets in sets:
        add(f"{targets}, precision@{k}", three_digits, targets, WHOLE, f"precision@{k}")
    for metric in COUNTS:
        add(metric, count, sets[0], WHOLE, metric)
    lines = sorted(by_run, key=lambda run: (names.index(run[0]), str(run[1])))
    caption = "Scanned: documents compared by an embedding, mean over the searches. Returned: documents listed."
    return tabulate(columns, lines, caption)._replace(title=f"retrievals: recall@{k} by targets and slice")

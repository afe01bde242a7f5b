"""The tables that a terminal shows after a run."""

from __future__ import annotations

from typing import Any

from data.experiment.experiment_spec import ORACLES, Experiment, arm_of
from ebr_core.search.index_specs import EXACT, NO_INDEX, OWN_INDEXES
from ebr_core.search.modes import is_of_arm
from tasks.finished_run import ServedRow
from tasks.leaks import is_leak
from tasks.list_measures import COUNTS, EVERY_SET
from tasks.report.answers import CLAIMS, noise, outcome_cell
from tasks.report.engine_rows import NO_RIVAL, engine_rows
from tasks.report.formats import count, three_digits
from tasks.report.level_sections import LATEST_REMARK
from tasks.report.measures import measure_columns
from tasks.report.page import Columns, Grid, tabulate
from tasks.report.refit_section import REMARK
from tasks.report.result import (
    FEW,
    REFERENCE,
    ResultRow,
    cells,
    pivot,
    questions,
    without_oracles,
    written,
)
from tasks.report.seed_means import over_seeds, validation_recalls
from tasks.report.served_row import SERVED, is_served, is_shown
from tasks.report.target_sets import in_order, set_title
from tasks.slices import WHOLE

SLICES = (WHOLE, "misspelt")
UNAVAILABLE = "not available"
AGAINST = f"against {REFERENCE}"
RunKey = tuple[str, str]  # arm, index
RowByMeasure = dict[str, ResultRow]  # by measure


def recall_grid(
    rows: list[ResultRow],
    counts: dict[str, Any],
    checks: dict[str, Any],
    spec: Experiment,
    validation: list[ResultRow],
    served: ServedRow | None = None,
) -> Grid:
    """A line for each arm and index, means over seeds: recall@K, the main one with its 95% interval, MRR, the cost of
    the index, the difference to BM25 with its finding, recall on validation.

    rows: those of one target set; counts: the entry of that set in counts.json; validation: the rows of that split.
    """
    ks, k = sorted(spec.evaluation.ks), spec.evaluation.main_k
    plain = [row for row in without_oracles(over_seeds(rows), counts["targets"]) if row.slice == WHOLE]
    plain = [row for row in plain if is_shown(served, row)]
    runs = cells(plain, lambda row: (row.arm, row.index), lambda row: row.measure)
    best = next((by[f"recall@{k}"].value for run, by in runs.items() if run[0] == ORACLES[-1]), None)
    apart = engine_rows(checks, counts["targets"], spec.lists)
    order, against = _order(runs, f"recall@{k}", apart), _against_reference(rows, f"recall@{k}")
    columns: Columns[RunKey] = [
        ("arm", lambda run: _name(run, checks, spec, served) + (NO_RIVAL if run[0] in apart else "")),
        ("index", lambda run: run[1]),
        *measure_columns(runs, ks, k, lambda measure: measure.on_terminal),
        *_validation_column(validation, k, spec),
    ]
    if against:
        columns.append((AGAINST, lambda run: outcome_cell(against[run]) if run in against else ""))
    if best:
        columns.append(("of the oracle", lambda run: f"{runs[run][f'recall@{k}'].value / best:.0%}"))
    empty = [""] * (len(columns) - 2 - len(ks))
    missing = [[arm, NO_INDEX, *[UNAVAILABLE] * len(ks), *empty] for arm in checks["unavailable"]]
    ceilings = checks["ceilings"][counts["targets"]]
    ceiling = ["ceiling", "", *(three_digits(ceilings[f"recall@{depth}"]) for depth in ks), *empty]
    grid = tabulate(columns, order, _caption(counts, checks, spec))
    styles = ["dim" if arm in spec.baselines else "italic" if arm in ORACLES else "" for arm, _ in order]
    return grid._replace(
        title=set_title(counts["targets"]),
        rows=[*grid.rows, *missing, ceiling],
        left=2,
        unwrapped=("arm", f"recall@{k}", AGAINST),
        breaks=_breaks(order, apart),
        styles=(*styles, *["dim"] * len(missing), "italic dim"),
    )


def _breaks(order: list[RunKey], apart: frozenset[str]) -> frozenset[int]:
    """The lines above which a table is divided: the first that made its targets, and the first of the oracles."""
    groups = ([arm in apart for arm, _ in order], [arm in ORACLES for arm, _ in order])
    return frozenset(group.index(True) for group in groups if True in group)


def _validation_column(rows: list[ResultRow], k: int, spec: Experiment) -> Columns[RunKey]:
    """The column of recall on validation, of each arm by itself; none where no row was measured there."""
    recalls = {arm: three_digits(row.value, row.low, row.high) for arm, row in validation_recalls(rows, k).items()}
    heading = f"validation recall@{k}"
    return [(heading, lambda run: recalls.get(run[0], "") if _is_own(run, spec) else "")] if recalls else []


def _against_reference(rows: list[ResultRow], measure: str) -> dict[RunKey, ResultRow]:
    """The difference of each arm and index to BM25, from the questions that compare them."""
    compared = [row for by_question in questions(rows).values() for row in by_question]
    of_reference = [row for row in compared if (row.baseline, row.measure) == (REFERENCE, measure)]
    return {(arm_of(row.arm), row.index): row for row in reversed(of_reference)}


def validation_grids(rows: list[ResultRow], checks: dict[str, Any], spec: Experiment) -> list[Grid]:
    """For each target set, a line for each arm and index with its figures on the validation searches alone."""
    ks, k, grids = sorted(spec.evaluation.ks), spec.evaluation.main_k, []
    for targets in in_order(row.targets for row in rows):
        of_set = [row for row in over_seeds(rows) if row.targets == targets]
        runs = cells(of_set, lambda row: (row.arm, row.index), lambda row: row.measure)
        apart = engine_rows(checks, targets, spec.lists)
        columns: Columns[RunKey] = [
            ("arm", lambda run, apart=apart: _name(run, checks, spec) + (NO_RIVAL if run[0] in apart else "")),  # type: ignore[misc]
            ("index", lambda run: run[1]),
            *measure_columns(runs, ks, k, lambda measure: measure.on_terminal),
        ]
        caption = [f"{max(row.n for row in of_set):,} validation searches. 95% intervals over searchers."]
        grid = tabulate(columns, _order(runs, f"recall@{k}", apart), "\n".join([*caption, *_remarks(checks, targets)]))
        grids.append(grid._replace(title=f"validation, {set_title(targets)}", left=2))
    return grids


def _order(runs: dict[RunKey, RowByMeasure], recall: str, apart: frozenset[str]) -> list[RunKey]:
    """Arms by recall, an arm's indexes below its exact search; behind them those that stand apart, and the oracles."""
    values = {arm: by[recall].value for (arm, _), by in runs.items()}  # for a retrieval, through its index
    values |= {arm: by[recall].value for (arm, index), by in runs.items() if index in OWN_INDEXES}
    return sorted(runs, key=lambda run: (run[0] in ORACLES, run[0] in apart, -values[run[0]], run[0], run[1] != EXACT))


def _is_own(run: RunKey, spec: Experiment) -> bool:
    """True for an arm by itself; False for its indexes, which follow below it."""
    return run[1] in OWN_INDEXES or run[0] in spec.combined_lists


def _name(run: RunKey, checks: dict[str, Any], spec: Experiment, served: ServedRow | None = None) -> str:
    """The arm with its marks; empty for its indexes, unless that row is served."""
    mark = SERVED if is_served(served, *run) else ""
    marks = _mark(checks["leaks"].get(run[0])) + _length_mark(run[0], checks, spec)
    return run[0] + marks + mark if _is_own(run, spec) else mark.strip()


def _mark(leak: str | None) -> str:
    """The mark after the name of an arm whose features may hold answers of the test."""
    return "" if leak is None else " (LEAK)" if is_leak(leak) else " (may leak)"


def _length_mark(arm: str, checks: dict[str, Any], spec: Experiment) -> str:
    """The mark of an arm whose training did not end by convergence."""
    if EVERY_SET in checks["undecidable"].get(arm, {}) and not is_leak(checks["leaks"].get(arm)):
        return " (not converged)"
    return " (fixed length)" if arm in spec.arms and spec.arms[arm].training.is_fixed else ""


def _caption(counts: dict[str, Any], checks: dict[str, Any], spec: Experiment) -> str:
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
    if len(spec.seeds) > 1:
        lines.append(f"Means over {len(spec.seeds)} seeds; the report has each seed.")
    if checks.get("refits"):
        lines.append(f"{REMARK}.")
    if any(arm.features.reads_clicks for arm in spec.arms.values()):
        lines.append(f"{LATEST_REMARK}.")
    lines += [f"{arm}: {UNAVAILABLE}, {reason}." for arm, reason in checks["unavailable"].items()]
    return "\n".join([*lines, *_remarks(checks, counts["targets"])])


def _remarks(checks: dict[str, Any], targets: str) -> list[str]:
    """A line for each arm that may leak, or about which nothing is decided; its hybrids need none of their own."""
    lines = [f"{arm}{_mark(remark)}: it {remark}." for arm, remark in checks["leaks"].items() if is_of_arm(arm)]
    for arm, reasons in checks["undecidable"].items():
        if is_of_arm(arm) and arm not in checks["leaks"] and (reason := reasons.get(targets) or reasons.get(EVERY_SET)):
            lines.append(f"{arm}: nothing is decided; {reason}.")
    return lines


def _undecided(rows: list[ResultRow]) -> list[str]:
    """A footnote for each reason why nothing is decided, with the arms that it concerns."""
    arms: dict[str, list[str]] = {}
    for row in rows:
        if row.open_because:
            arms.setdefault(row.open_because, []).append(f"{row.arm} − {row.baseline}")
    return [f"Not decided ({', '.join(dict.fromkeys(names))}): {reason}." for reason, names in arms.items()]


def question_grid(rows: list[ResultRow], spec: Experiment) -> Grid | None:
    """Each question: the differences to its baseline, paired on the same searches, a column for each target set.

    Those to BM25 in the main recall are left out: they stand beside the levels. None without any others.
    """
    compared = [row for by_question in questions(rows).values() for row in by_question]
    by_arm = cells(compared, lambda row: (row.question, row.arm), lambda row: row.targets)
    beside_levels = (REFERENCE, f"recall@{spec.evaluation.main_k}")
    asked = {name: q for name, q in spec.questions.items() if (q.baseline, q.metric) != beside_levels}
    lines = [(name, arm, at == 0) for name, question in asked.items() for at, arm in enumerate(question.arms)]

    def on(targets: str, name: str, arm: str) -> str:
        row = by_arm.get((name, arm), {}).get(targets)
        return outcome_cell(row).replace("; ", ";\n") if row else UNAVAILABLE  # on two lines, to be less wide

    columns: Columns[tuple[str, str, bool]] = [
        ("question", lambda line: spec.questions[line[0]].title if line[2] else ""),
        ("claimed", lambda line: CLAIMS.get(str(spec.questions[line[0]].claim), "") if line[2] else ""),
        ("arm − baseline", lambda line: f"{line[1]} − {spec.questions[line[0]].baseline}"),
    ]
    title = "difference to the baseline on the same searches"
    if not lines:
        return None
    metrics = {question.metric for question in asked.values()}
    if len(metrics) > 1:
        columns.append(("metric", lambda line: spec.questions[line[0]].metric))
    sets = in_order(row.targets for row in compared if row.n >= FEW)
    columns += [(name, lambda line, name=name: on(name, *line[:2])) for name in sets]  # type: ignore[misc]
    columns.append(("code", lambda line: line[0] if line[2] else ""))
    return tabulate(columns, lines, "\n".join([_how_sure(rows), *_undecided(compared)]))._replace(
        title=f"{'questions' if len(metrics) > 1 else metrics.pop()}: {title}",
        left=len(columns),
        unwrapped=("arm − baseline", *sets, "code"),
        breaks=frozenset(at for at, line in enumerate(lines) if line[2]),
    )


def _how_sure(rows: list[ResultRow]) -> str:
    remark = noise(rows).replace("**", "")
    return f"95% intervals over searchers, for all arms of a question together (max-t). {remark}"


def pair_grid(rows: list[ResultRow], k: int) -> Grid | None:
    """recall@k of searches whose (query, searcher) pair was seen in training, and of new ones; None
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
    returned. K is the main one."""
    k, names = spec.evaluation.main_k, list(spec.combined_lists)
    rows_of_lists = [row for row in over_seeds(rows) if row.arm in names]
    sets = sorted({row.targets for row in rows_of_lists if row.n >= FEW and row.slice == WHOLE})
    measured = {(row.targets, row.slice) for row in rows_of_lists}
    by_list = cells(rows_of_lists, lambda row: row.arm, lambda row: (row.targets, row.slice, row.measure))
    columns: Columns[str] = [("retrieval", str)]

    def add(heading: str, show: Any, *key: str) -> None:
        columns.append((heading, lambda name: show(by_list[name][key].value)))  # type: ignore[index]

    for targets, part in ((targets, part) for targets in sets for part in SLICES if (targets, part) in measured):
        add(targets if part == WHOLE else f"{targets}, {part}", three_digits, targets, part, f"recall@{k}")
    for targets in sets:
        add(f"{targets}, precision@{k}", three_digits, targets, WHOLE, f"precision@{k}")
    for metric in COUNTS:
        add(metric, count, sets[0], WHOLE, metric)
    lines = sorted(by_list, key=names.index)
    caption = "Scanned: documents compared by an embedding, mean over the searches. Returned: documents listed."
    return tabulate(columns, lines, caption)._replace(title=f"retrievals: recall@{k} by targets and slice")

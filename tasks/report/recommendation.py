"""The first line of a report: what to use, by how much it beats BM25 and the engine of today, and how sure that is."""

from __future__ import annotations

from data.experiment.experiment_spec import LOGGED, MEMORY
from tasks.leaks import is_leak
from tasks.list_measures import EVERY_SET
from tasks.report.answers import noise
from tasks.report.formats import count, ends, share
from tasks.report.result import REFERENCE, Result, ResultRow, means
from tasks.report.target_sets import found_words
from tasks.slices import WHOLE

TOP = {1: "as the first result", 10: "among the first ten", 100: "among the first hundred"}


def recommendation(result: Result) -> str:
    """Use `everything` through the index `tuned`: it finds .871 of what searchers wanted among the first ten, .214 more
    than BM25 [+.190, +.238].

    The champion, which validation chose, is recommended unless it is worse than BM25 or ties with it. Its figures are
    those of the lists that it answers with, through its index. Empty if no level was measured.
    """
    levels = served_levels(result)
    champion = result.champion
    if champion == REFERENCE or champion not in levels:
        return _bm25_alone(result, levels)
    leak = result.checks.get("leaks", {}).get(champion, "")
    if is_leak(leak):
        return f"Use no model of this run: `{champion}`, the best on validation, {leak}."
    against = [_more(result, levels, name) for name in _yardsticks(result, levels)]
    found = f"finds {share(levels[champion])} of {_what(result)}" + "".join(f", {text}" for text in against[:1])
    found += "".join(f" and {text}" for text in against[1:])
    row, label = champion_difference(result, REFERENCE), result.champion_label
    used = f"`{champion}`" if label == champion else f"`{champion}` through the index `{str(label).partition('@')[2]}`"
    finding = row.finding if row else "better" if levels[champion] >= levels.get(REFERENCE, 0) else "worse"
    memory = _finding_against_memory(result, levels)
    if memory == "worse":
        return (
            f"Use `{MEMORY}`, the documents clicked for a query before: it finds {share(levels[MEMORY])} of "
            f"{_what(result)}. `{champion}`, the best model on validation, {found}."
        )
    if finding == "better" and memory in ("better", ""):
        return f"Use {used}: it {found}."
    if finding == "better":
        return f"Use {used}, but `{MEMORY}`, the documents clicked for a query before, may do as well: it {found}."
    if finding == "worse":
        return f"Use BM25: `{champion}`, the best on validation, {found}."
    if finding == "equal":
        return f"Use BM25, which needs no training: `{champion}` ties with it; it {found}."
    few = "there are too few searchers for an interval"
    if row and row.open_because and finding != "too few":
        return f"Use {used}, but a gain over BM25 is not decided: `{champion}` {found}; {row.open_because}."
    why = few if finding == "too few" else "the interval leaves open which is better"
    return f"Use {used}, but BM25 may do as well: `{champion}` {found}; {why}."


def _finding_against_memory(result: Result, levels: dict[str, float]) -> str:
    """How the champion compares with what was clicked before; empty where that finds no more than BM25, or nothing
    compares them."""
    row = champion_difference(result, MEMORY)
    return row.finding or "" if row and levels[MEMORY] > levels.get(REFERENCE, 0) else ""


def certainty(result: Result) -> str:
    """A sentence on the intervals of the first line; empty without any."""
    champion = result.champion
    row = champion_difference(result, REFERENCE)
    if champion is None or row is None:
        return ""
    return (
        f"`{champion}` was chosen on validation. Brackets hold 95% intervals of differences on the same "
        f"{count(row.n)} searches, over {count(row.clusters)} searchers (or sessions). {noise([row])}"
    ).rstrip()


def difference_row(result: Result, arm: str, baseline: str) -> ResultRow | None:
    """The difference of two rows in the main recall, from the question that compares them; None without one."""
    wanted = (arm, baseline, result.main, result.recall, WHOLE)
    rows = (row for row in result.rows if row.question is not None)
    return next((r for r in rows if (r.arm, r.baseline, r.targets, r.measure, r.slice) == wanted), None)


def champion_difference(result: Result, baseline: str) -> ResultRow | None:
    """The champion's difference to a baseline in the main recall, through the index that answers; None without one."""
    label = result.champion_label
    return difference_row(result, label, baseline) if label else None


def served_levels(result: Result) -> dict[str, float]:
    """The main recall of every row, the mean over seeds: of the champion through the index that answers, of an arm
    otherwise by exact search, of a list through the index it has."""
    levels, served = means(main_recalls(result)), result.served
    if served and served.row in levels:
        wanted = (None, result.main, result.recall, WHOLE, served.row, served.index)
        rows = [r for r in result.rows if (r.question, r.targets, r.measure, r.slice, r.arm, r.index) == wanted]
        levels |= means(rows) if rows else {}
    return levels


def main_recalls(result: Result) -> list[ResultRow]:
    """The main recall of every row by itself: of an arm through exact search, of a list through the index it has."""
    wanted = (None, result.main, result.recall, WHOLE)
    rows = [row for row in result.rows if (row.question, row.targets, row.measure, row.slice) == wanted]
    exact = {row.arm for row in rows if row.is_level}
    return [row for row in rows if row.is_level or row.arm not in exact]


def _yardsticks(result: Result, levels: dict[str, float]) -> list[str]:
    """BM25, the order of today's engine, the lists that the user brought, and what was clicked before where that finds
    more than BM25, as far as they were measured."""
    before = (MEMORY,) if levels.get(MEMORY, 0) > levels.get(REFERENCE, 0) else ()
    names = (REFERENCE, LOGGED, *(result.spec.get("lists") or {}), *before)
    return [name for name in names if name in levels and name != result.champion]


def _named(name: str) -> str:
    return {REFERENCE: "BM25", LOGGED: "today's engine"}.get(name, f"`{name}`")


def _what(result: Result) -> str:
    return f"{found_words(result.main)} {TOP.get(result.k, f'among the first {result.k}')}"


def _more(result: Result, levels: dict[str, float], name: str) -> str:
    """.214 more than BM25 [+.190, +.238]: the champion's difference to another row, with the interval of a question."""
    row = champion_difference(result, name)
    difference = row.difference if row else levels[str(result.champion)] - levels[name]
    sure = ends(row.family_low, row.family_high) if row else "(without an interval: no question compares them)"
    reasons = result.checks.get("undecidable", {}).get(name, {})
    if reason := reasons.get(result.main) or reasons.get(EVERY_SET):  # such as the clicks that the engine made itself
        sure = f"{sure if row else ''} (not decided: {reason})".strip()
    return f"{share(abs(difference))} {'less' if difference < 0 else 'more'} than {_named(name)} {sure}"


def _bm25_alone(result: Result, levels: dict[str, float]) -> str:
    """The sentence where validation chose BM25, or no model at all."""
    if REFERENCE not in levels:
        return ""
    why = "nothing did better on validation" if result.champion else "no model was made that can be served"
    return f"Use BM25: {why}. It finds {share(levels[REFERENCE])} of {_what(result)}."

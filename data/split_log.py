"""Split the searches of a log into train, validation and test, and refuse splits that would leave a part empty."""

from __future__ import annotations

import duckdb

from data.experiment.log_config import AnyFiles, Beir, DatedFiles, Esci, Split
from data.statements import set_variable, single_row, statement
from data.user_columns import in_user_words
from ebr_core.errors import InputError

_LEAST_CONTRADICTIONS = 10  # clicks; fewer say nothing about the dates


def split_searches(con: duckdb.DuckDBPyConnection, logs: AnyFiles, split: Split) -> None:
    """Assign every search to train, validation or test."""
    con.execute(statement("split/sessions"))
    set_variable(con, "split_by", split.by or split.kind)
    if isinstance(logs, Esci | Beir):
        _split_as_given(con)
        return
    if split.by:
        con.execute(statement("split/as_given"))
        _refuse_contradictions(con, logs)
        _refuse_lost_searches(con, logs)
        if not all(clicked for _, _, clicked in con.execute(statement("split/parts")).fetchall()):
            raise InputError(
                f"split.by: a part of column {split.by!r} has no clicked search. Expected some in each part"
            )
        return
    set_variable(con, "validation", split.validation)
    set_variable(con, "test", split.test)
    if split.kind == "random":
        con.execute(statement("split/at_random"))
    elif split.kind == "last_click":
        con.execute(statement("split/last_click"))
    else:
        _split_by_time(con, split)
    if split.train_share < 1:
        set_variable(con, "train_share", split.train_share)
        con.execute(statement("split/thin"))
    _refuse_empty_parts(con, split)
    _refuse_contradictions(con, logs)
    _refuse_lost_searches(con, logs)


def _split_by_time(con: duckdb.DuckDBPyConnection, split: Split) -> None:
    if split.validation_from and split.test_from:
        set_variable(con, "validation_from", split.validation_from)
        set_variable(con, "test_from", split.test_from)
        con.execute(statement("split/cuts_by_date"))
    else:
        con.execute(statement("split/cuts_by_share"))
    con.execute(statement("split/by_time"))


def _refuse_empty_parts(con: duckdb.DuckDBPyConnection, split: Split) -> None:
    parts = {name: (searches, clicked) for name, searches, clicked in con.execute(statement("split/parts")).fetchall()}
    validation_from, test_from = single_row(con, "split/cuts")
    first, last = single_row(con, "split/time_range")
    for name in ("train", "validation", "test"):
        searches, clicked = parts.get(name, (0, 0))
        if clicked:
            continue
        if split.kind != "time":
            raise InputError(
                f"split: kind {split.kind} leaves no clicked search for {name}. Use larger logs, or another kind"
            )
        if test_from is None or validation_from is None:
            raise InputError(
                f"split: sessions start at fewer than three instants between {first} and {last} (UTC), so they cannot "
                "be cut into train, validation and test. Use logs of a longer period"
            )
        got = f"no clicked search out of {searches:,}" if searches else "no search"
        raise InputError(
            f"split: {name} has {got}. Searches run from {first} to {last} (UTC); sessions that start before "
            f"{validation_from} are train, those from {test_from} on are test. "
            "Set split.validation_from and split.test_from inside that range, or raise split.validation and split.test"
        )


def _refuse_contradictions(con: duckdb.DuckDBPyConnection, logs: DatedFiles) -> None:
    """Note the clicks on documents that did not exist at the time. Raises InputError if none of a part's clicked
    documents existed in its period, or ten clicks and more than max_dropped of its clicks contradict the dates."""
    con.execute(statement("split/alive"))
    parts = con.execute(statement("split/contradictions")).fetchall()
    dates = in_user_words(con, logs.layout, "documents", "created_at and removed_at")
    for part, clicks, alive, _, _ in parts:
        if not alive:
            raise InputError(
                f"documents: there are {clicks:,} clicks in {part}, but by {dates} none of their "
                "documents existed in that period. Correct the dates, or leave the columns out: a document without "
                "dates always exists"
            )
    above = [row for row in parts if row[3] >= _LEAST_CONTRADICTIONS and row[3] / row[1] > logs.max_dropped]
    if above:
        counts = ", ".join(f"{part} {contradicting:,} of {clicks:,}" for part, clicks, _, contradicting, _ in parts)
        example = above[0][4]
        created, removed, searched = (example[name] for name in ("created_at", "removed_at", "searched_at"))
        date = f"created {created}" if created and created > searched else f"removed {removed}"
        raise InputError(
            f"documents: clicks are on documents that did not exist then by {dates}: "
            f"{counts}; more than logs.max_dropped = {logs.max_dropped:g} of a part. {example['document']} was {date} "
            f"and clicked in a search of {searched} (UTC). Correct the dates (is one of them the time of the last "
            "indexing?), or leave the columns out: a document without dates always exists"
        )


def _refuse_lost_searches(con: duckdb.DuckDBPyConnection, logs: DatedFiles) -> None:
    """Raises InputError if more than max_dropped of a part's clicked searches have no click left."""
    for part, searches, lost, examples in con.execute(statement("split/lost_searches")).fetchall():
        if lost / searches > logs.max_dropped:
            raise InputError(
                f"results: {lost:,} of {searches:,} clicked searches in {part} would have no click left, above "
                f"logs.max_dropped = {logs.max_dropped:g}: their clicked results would be dropped "
                f"({', '.join(examples)}). `ebr check` with a higher max_dropped lists the reasons. Correct the logs"
            )


def check_given_split(con: duckdb.DuckDBPyConnection, logs: Esci | Beir, split: Split) -> None:
    """Raises InputError if a collection's own split is not the only one, has unknown parts, or a query in two parts."""
    if split.validation_from or split.kind != "time" or split.train_share < 1 or split.by:
        raise InputError(
            f"split: the {logs.layout} layout brings its own split. Leave out validation_from, test_from, kind, by "
            "and train_share"
        )
    twice, names = single_row(con, "split/two_parts")
    if twice:
        raise InputError(
            f"split: queries such as {', '.join(twice)} are in two parts of the split. Keep each query in one part"
        )
    unknown = sorted(set(names) - {"train", "validation", "test"})
    if unknown:
        raise InputError(f"split: got {', '.join(unknown)}. Expected train, validation or test")


def _split_as_given(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(statement("split/as_given"))
    parts = {name: (searches, clicked) for name, searches, clicked in con.execute(statement("split/parts")).fetchall()}
    if not parts.get("test", (0, 0))[1]:
        raise InputError("split: test has no query with a relevant document. Expected at least one to measure with")
    if "validation" in parts and "train" not in parts:
        raise InputError(
            "split: there are validation queries, but no training queries. Leave the validation out, or add training"
        )

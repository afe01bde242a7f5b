"""The user's ranked lists as stages, and what cannot be decided about a list of the engine that wrote the log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data.experiment.experiment_spec import LOGGED
from data.log_fingerprint import digest_files
from data.ranked_lists import ListMatch, RankedFile, match_list, read_list
from ebr_core.errors import InputError
from ebr_core.search.exclusions import first_allowed
from tasks.artifacts import stage
from tasks.eval_sets import read_sample
from tasks.kinds import EvalSet, Log, RankedList, RetrievedList
from tasks.log_stages import digest_cache
from tasks.progress import show_progress
from tasks.retrieved import load_match, save_matched

SAME_ENGINE = 0.8  # share of what was shown from which on a list counts as one of the engine that wrote the log


def content_of(file: RankedFile) -> str:
    """The current digest of a list's files."""
    with digest_cache() as cache:
        return digest_files(file.key, file.path, cache)


@stage(RankedList)
def match_file(folder: Path, log: Log, file: RankedFile, content: str) -> None:
    """Read a ranked list and match it with the log.

    content: the digest of its files, so that a new list is read again.
    """
    with show_progress(file.key, 1):
        read_list(file, log.folder, folder)
    if content_of(file) != content:
        raise InputError(f"{file.key}: {file.path} changed while it was read; run the same command again")


@stage(RetrievedList)
def retrieve_listed(folder: Path, ranked: RankedList, log: Log, eval_set: EvalSet, k: int, ks: Sequence[int]) -> None:
    """Write the first k documents of a ranked list for each sampled search, or the reason why it has none for them."""
    sample = read_sample(eval_set)
    matched = match_list(ranked.folder, log.folder, eval_set.folder, sample.depth(k), ks)
    matched = matched._replace(rows=first_allowed(matched.rows, sample.excluded_rows, k))
    save_matched(matched, "it has no result for any of these searches", folder)


def refuse_uncovered(file: RankedFile, rows: RetrievedList) -> None:
    """Raise InputError if a list has no result for any search of the test."""
    match = load_match(rows)
    if match and not match.covered:
        raise InputError(
            f"{file.key}: {file.path} has no result for any of the {match.searches:,} searches sampled from the test. "
            "Expected results for the newest searches of the log, which are the test"
        )


def describe_match(rows: RetrievedList) -> str:
    """What matches of a user's list, and what was left out of it and why."""
    match = load_match(rows)
    assert match is not None, "a ranked list has a match"
    file = match.file
    assert file is not None, "a list of the user has a file"
    parts = [
        f"{file.kept:,} of {file.rows:,} rows match the log",
        f"{match.covered:,} of the {match.searches:,} searches sampled from the test have results",
    ]
    if match.shown is not None:
        parts.append(f"it has {match.shown:.0%} of what the log shows for them")
    left_out = [f"{part.reason}: {part.rows:,} ({', '.join(part.examples)})" for part in file.left_out]
    if match.not_alive:
        left_out.append(f"not alive in the test: {match.not_alive:,}")
    return "; ".join(parts) + (f"; left out: {'; '.join(left_out)}" if left_out else "")


def engine_reasons(name: str, rows: RetrievedList, action_sets: Sequence[str] = ()) -> dict[str, str]:
    """Target set, or set@K → the reason why it decides no claim about this list: its engine made the lists that were
    clicked in, so that it is right by construction. Empty for a list of another engine.

    action_sets: the target sets of actions beside clicks, about which it decides as little.
    """
    match = load_match(rows)
    if match is None or not match.covered:
        return {}
    recovered = f"these clicks were made in other lists of the engine of `{name}`"
    if name == LOGGED:
        clicked = f"`{name}` is the list that was shown, so what was clicked is in it by construction"
        shuffled = f"`{name}` has these results in random order, which is not the order of the engine"
        by_set = dict.fromkeys(("clicked", *action_sets), clicked)
        return by_set | {"recovered": recovered, "randomised": shuffled}
    if match.shown is None or match.shown < SAME_ENGINE:
        return {}
    clicked = f"`{name}` has {match.shown:.0%} of what was shown, so what was clicked is in it by construction"
    return dict.fromkeys(("clicked", *action_sets), clicked) | {"recovered": recovered} | _held(name, match)


def _held(name: str, match: ListMatch) -> dict[str, str]:
    """The same for lists shown in random order: their order favours nobody, but a click cannot be missed where all that
    was shown is among the first K."""
    return {
        f"randomised@{k}": f"the first {k} of `{name}` have {share:.0%} of what was shown in random order, so what was "
        "clicked is in them by construction"
        for k, share in match.shuffled.items()
        if share >= SAME_ENGINE
    }

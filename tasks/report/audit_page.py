"""The page of `ebr audit`: the worth of the same arms under other splits and with less of the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from data.experiment.experiment_spec import LISTS, Experiment
from ebr_core.errors import InputError
from ebr_core.measure.sampled_recall import agreement
from tasks.report.formats import count, signed, tau
from tasks.report.measures import level_cell
from tasks.report.page import Block, Bullets, Columns, Heading, Paragraph, tabulate
from tasks.report.result import Result, ResultRow, read
from tasks.report.target_sets import set_words

WHOLE_LOG = "split by time, whole log"
NOT_AUDITED = {*("audit", "questions", "indexes", "screening", "ensembles", *LISTS)}
RecallByArm = dict[str, ResultRow]  # the recall of each arm under one variant
NAMES = {"random": "random split", "last_click": "last click left out"}


def variants(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """The experiment once for each split and share of its audit section, as content of experiment files: the audited
    arms and those that they need, one seed, no ensembles, lists or questions. Raises InputError without it."""
    if experiment.audit is None:
        raise InputError("audit: missing; name up to three arms: audit: {arms: [random, softmax]}")
    plain = experiment.model_dump(mode="json", exclude=NOT_AUDITED)
    needed = experiment.with_sources(experiment.audit.arms)
    plain |= {"seeds": [experiment.seeds[0]], "arms": {name: plain["arms"][name] for name in needed}}
    if experiment.rankers:  # the smallest possible: with rankers, arms are validated on the earlier half alone
        plain["rankers"] = {"halves-validation": {"of": needed[0], "depth": 1, "trees": 1}}
    split = plain["split"]
    dates = {"validation_from": None, "test_from": None}
    contents = {WHOLE_LOG: plain}
    contents |= {NAMES[kind]: plain | {"split": split | dates | {"kind": kind}} for kind in experiment.audit.splits}
    shares = sorted(share for share in experiment.audit.shares if share < 1)
    return contents | {f"{part:.0%} of the log": plain | {"split": split | {"train_share": part}} for part in shares}


def describe_audit(arms: tuple[str, ...], runs: dict[str, Path]) -> list[Block]:
    """The arms' recall under each variant, whether their order is the same, and what more data or a better arm would
    bring."""
    results = {name: read(folder) for name, folder in runs.items()}
    first = next(iter(results.values()))
    values = {name: _recalls(result, arms, first.main) for name, result in results.items()}
    columns: Columns[tuple[str, RecallByArm]] = [("", lambda line: line[0])]
    columns += [(arm, lambda line, arm=arm: level_cell(line[1].get(arm))) for arm in arms]  # type: ignore[misc]
    columns += [("n", lambda line: count(next((row.n for row in line[1].values()), 0)))]
    caption = (
        f"{first.recall}, targets: {set_words(first.main)}; one seed; intervals over searchers, no training noise."
    )
    return [
        tabulate(columns, values.items(), caption),
        Heading("Findings"),
        Bullets([*_orders(arms, values), *_lever(values)]),
        Paragraph(
            "Random splits and splits that leave the last click out let training know the future: their leak checks "
            "fail, as they should. They show the result that such an evaluation would have given.",
            "note",
        ),
    ]


def _recalls(result: Result, arms: tuple[str, ...], targets: str) -> RecallByArm:
    rows = [row for row in result.plain if (row.targets, row.measure) == (targets, result.recall)]
    return {row.arm: row for row in rows if row.arm in arms}


def _orders(arms: tuple[str, ...], values: dict[str, RecallByArm]) -> list[str]:
    """A sentence for each other split: how far recall moves, and whether the arms keep their order."""
    sentences, whole = [], values[WHOLE_LOG]
    for name in (name for name in NAMES.values() if name in values):
        common = [arm for arm in arms if arm in whole and arm in values[name]]
        if len(common) < 2:
            continue
        by_time, by_split = (np.array([by[arm].value for arm in common]) for by in (whole, values[name]))
        shift, best = float(np.mean(by_split - by_time)), common[int(np.argmax(by_split))]
        order = f"Kendall's τ with time {tau(agreement(by_time, by_split))}"
        sentences.append(f"{name}: recall moves by {signed(shift)} on average, `{best}` leads, {order}.")
    return sentences


def _lever(values: dict[str, RecallByArm]) -> list[str]:
    """A sentence on the gain of the best arm in the last step to the whole log, beside its lead over the worst."""
    whole = {arm: row.value for arm, row in values[WHOLE_LOG].items()}
    less = [name for name in values if name.endswith("of the log")]
    if not less or len(whole) < 2:
        return []
    best, worst = max(whole, key=whole.__getitem__), min(whole, key=whole.__getitem__)
    most = less[-1]
    if best not in values[most]:
        return []
    gain, lead = whole[best] - values[most][best].value, whole[best] - whole[worst]
    lever = "more data moves more than these arms do" if gain > lead else "the choice of the arm moves more"
    return [f"From {most} to all of it `{best}` gains {signed(gain)}; it has {signed(lead)} over `{worst}`: {lever}."]

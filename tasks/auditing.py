"""What the same arms would have been worth under other splits and with less of the log: `ebr audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from data.experiment import LISTS, Experiment
from ebr_core.audit import agreement
from ebr_core.errors import InputError
from tasks.answers import SETS, Row, share, signed
from tasks.page import Block, Bullets, Grid, Heading, Paragraph
from tasks.report import read
from tasks.result import Result

WHOLE_LOG = "split by time, whole log"
NOT_AUDITED = {*("audit", "questions", "indexes", "screening", "ensembles", *LISTS)}
NAMES = {"random": "random split", "last_click": "last click left out"}


def variants(asked: Experiment) -> dict[str, dict[str, Any]]:
    """The experiment once for each split and share of its audit section, as content of experiment files: the audited
    arms and those that they need, one seed, nothing made of them, no questions. Errors: no audit section."""
    if asked.audit is None:
        raise InputError("audit: missing; name up to three arms: audit: {arms: [random, softmax]}")
    plain = asked.model_dump(mode="json", exclude=NOT_AUDITED)
    kept = asked.needed(asked.audit.arms)
    plain |= {"seeds": [asked.seeds[0]], "arms": {name: plain["arms"][name] for name in kept}}
    if asked.rankers:  # one as small as can be: with rankers arms are measured on the validation's earlier half
        plain["rankers"] = {"halves-validation": {"of": kept[0], "depth": 1, "trees": 1}}
    split = plain["split"]
    dates = {"validation_from": None, "test_from": None}
    every = {WHOLE_LOG: plain}
    every |= {NAMES[kind]: plain | {"split": split | dates | {"kind": kind}} for kind in asked.audit.splits}
    shares = sorted(share for share in asked.audit.shares if share < 1)
    return every | {f"{part:.0%} of the log": plain | {"split": split | {"train_share": part}} for part in shares}


def describe_audit(arms: tuple[str, ...], runs: dict[str, Path]) -> list[Block]:
    """The arms' recall under each variant, whether their order is the same, and what more data or a better arm would
    bring."""
    results = {name: read(folder) for name, folder in runs.items()}
    first = next(iter(results.values()))
    values = {name: _recalls(result, arms, first.main) for name, result in results.items()}
    table = []
    for name, of in values.items():
        cells = [share(of[arm]["value"], of[arm]["low"], of[arm]["high"]) if arm in of else "–" for arm in arms]
        table.append([name, *cells, f"{next(iter(of.values()))['n']:,}" if of else "0"])
    caption = f"recall@{first.k}, targets: {SETS[first.main]}; one seed; intervals over searchers, no training noise."
    page: list[Block] = [Grid(["", *arms, "n"], table, caption), Heading("What it says")]
    page.append(Bullets([*_orders(arms, values), *_lever(arms, values)]))
    page.append(
        Paragraph(
            "Random splits and splits that leave the last click out let training know the future: their leak checks "
            "fail, as they should. They are here to show what such an evaluation would have told.",
            "note",
        )
    )
    return page


def _recalls(result: Result, arms: tuple[str, ...], targets: str) -> dict[str, Row]:
    key = (targets, "recall", result.k)
    rows = [row for row in result.plain if (row["targets"], row["metric"], row["k"]) == key]
    return {row["arm"]: row for row in rows if row["arm"] in arms}


def _orders(arms: tuple[str, ...], values: dict[str, dict[str, Row]]) -> list[str]:
    """Whether each other split puts the arms in the same order."""
    told, whole = [], values[WHOLE_LOG]
    for name in (name for name in NAMES.values() if name in values):
        both = [arm for arm in arms if arm in whole and arm in values[name]]
        if len(both) < 2:
            continue
        one, other = ([of[arm]["value"] for arm in both] for of in (whole, values[name]))
        moved = float(np.mean(np.array(other) - np.array(one)))
        tau = f"{agreement(np.array(one), np.array(other)):+.2f}".replace("-", "−")
        best = max(both, key=lambda arm: values[name][arm]["value"])
        told.append(f"{name}: recall moves by {signed(moved)} on average, `{best}` leads, Kendall's τ with time {tau}.")
    return told


def _lever(arms: tuple[str, ...], values: dict[str, dict[str, Row]]) -> list[str]:
    """What the last step to the whole log brought the best arm, beside what the best arm has over the worst."""
    whole = {arm: row["value"] for arm, row in values[WHOLE_LOG].items()}
    less = [name for name in values if name.endswith("of the log")]
    if not less or len(whole) < 2:
        return []
    best, worst = max(whole, key=whole.__getitem__), min(whole, key=whole.__getitem__)
    most = less[-1]
    if best not in values[most]:
        return []
    more, better = whole[best] - values[most][best]["value"], whole[best] - whole[worst]
    lever = "more data moves more than these arms do" if more > better else "the choice of the arm moves more"
    told = f"from {most} to all of it `{best}` gains {signed(more)}; it has {signed(better)} over `{worst}`: {lever}."
    return [told[0].upper() + told[1:]]

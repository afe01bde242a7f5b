"""The section on the feedback loop: the ratings of each arm, and the filters fitted on them."""

from __future__ import annotations

from typing import Any

from tasks.report.formats import DASH, count, share
from tasks.report.page import Block, Columns, Heading, tabulate
from tasks.report.ranker_section import importance, largest
from tasks.report.result import label

SHOWN_FEATURES = 5  # features in a line
Summary = dict[str, Any]


def feedback_blocks(summaries: list[Summary]) -> list[Block]:
    """The section: a line for each arm whose results were rated, then one for each filter; empty where none was."""
    if not summaries:
        return []
    rounds = [summary for summary in summaries if "ratings" in summary]
    filters = [summary for summary in summaries if "threshold" in summary]
    page: list[Block] = [Heading("Feedback")]
    if rounds:
        caption = "Results of training searches that nobody clicked; what an earlier round rated is not rated again."
        page.append(tabulate(ROUNDS, rounds, caption))
    if filters:
        caption = (
            "Held out: a quarter of the rated searches, which chose the threshold (a probability), with what they "
            "clicked as good; raters' mistakes count as they are."
        )
        page.append(tabulate(FILTERS, filters, caption))
    return page


ROUNDS: Columns[Summary] = [
    ("rated results of", lambda rated: label(rated["arm"], rated["seed"])),
    ("searches", lambda rated: count(rated["searches"])),
    ("ratings", lambda rated: count(rated["ratings"])),
    ("good", lambda rated: count(rated["good"])),
    ("share good", lambda rated: share(rated["good"] / rated["ratings"]) if rated["ratings"] else DASH),
]
FILTERS: Columns[Summary] = [
    ("filter", lambda fitted: label(fitted["arm"], fitted["seed"])),
    ("examples", lambda fitted: count(fitted["examples"])),
    ("keeps from", lambda fitted: share(fitted["threshold"])),
    ("held out: good", lambda fitted: share(fitted["held_out"]["good"])),
    ("kept", lambda fitted: share(fitted["held_out"]["kept"])),
    ("precision", lambda fitted: share(fitted["held_out"]["precision"])),
    ("recall", lambda fitted: share(fitted["held_out"]["recall"])),
    ("gain by feature", lambda fitted: largest(importance(fitted["gain"]), SHOWN_FEATURES)),
]

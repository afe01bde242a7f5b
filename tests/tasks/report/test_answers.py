"""The sentences on questions: one finding, and what became of the claim."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_results import a_difference

from ebr_core.measure.verdicts import Claim, classify_difference, verdict
from tasks.report.answers import FINDINGS, answer, answers_to, outcome_cell, sentence
from tasks.report.page import split_outcome
from tasks.report.result import ResultRow

BETTER = "is better than `old`: +.012 recall@10 [+.004, +.020]."
WORSE = "is worse than `old`: −.012 recall@10 [−.020, −.004]."
TIE = "ties with `old`, within ± .010: +.001 recall@10 [−.002, +.004]."
UNCLEAR = "cannot be told from `old`: +.005 recall@10 [−.020, +.030]."
BOUND = "which is **contradicted**: if there is one, it is smaller than .010"
TIED = "Claimed: a tie within ± .010"
COULD = "neither shown nor ruled out (a true difference of .020 would have been shown four times out of five)"


@pytest.mark.parametrize(
    ("interval", "claim", "found", "of_claim"),
    [
        ((0.004, 0.02), None, BETTER, ""),
        ((0.004, 0.02), "gain", BETTER, " Claimed: a gain, which **holds**."),
        ((0.004, 0.02), "worse", BETTER, " Claimed: a loss, which is **contradicted**."),
        ((0.004, 0.02), "equal", BETTER, f" {TIED}; the difference may be smaller or larger than .010."),
        ((-0.02, -0.004), "worse", WORSE, " Claimed: a loss, which **holds**."),
        ((-0.002, 0.004), None, TIE, ""),
        ((-0.002, 0.004), "gain", TIE, f" Claimed: a gain, {BOUND}."),
        ((-0.002, 0.004), "equal", TIE, f" {TIED}, which **holds**."),
        ((-0.02, 0.03), "gain", UNCLEAR, f" Claimed: a gain; {COULD}."),
        ((-0.02, 0.03), "equal", UNCLEAR, f" {TIED}; the interval reaches ± .025, too wide to show one."),
    ],
)  # fmt: skip
def test_a_sentence_for_each_finding_and_claim(
    interval: tuple[float, float], claim: Claim | None, found: str, of_claim: str
) -> None:
    assert answer(_row(*interval, 0.01, claim), "a question") == f"**a question**: `new` {found}{of_claim} *P01*"


def _row(low: float, high: float, margin: float, claim: Claim | None) -> ResultRow:
    decided = verdict(claim, low, high, margin) if claim else None
    finding = classify_difference(low, high, margin)
    return a_difference((low + high) / 2, low, high, finding, margin=margin, claim=claim, verdict=decided)


@given(
    st.floats(-0.1, 0.1),
    st.floats(0, 0.1),
    st.floats(0.001, 0.05),
    st.sampled_from(["gain", "worse", "equal", None]),
)
def test_no_sentence_says_two_things(middle: float, half: float, margin: float, claim: Claim | None) -> None:
    row = _row(middle - half, middle + half, margin, claim)
    text = sentence(row, "")
    assert sum(words in text for words in FINDINGS.values()) == 1
    assert "undecided" not in text
    open_claim = "neither shown" in text or "too wide to show" in text
    assert not (open_claim and "ties with" in text)
    assert ("**holds**" in text, "**contradicted**" in text) == (row.verdict == "holds", row.verdict == "contradicted")
    _, finding, _ = split_outcome(outcome_cell(row))
    assert finding == {"equal": "tie"}.get(str(row.finding), row.finding)


def test_a_reason_takes_the_place_of_a_decision() -> None:
    row = a_difference(
        0.05, 0.03, 0.07, "unclear", claim="gain", verdict="undecided", open_because="training hit its cap"
    )
    text = answer(row, "a question")
    assert (
        text
        == "**a question**: `new` − `old` = +.050 recall@10 [+.030, +.070], not decided: training hit its cap. *P01*"
    )
    assert outcome_cell(row) == "+.050 [+.030, +.070]; unclear"


def test_documents_scanned_are_more_or_less_and_never_better() -> None:
    row = a_difference(-281, -284, -278, "worse", metric="scanned", k=None)
    assert "`new` scans less than `old`: −281 scanned [−284, −278]." in answer(row, "")
    assert outcome_cell(row) == "−281 [−284, −278]; less"


def test_too_few_searchers_have_no_interval() -> None:
    row = a_difference(0.05, float("nan"), float("nan"), "too few", clusters=12, claim="gain", verdict="too few")
    assert answer(row, "") == (
        "`new` − `old` = +.050 recall@10, only 12 searchers (or sessions), too few for an interval. *P01*"
    )
    assert outcome_cell(row) == "+.050; too few"


def test_many_arms_without_a_claim_are_one_sentence() -> None:
    found = {"low": (-0.05, "worse"), "best": (0.09, "better"), "same": (0.0, "equal"), "good": (0.05, "better")}
    rows = [a_difference(at, at - 0.004, at + 0.004, finding, arm=arm) for arm, (at, finding) in found.items()]
    assert answers_to(rows, "against the old one") == [
        "**against the old one**, recall@10. Better: `best` +.090 [+.086, +.094], `good` +.050 [+.046, +.054]. "
        "A tie: `same` +.000 [−.004, +.004]. Worse: `low` −.050 [−.054, −.046]. *P01*"
    ]
    assert len(answers_to(rows[:3], "")) == 3
    capped = a_difference(0.2, 0.1, 0.3, "unclear", arm="capped", open_because="it hit the cap")
    together, apart = answers_to([capped, *rows], "against the old one")
    assert "capped" not in together
    assert apart == answer(capped, "against the old one")

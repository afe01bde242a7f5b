"""Lines of arms: their names do not overlap, their colours do not change."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.report.curves import ValidationCurve, line_styles, recall_by_k, spread, training_courses
from tasks.report.plots import RED, svg

ARMS = [f"arm-{number}" for number in range(10)]


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.001, 0.05))
def test_names_keep_their_order_and_distance(heights: list[float], gap: float) -> None:
    places = spread(sorted(heights), gap, 0, 1)
    assert all(upper - lower >= gap - 1e-8 for lower, upper in pairwise(places))
    assert all(-1e-8 <= place <= 1 + 1e-8 for place in places)
    if all(np.diff(sorted(heights)) >= gap):
        assert places == pytest.approx(sorted(heights), abs=1e-9)  # nothing is moved without need


def test_ten_arms_have_ten_colours_whatever_is_measured_beside_them() -> None:
    alone, beside = line_styles(ARMS), line_styles([*ARMS, "bm25", "popularity", "oracle-text"])
    assert len(set(alone.values())) == 10
    assert {arm: beside[arm] for arm in ARMS} == alone
    assert not {beside["bm25"].color, beside["popularity"].color} & {style.color for style in alone.values()}
    assert len(set(line_styles(f"{number}" for number in range(40)).values())) == 40  # colours again, other dashes


def test_every_arm_is_named_at_its_line() -> None:
    curves = {arm: [(1, 0.4), (10, 0.8 + 0.001 * at), (100, 0.97)] for at, arm in enumerate(ARMS)}
    picture = svg(recall_by_k(curves, line_styles(curves), "truth"))
    assert all(f">{arm}</text>" in picture for arm in ARMS)


def test_a_picture_without_lines_is_an_empty_one() -> None:
    assert recall_by_k({}, {}, "truth").axes[0].lines[:] == []


def test_a_training_that_the_cap_ended_is_red() -> None:
    courses = {
        "rising": [ValidationCurve([1, 2, 3], [0.1, 0.2, 0.3], True)],
        "settled": [ValidationCurve([1, 2, 3], [0.1, 0.3, 0.2], False), ValidationCurve([1, 2], [0.1, 0.3], False)],
    }
    figure = training_courses(courses, line_styles(courses), 10)
    titles = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert list(titles) == ["rising (cap)", "settled"]
    crosses = {title: [line for line in axes.lines if line.get_marker() == "x"] for title, axes in titles.items()}
    assert [line.get_color() for line in crosses["rising (cap)"]] == [RED]
    assert crosses["settled"] == []
    kept = [line.get_xydata().tolist() for line in titles["settled"].lines if line.get_marker() == "o"]
    assert kept == [[[2, 0.3]], [[2, 0.3]]]

"""The check that some judgement is high enough to be a target."""

from __future__ import annotations

from ebr_core.errors import InputError

MAX_LISTED = 6  # grades that a message lists


def refuse_unreached(judged_from: float, grades: list[float]) -> None:
    """Raise InputError if there are grades, but none reaches judged_from: nothing would be a judged target.

    grades: the distinct grades of the judgements, the highest first.
    """
    if not grades or grades[0] >= judged_from:
        return
    listed = ", ".join(f"{grade!r}" for grade in grades[:MAX_LISTED]) + (", …" if len(grades) > MAX_LISTED else "")
    raise InputError(
        f"judgements: none reaches logs.judged_from, {judged_from!r}, so no document would be a judged target; the "
        f"grades are {listed}. Lower it, or leave the judgements out"
    )

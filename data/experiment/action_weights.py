"""The weights of actions, `logs.actions` of an experiment file, and the target set of each action."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

CLICKED = "clicked"  # the target set of all actions together
SHOWN = "impression"  # in the column of actions: a result was shown, and nothing done with it
ActionWeight = Annotated[float, Field(gt=0, le=1_000_000)]
# Names of actions, without case and separators, whose target set has the name of a past tense.
_PAST = {
    "click": CLICKED,
    "clicked": CLICKED,
    "cart": "carted",
    "addtocart": "carted",
    "purchase": "purchased",
}
_TAKEN = ("judged", "recovered", "randomised", "truth")  # target sets that have nothing to do with actions


def target_set_of(action: str) -> str:
    """The target set of an action: clicked, carted, purchased, or the action's own name.

    >>> [target_set_of(action) for action in ("click", "Add-To-Cart", "purchase", "Add to list")]
    ['clicked', 'carted', 'purchased', 'add_to_list']
    """
    past = _PAST.get(re.sub(r"[^a-z0-9]", "", action.lower()))
    return past or re.sub(r"[^a-z0-9_.-]+", "_", action.lower())


def action_sets(actions: Mapping[str, float]) -> list[str]:
    """The target sets of single actions, beside that of clicks.

    >>> action_sets({"click": 1, "purchase": 5})
    ['purchased']
    """
    return sorted({target_set_of(action) for action in actions} - {CLICKED})


def click_action(actions: Mapping[str, float]) -> str:
    """The action that a true value in the column `clicked` stands for."""
    return next((action for action in actions if target_set_of(action) == CLICKED), "click")


def refuse_names(actions: Mapping[str, float]) -> None:
    """Raises ValueError if an action has a name that means something else."""
    for action in actions:
        if not action.strip() or action != action.strip():
            raise ValueError(f"got {action!r}; expected the name of an action, without blanks around it")
        if action.lower() == SHOWN:
            raise ValueError(f"got {action}, which says that a result was shown; expected what searchers did with it")
        if target_set_of(action) in _TAKEN:
            raise ValueError(
                f"got {action}, the name of another target set; rename the action in the logs, for example by SQL"
            )

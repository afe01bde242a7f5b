"""The kinds of negatives that an arm is trained on, in words."""

from __future__ import annotations

from typing import NamedTuple

from ebr_core.training.arm_config import Arm
from ebr_core.training.pair_config import NegativeMix

MINED = "mined"  # the kind of offline hard negatives; an example has "mined, rank 104"
RATED = "rated bad"


class NegativeKind(NamedTuple):
    """A kind of negatives, by the name that examples have, and how many an arm is trained on."""

    name: str
    words: str  # "" if it is not trained on


def kinds_of(arm: Arm) -> list[NegativeKind]:
    """The kinds of negatives that are shown for an arm, and those that it alone has."""
    last, size = arm.negatives_at_end, arm.training.batch_size
    if not arm.training.epochs:
        return [NegativeKind(name, "") for name in ("random", "shown, not clicked", "hardest of the batch")]

    def counted(name: str) -> str:
        """3, or 3 to 0 (over the epochs)."""
        first, end = getattr(arm.negatives, name), getattr(last or arm.negatives, name)
        return "" if not (first or end) else f"{first:,}" if first == end else f"{first:,} to {end:,} (over the epochs)"

    random, impressions, hard = counted("random"), counted("impressions"), counted("in_batch_hard")
    spread = f", drawn in proportion to (1 + clicks)^{arm.negatives.popularity:g}" if arm.negatives.popularity else ""
    nearest = hard and f"the {hard} nearest documents of other positives of a batch of {size:,}"
    in_batch = "; ".join(filter(None, (_in_batch(arm.negatives, size), nearest)))
    kinds = [
        NegativeKind("random", random and f"{random} of the corpus, one pool for a batch of {size:,}{spread}"),
        NegativeKind("shown, not clicked", impressions and f"{impressions} of the same search"),
        NegativeKind("hardest of the batch", in_batch),
    ]
    if offline := counted("offline_hard"):
        kinds += _offline(arm, offline)
    if memory := counted("memory"):
        kinds.append(NegativeKind("positives of earlier batches", f"{memory} (not shown)"))
    return kinds


def _in_batch(mix: NegativeMix, size: int) -> str:
    if not mix.in_batch:
        return ""
    return (
        f"documents of {'all' if mix.in_batch == 'all' else f'{mix.in_batch:,}'} other positives of a batch of {size:,}"
    )


def _offline(arm: Arm, count: str) -> list[NegativeKind]:
    """Offline hard negatives: documents of a rank window, or rated bad."""
    first, last = arm.mining.window
    kinds = []
    if arm.mine_from or arm.remine_every:
        again = f", mined again from the arm itself every {arm.remine_every} epochs" if arm.remine_every else ""
        of = f"of {arm.mine_from}" if arm.mine_from else "of the arm itself"
        kinds.append(NegativeKind(MINED, f"{count} from ranks {first:g} to {last:g} {of}{again}"))
    if arm.ratings and arm.ratings.negatives:
        kinds.append(NegativeKind(RATED, f"{count} results of {', '.join(arm.ratings.of)} that were rated bad"))
    return kinds

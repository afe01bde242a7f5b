"""What is wrong with what an experiment makes of its arms: ensembles, cascades, retrievals, by the names they use."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from ebr_core.config import Arm
from ebr_core.ensemble import Ensemble


def ensemble_problems(ensembles: Mapping[str, Ensemble], arms: Mapping[str, Arm]) -> list[str]:
    """Parts that are no arms, or whose queries have several vectors, which no sum of cosines is a maximum over."""
    told = []
    for name, ensemble in ensembles.items():
        for at, part in enumerate(ensemble.parts):
            told += named_problem(f"ensembles.{name}.parts.{at}", "arm", part, list(arms))
            if part in arms and (views := arms[part].towers.query_vectors) > 1:
                told.append(
                    f"ensembles.{name}.parts.{at}: {part} gives a query {views} vectors, a part of an ensemble gives "
                    "one; leave it out, or set its towers.query_vectors to 1"
                )
    return told


def reference_problems(
    place: str, arms: Mapping[str, str | None], index: str, known_arms: Sequence[str], known_indexes: Sequence[str]
) -> list[str]:
    """Arms and an index, by the keys that name them, that are not there."""
    told = [line for key, arm in arms.items() for line in named_problem(f"{place}.{key}", "arm", arm, known_arms)]
    return [*told, *named_problem(f"{place}.index", "index", index, known_indexes)]


def named_problem(place: str, kind: str, name: str | None, known: Sequence[str]) -> list[str]:
    """That nothing of this kind bears the name, with what does."""
    there = list(map(str, known))  # as written, and YAML has other keys than texts
    if name is None or name in there:
        return []
    near = difflib.get_close_matches(name, there, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return [f"{place}: no {kind} {name!r}{hint}; there are {', '.join(there)}"]

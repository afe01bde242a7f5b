"""Changes to an experiment file: its values, its keys and its text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from proofs.small_logs import START, Rng

ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**30, 1.5, float("nan"), float("inf"), "", "x", "\0", "x" * 10_000, [], {}, [[]], {"a": 1}),
    *(
        [None],
        {"kind": "x"},
        {1: 2},
        {None: None},
        ["a", "a"],
        -(10**400),
        START,
        START.date(),
        b"\xff",
        "recall@0",
        {"": 0},
    ),
)
SNIPPETS = (
    *(
        "a: &a [*a]\n",
        "arms: &x {y: *x}\n",
        "x: !!python/object/apply:os.system [true]\n",
        "? [a, b]\n: 1\n",
        "%YAML 9\n",
    ),
    *(
        "---\na: 1\n",
        "seeds: [" + "1" * 5000 + "]\n",
        "split: {until: 2024-99-99}\n",
        "\tx: 1\n",
        "x: \0\n",
        "x: *nobody\n",
    ),
    *(
        "deep: " + "[" * 3000 + "]" * 3000 + "\n",
        "x: !!float abc\n",
        "x: !!int abc\n",
        "<<: 1\n",
        "<<: [{a: 1}]\n",
        "x: 1:99\n",
    ),
    *(
        "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]\n",
        "x: !!binary '%'\n",
        "x: !!timestamp abc\n",
        "x: !!set {a}\n",
    ),
    *(
        "logs: 1\n",
        "seeds: 08\n",
        "seeds: [0b12]\n",
        "? {a: b}\n: 1\n",
        "!!omap: []\n",
        "x: !<tag:yaml.org,2002:map> 3\n",
    ),
    *(
        "arms: {base: {base: {}}}\n",
        "questions: {1: 2}\n",
        "arms: {1: {}}\n",
        "arms: [a]\n",
        "x: 2024-01-01T00:00:00+99:99\n",
    ),
    "bomb: [" + "".join(f"&a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 'x'}], " for i in range(9)) + "1]\n",
)


def _places(content: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of keys to all values of nested content."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [prefix, *(place for key, value in pairs for place in _places(value, (*prefix, key)))]


def odd_content(content: dict[str, Any], rng: Rng) -> str:
    """The experiment file with values, keys or whole parts replaced, removed or moved."""
    for _ in range(int(rng.integers(1, 4))):
        places = [place for place in _places(content) if place]
        place, source = places[rng.integers(len(places))], places[rng.integers(len(places))]
        parent: Any = content
        value: Any = content
        for key in place[:-1]:
            parent = parent[key]
        for key in source:
            value = value[key]
        change = int(rng.integers(5))
        if change == 0 and isinstance(parent, dict):
            parent[str(place[-1])[::-1] if rng.random() < 0.5 else ODD[rng.integers(8)]] = parent.pop(place[-1])
        elif change == 1:
            del parent[place[-1]]
        elif change == 2:
            parent[place[-1]] = yaml.safe_load(yaml.safe_dump(value))
        else:
            parent[place[-1]] = ODD[rng.integers(len(ODD))]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=bool(rng.random() < 0.5))


def odd_text(content: dict[str, Any], rng: Rng) -> str:
    """The experiment file with a piece of strange YAML at its start, at its end or between two lines."""
    lines = yaml.safe_dump(content, sort_keys=False).splitlines(keepends=True)
    lines.insert(int(rng.choice([0, len(lines), int(rng.integers(len(lines)))])), SNIPPETS[rng.integers(len(SNIPPETS))])
    return "".join(lines)


EXPERIMENT_MUTATIONS: tuple[Callable[[dict[str, Any], Rng], str], ...] = (odd_content, odd_content, odd_text)

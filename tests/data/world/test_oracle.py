"""The oracle against plain enumeration of every searcher, document, form and edit of a small world."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.world import wants
from data.world.documents import CITY, OPTIONAL, PERSON, TOPIC, TYPE
from data.world.forming import ALL, ALONE, COMMON, TWO
from data.world.misspelling import neighbours
from data.world.oracle import oracle
from data.world.places import LANGUAGES
from data.world.simulate import Scene, build, simulate
from data.world.society import TASTE
from data.world.world_config import World
from ebr_core.errors import InputError
from ebr_core.text.typos import SHORTEST

SMALL = World(documents=200, searches=400, days=4, seed=5, cities=16, friends_median=6, born=0.3, gone=0.2)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "log"
    assert list(simulate(SMALL, folder)) == [1, 2, 3, 4]
    return folder


class Enumeration:
    """The posterior by loops over everything, on text, with nothing taken from the kernels but the world's tables."""

    def __init__(self, world: World) -> None:
        self.world, self.scene = world, build(world)
        self.text = self.scene.language.text
        self.near, self.nears = neighbours()
        self.known: dict[str, dict[str, float]] = {}

    def fold(self, word: str) -> str:
        return bytes(self.scene.language.fold[np.frombuffer(word.encode("latin-1"), np.uint8)]).decode("latin-1")

    def forms(self, d: int, mine: int) -> list[tuple[list[str], float]]:
        """Every form of a title with its probability."""
        docs, lang, f = self.scene.documents, self.scene.language, self.world.forms
        words = [(self.text[w], r) for w, r in zip(docs.words[d], docs.roles[d], strict=True) if w >= 0]
        every = [w for w, _ in words]
        kept = [(w, r) for w, r in words if r != OPTIONAL]
        content = [w for w, _ in kept]
        m = len(content)
        groups: dict[str, tuple[float, list[tuple[list[str], float]]]] = {"full": (f.full, [(every, 1.0)])}
        weight = [COMMON if r in (CITY, TYPE) else 1.0 for _, r in kept]
        pairs = list(combinations(range(m), 2))
        by_count = [
            (ALONE, [([content[i]], weight[i]) for i in range(m)]),
            (TWO, [([content[i], content[j]], weight[i] * weight[j]) for i, j in pairs]),
            (ALL if m >= 3 else 0, [(content, 1.0)]),
        ]
        total = sum(share for share, options in by_count if options)
        chosen = [
            (ws, share / total * p / sum(q for _, q in options)) for share, options in by_count for ws, p in options
        ]
        groups["words"] = (f.words, chosen)
        cuts = []
        for j in range(m):
            n = len(content[j])
            lengths = range(min(3, n - 1), n) if n > 1 else range(n, n + 1)
            cuts += [([*content[:j], content[j][:c]], 1 / m / len(lengths)) for c in lengths]
        groups["prefix"] = (f.prefix, cuts)
        if m > 1:
            groups["reordered"] = (f.reordered, [(content[t:] + content[:t], 1 / (m - 1)) for t in range(1, m)])
        number = {w: i for i, w in enumerate(self.text)}
        shorts = {
            j: [self.text[s] for s in lang.short_ids[lang.short_offsets[i] : lang.short_offsets[i + 1]]]
            for j, i in enumerate(number[w] for w in content)
        }
        shorts = {j: s for j, s in shorts.items() if s}
        if shorts:
            groups["short"] = (
                f.short,
                [
                    ([*content[:j], s, *content[j + 1 :]], 1 / len(shorts) / len(ss))
                    for j, ss in shorts.items()
                    for s in ss
                ],
            )
        if docs.language[d] != mine and any(r in (TOPIC, TYPE) for _, r in kept):
            abroad = [
                self.text[lang.topics[docs.topic[d], mine]]
                if r == TOPIC
                else self.text[lang.types[docs.type[d], mine]]
                if r == TYPE
                else w
                for w, r in kept
            ]
            groups["translated"] = (f.translated, [(abroad, 1.0)])
        mass = sum(weight for weight, _ in groups.values())
        return [(ws, weight / mass * p) for weight, options in groups.values() for ws, p in options]

    def topic_forms(self, topic: int, city: int, mine: int) -> list[tuple[list[str], float]]:
        lang = self.scene.language
        word, name = self.text[lang.topics[topic, mine]], [self.text[w] for w in lang.cities[city] if w >= 0]
        return [([word], 0.5), ([word, *name], 0.25), ([*name, word], 0.25)]

    def edits(self, word: str) -> dict[str, float]:
        """Every result of one edit with its probability."""
        if word in self.known:
            return self.known[word]
        m, n = self.world.misspelling, len(word)
        shares = {k: getattr(m, k) for k in ("omission", "insertion", "substitution", "transposition")}
        shares = {k: v / sum(shares.values()) for k, v in shares.items()}
        hit = [m.first_letter] + [(1 - m.first_letter) / (n - 1)] * (n - 1)
        out: dict[str, float] = defaultdict(float)
        for i, c in enumerate(word):
            letters = [chr(x) for x in self.near[ord(c), : self.nears[ord(c)]]]
            out[word[:i] + word[i + 1 :]] += shares["omission"] * hit[i]
            out[word[:i] + c + word[i:]] += shares["insertion"] * hit[i] * m.doubling
            for x in letters:
                out[word[:i] + x + word[i:]] += shares["insertion"] * hit[i] * (1 - m.doubling) / len(letters)
                out[word[:i] + x + word[i + 1 :]] += shares["substitution"] * hit[i] / len(letters)
            if i + 1 < n:
                swapped = word[:i] + word[i + 1] + word[i] + word[i + 2 :]
                out[swapped] += shares["transposition"] * hit[i] / sum(hit[:-1])
        assert sum(out.values()) == pytest.approx(1)
        self.known[word] = out
        return out

    def chance(self, typed: list[str], meant: list[str], rate: float) -> float:
        """P(typed | meant)."""
        if len(typed) != len(meant):
            return 0.0
        if any(abs(len(t) - len(w)) > 1 for t, w in zip(typed, meant, strict=True)):
            return 0.0
        same = [t == w for t, w in zip(typed, meant, strict=True)]
        able = [j for j, w in enumerate(meant) if len(w) >= SHORTEST]
        if not able:
            return float(all(same))
        if sum(not s for s in same) > 2:
            return 0.0
        edited = {j: self.edits(meant[j]).get(typed[j], 0.0) for j in able}
        length = {j: len(meant[j]) for j in able}
        total = sum(length.values())
        p = (1 - rate) * all(same)
        second = self.world.misspelling.second if len(able) > 1 else 0.0
        for i in able:
            if all(s for j, s in enumerate(same) if j != i):
                p += rate * (1 - second) * length[i] / total * edited[i]
            for j in able:
                if i != j and all(s for x, s in enumerate(same) if x not in (i, j)):
                    order = length[i] / total * length[j] / (total - length[i])
                    p += rate * second * order * edited[i] * edited[j]
        return p

    def likelihood(self, query: str, forms: list[tuple[list[str], float]], rate: float) -> float:
        plain, typed = self.world.forms.plain, query.split(" ")
        return sum(
            p
            * (
                plain * self.chance(typed, [self.fold(w) for w in words], rate)
                + (1 - plain) * self.chance(typed, words, rate)
            )
            for words, p in forms
        )

    def answers(self, topic: int, city: int, there: np.ndarray) -> list[int]:
        docs, places = self.scene.documents, self.scene.places
        about = [
            int(d)
            for d in np.argsort(-docs.popularity, kind="stable")
            if there[d] and docs.topic[d] == topic and (docs.roles[d] == TOPIC).any()
        ]
        near = [d for d in about if docs.city[d] == city][: wants.RIGHT]
        wide = [d for d in about if places.country[docs.city[d]] == places.country[city]][: wants.RIGHT]
        return near if len(near) >= wants.FEWEST else wide

    def single(self, s: int, day: int, p: np.ndarray) -> np.ndarray:
        """P(the one document wanted | searcher) as a vector."""
        docs, society, w = self.scene.documents, self.scene.society, self.world.wants
        scale = w.graph + w.place + w.interest + w.popularity
        out = np.zeros(len(p))

        def links(node: int, weight: float) -> None:
            row = slice(society.linked.offsets[node], society.linked.offsets[node + 1])
            known = [t for t, d in zip(society.linked.target[row], society.linked.day[row], strict=True) if d < day]
            for t in known:
                if p[t] > 0:
                    out[t] += weight / len(known)

        links(s, w.graph / scale * (1 - w.second_hand))
        row = slice(society.friends.offsets[s], society.friends.offsets[s + 1])
        friends = [t for t, d in zip(society.friends.target[row], society.friends.day[row], strict=True) if d < day]
        for friend in friends:
            links(friend, w.graph / scale * w.second_hand / len(friends))
        for c, reach in enumerate(self.scene.places.reach[docs.city[s]]):
            here = p * (docs.city == c)
            if here.sum() > 0:
                out += w.place / scale * reach * here / here.sum()
        interests = society.interests[s, int(day >= society.switches[s])]
        for topic, share in zip(interests, TASTE, strict=True):
            cell = p * (docs.topic == topic) * (docs.language == society.language[s]) * (docs.kind != PERSON)
            if cell.sum() > 0:
                out += w.interest / scale * share * cell / cell.sum()
        return np.asarray(out + (1 - out.sum()) * p / p.sum())

    def titles(self, query: str, rate: float) -> np.ndarray:
        """P(query | document, language) of all documents and languages."""
        n = len(self.scene.documents.kind)
        return np.array(
            [[self.likelihood(query, self.forms(d, x), rate) for x in range(len(LANGUAGES))] for d in range(n)]
        )

    def expected(self, query: str, table: np.ndarray, searcher: int, day: int, rate: float, sees: str) -> np.ndarray:
        """E[1{d ∈ T} / |T| | what is seen] as a vector over the documents."""
        scene: Scene = self.scene
        docs, society, w = scene.documents, scene.society, self.world.wants
        p = wants.popularity_of_day(self.world, docs, scene.trend[day], day)
        out, total = np.zeros(len(p)), 0.0
        for s in range(docs.people):
            same = docs.city[s] == docs.city[searcher] and society.language[s] == society.language[searcher]
            if p[s] <= 0 or (sees == "everything" and s != searcher) or (sees == "place" and not same):
                continue
            weight, left = society.activity[s], 1.0
            for topic, share in zip(society.interests[s, int(day >= society.switches[s])], TASTE, strict=True):
                right = self.answers(topic, docs.city[s], p > 0)
                if right:
                    left -= w.topic * share
                    forms = self.topic_forms(topic, docs.city[s], society.language[s])
                    mass = weight * w.topic * share * self.likelihood(query, forms, rate)
                    total += mass
                    out[right] += mass / len(right)
            mass_of_each = weight * left * self.single(s, day, p) * table[:, society.language[s]]
            out += mass_of_each
            total += mass_of_each.sum()
        return out / total


def some_searches(folder: Path, n: int) -> list[dict[str, Any]]:
    """n searches: misspelt, for topics, reformulated and plain ones, in turn."""
    truth = {r["search_id"]: r for r in pq.read_table(folder / "truth" / "intents").to_pylist()}
    searches = pq.read_table(folder / "searches").to_pylist()
    kinds: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for row in searches:
        t = truth[row["search_id"]]
        kinds[t["edits"], t["intent"], t["attempt"] > 1, t["form"] == "translated"].append({**row, **t})
    rows = [row for i in range(n) for group in kinds.values() for row in group[i : i + 1]]
    return rows[:n]


def test_oracle_equals_enumeration(small: Path) -> None:
    rows = some_searches(small, 10)
    sights = ("text", "place", "everything")
    got = {sees: oracle(SMALL, small, [r["search_id"] for r in rows], 200, sees).to_pylist() for sees in sights}
    slow = Enumeration(SMALL)
    for row in rows:
        day = (row["searched_at"].date() - SMALL.start).days
        rate = SMALL.misspelling.rate if row["attempt"] == 1 else SMALL.misspelling.retyped
        table = slow.titles(row["query"], rate)
        for sees in sights:
            expected = slow.expected(row["query"], table, int(row["searcher_id"][1:]), day, rate, sees)
            mine = np.zeros(len(expected))
            for r in got[sees]:
                if r["search_id"] == row["search_id"]:
                    mine[int(r["document_id"][1:])] = r["expected"]
            np.testing.assert_allclose(mine, expected, atol=1e-9, err_msg=f"{row['query']!r} {sees}")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    world = World(documents=4000, searches=20_000, days=8, seed=2)
    folder = tmp_path_factory.mktemp("town") / "log"
    for _ in simulate(world, folder):
        pass
    return world, folder


def recalls(world: World, folder: Path, sees: Any, k: int = 10, days_old: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Recall and expected recall of the oracle on the first searches of the last day's sessions."""
    day = max((folder / "truth" / "intents").iterdir())
    truth = pq.read_table(day / "part.parquet").to_pylist()
    targets: dict[int, set[str]] = defaultdict(set)
    for row in truth:
        if row["attempt"] == 1:
            targets[row["search_id"]].add(row["document_id"])
    ids = sorted(targets)
    found: dict[int, dict[str, float]] = defaultdict(dict)
    for row in oracle(world, folder, ids, k, sees, days_old).to_pylist():
        found[row["search_id"]][row["document_id"]] = row["expected"]
    recall = np.array([len(targets[i] & set(found[i])) / len(targets[i]) for i in ids])
    return recall, np.array([sum(found[i].values()) for i in ids])


def test_oracle_foretells_its_own_recall(town: tuple[World, Path]) -> None:
    """A posterior that is right is calibrated: the recall found is the recall expected, within four standard errors."""
    for sees in ("text", "place", "everything"):
        recall, expected = recalls(*town, sees)
        difference = recall - expected
        assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(len(recall)), sees


def test_place_and_friends_carry_information(town: tuple[World, Path]) -> None:
    text, place, everything = (recalls(*town, sees)[0] for sees in ("text", "place", "everything"))
    for less, more in ((text, place), (place, everything)):
        gain = more - less
        assert gain.mean() > 2 * gain.std() / np.sqrt(len(gain))


def test_what_was_known_a_week_ago_is_worth_less(town: tuple[World, Path]) -> None:
    today, before = (recalls(*town, "everything", days_old=d)[0] for d in (0, 7))
    loss = today - before
    assert loss.mean() > 2 * loss.std() / np.sqrt(len(loss))


def test_oracle_refuses_what_it_cannot_know(small: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another world"):
        oracle(SMALL.model_copy(update={"seed": 6}), small, [0], 10, "text")
    with pytest.raises(InputError, match="no search"):
        oracle(SMALL, small, [10**6], 10, "text")
    with pytest.raises(InputError, match="does not exist"):
        oracle(SMALL, tmp_path, [0], 10, "text")
    with pytest.raises(InputError, match="text, place, everything"):
        oracle(SMALL, small, [0], 10, "nothing")  # type: ignore[arg-type]


def test_oracle_answers_nothing_to_no_searches(small: Path) -> None:
    assert isinstance(table := oracle(SMALL, small, [0], 1, "text"), pa.Table)
    assert table.column_names == ["search_id", "position", "document_id", "expected"]

"""The posterior by plain loops over every searcher, document, form and edit of a small world."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations

import numpy as np
import pytest

from data.world import wants
from data.world.documents import CITY, OPTIONAL, PERSON, TOPIC, TYPE
from data.world.forming import ALL_WORDS, COMMON_WEIGHT, ONE_WORD, TWO_WORDS
from data.world.misspelling import neighbours
from data.world.places import LANGUAGES
from data.world.simulate import Scene, build
from data.world.society import TASTE
from data.world.world_config import World
from ebr_core.text.typos import SHORTEST


class Enumeration:
    """The posterior by loops over text. It uses the world's tables and none of the kernels."""

    def __init__(self, world: World) -> None:
        self.world, self.scene = world, build(world)
        self.text = self.scene.language.text
        self.beside, self.beside_count = neighbours()
        self.edit_cache: dict[str, dict[str, float]] = {}

    def fold(self, word: str) -> str:
        """The word without accents."""
        return bytes(self.scene.language.fold[np.frombuffer(word.encode("latin-1"), np.uint8)]).decode("latin-1")

    def forms(self, d: int, searcher_language: int) -> list[tuple[list[str], float]]:
        """Every form of the title of document d, with its probability."""
        docs, lang, f = self.scene.documents, self.scene.language, self.world.forms
        words = [(self.text[w], r) for w, r in zip(docs.words[d], docs.roles[d], strict=True) if w >= 0]
        title = [w for w, _ in words]
        content_roles = [(w, r) for w, r in words if r != OPTIONAL]
        content = [w for w, _ in content_roles]
        m = len(content)
        groups: dict[str, tuple[float, list[tuple[list[str], float]]]] = {"full": (f.full, [(title, 1.0)])}
        weight = [COMMON_WEIGHT if r in (CITY, TYPE) else 1.0 for _, r in content_roles]
        pairs = list(combinations(range(m), 2))
        by_count = [
            (ONE_WORD, [([content[i]], weight[i]) for i in range(m)]),
            (TWO_WORDS, [([content[i], content[j]], weight[i] * weight[j]) for i, j in pairs]),
            (ALL_WORDS if m >= 3 else 0, [(content, 1.0)]),
        ]
        total = sum(share for share, options in by_count if options)
        word_forms = [
            (tokens, share / total * p / sum(q for _, q in options))
            for share, options in by_count
            for tokens, p in options
        ]
        groups["words"] = (f.words, word_forms)
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
                    ([*content[:j], s, *content[j + 1 :]], 1 / len(shorts) / len(short_words))
                    for j, short_words in shorts.items()
                    for s in short_words
                ],
            )
        if docs.language[d] != searcher_language and any(r in (TOPIC, TYPE) for _, r in content_roles):
            translation = [
                self.text[lang.topics[docs.topic[d], searcher_language]]
                if r == TOPIC
                else self.text[lang.types[docs.type[d], searcher_language]]
                if r == TYPE
                else w
                for w, r in content_roles
            ]
            groups["translated"] = (f.translated, [(translation, 1.0)])
        mass = sum(weight for weight, _ in groups.values())
        return [(tokens, weight / mass * p) for weight, options in groups.values() for tokens, p in options]

    def topic_forms(self, topic: int, city: int, searcher_language: int) -> list[tuple[list[str], float]]:
        """Every form of a search for a topic, with its probability."""
        lang = self.scene.language
        word, name = (
            self.text[lang.topics[topic, searcher_language]],
            [self.text[w] for w in lang.cities[city] if w >= 0],
        )
        return [([word], 0.5), ([word, *name], 0.25), ([*name, word], 0.25)]

    def edits(self, word: str) -> dict[str, float]:
        """Every result of one edit, with its probability."""
        if word in self.edit_cache:
            return self.edit_cache[word]
        m, n = self.world.misspelling, len(word)
        shares = {k: getattr(m, k) for k in ("omission", "insertion", "substitution", "transposition")}
        shares = {k: v / sum(shares.values()) for k, v in shares.items()}
        hit = [m.first_letter] + [(1 - m.first_letter) / (n - 1)] * (n - 1)
        out: dict[str, float] = defaultdict(float)
        for i, c in enumerate(word):
            letters = [chr(x) for x in self.beside[ord(c), : self.beside_count[ord(c)]]]
            out[word[:i] + word[i + 1 :]] += shares["omission"] * hit[i]
            out[word[:i] + c + word[i:]] += shares["insertion"] * hit[i] * m.doubling
            for x in letters:
                out[word[:i] + x + word[i:]] += shares["insertion"] * hit[i] * (1 - m.doubling) / len(letters)
                out[word[:i] + x + word[i + 1 :]] += shares["substitution"] * hit[i] / len(letters)
            if i + 1 < n:
                swapped = word[:i] + word[i + 1] + word[i] + word[i + 2 :]
                out[swapped] += shares["transposition"] * hit[i] / sum(hit[:-1])
        assert sum(out.values()) == pytest.approx(1)
        self.edit_cache[word] = out
        return out

    def chance(self, typed_words: list[str], meant_words: list[str], rate: float) -> float:
        """P(typed | meant)."""
        if len(typed_words) != len(meant_words):
            return 0.0
        if any(abs(len(t) - len(w)) > 1 for t, w in zip(typed_words, meant_words, strict=True)):
            return 0.0
        same = [t == w for t, w in zip(typed_words, meant_words, strict=True)]
        eligible = [j for j, w in enumerate(meant_words) if len(w) >= SHORTEST]
        if not eligible:
            return float(all(same))
        if sum(not s for s in same) > 2:
            return 0.0
        edited = {j: self.edits(meant_words[j]).get(typed_words[j], 0.0) for j in eligible}
        length = {j: len(meant_words[j]) for j in eligible}
        total = sum(length.values())
        p = (1 - rate) * all(same)
        second = self.world.misspelling.second if len(eligible) > 1 else 0.0
        for i in eligible:
            if all(s for j, s in enumerate(same) if j != i):
                p += rate * (1 - second) * length[i] / total * edited[i]
            for j in eligible:
                if i != j and all(s for x, s in enumerate(same) if x not in (i, j)):
                    order = length[i] / total * length[j] / (total - length[i])
                    p += rate * second * order * edited[i] * edited[j]
        return p

    def likelihood(self, query: str, forms: list[tuple[list[str], float]], rate: float) -> float:
        """P(query | forms), with and without accents."""
        plain, typed = self.world.forms.plain, query.split(" ")
        return sum(
            p
            * (
                plain * self.chance(typed, [self.fold(w) for w in words], rate)
                + (1 - plain) * self.chance(typed, words, rate)
            )
            for words, p in forms
        )

    def answers(self, topic: int, city: int, alive: np.ndarray) -> list[int]:
        """The right answers of a search for a topic from a city."""
        docs, places = self.scene.documents, self.scene.places
        about = [
            int(d)
            for d in np.argsort(-docs.popularity, kind="stable")
            if alive[d] and docs.topic[d] == topic and (docs.roles[d] == TOPIC).any()
        ]
        local = [d for d in about if docs.city[d] == city][: wants.MAX_ANSWERS]
        national = [d for d in about if places.country[docs.city[d]] == places.country[city]][: wants.MAX_ANSWERS]
        return local if len(local) >= wants.MIN_CITY_ANSWERS else national

    def single(self, s: int, day: int, p: np.ndarray) -> np.ndarray:
        """(N,) P(the one wanted document | searcher s)."""
        docs, society, w = self.scene.documents, self.scene.society, self.world.wants
        scale = w.graph + w.place + w.interest + w.popularity
        out = np.zeros(len(p))

        def links(node: int, weight: float) -> None:
            row = slice(society.linked.offsets[node], society.linked.offsets[node + 1])
            targets = [t for t, d in zip(society.linked.target[row], society.linked.day[row], strict=True) if d < day]
            for t in targets:
                if p[t] > 0:
                    out[t] += weight / len(targets)

        links(s, w.graph / scale * (1 - w.second_hand))
        row = slice(society.friends.offsets[s], society.friends.offsets[s + 1])
        friends = [t for t, d in zip(society.friends.target[row], society.friends.day[row], strict=True) if d < day]
        for friend in friends:
            links(friend, w.graph / scale * w.second_hand / len(friends))
        for c, reach in enumerate(self.scene.places.reach[docs.city[s]]):
            local = p * (docs.city == c)
            if local.sum() > 0:
                out += w.place / scale * reach * local / local.sum()
        interests = society.interests[s, int(day >= society.switches[s])]
        for topic, share in zip(interests, TASTE, strict=True):
            cell = p * (docs.topic == topic) * (docs.language == society.language[s]) * (docs.kind != PERSON)
            if cell.sum() > 0:
                out += w.interest / scale * share * cell / cell.sum()
        return np.asarray(out + (1 - out.sum()) * p / p.sum())

    def titles(self, query: str, rate: float) -> np.ndarray:
        """(N, languages) P(query | document, language)."""
        n = len(self.scene.documents.kind)
        return np.array(
            [[self.likelihood(query, self.forms(d, x), rate) for x in range(len(LANGUAGES))] for d in range(n)]
        )

    def expected(self, query: str, table: np.ndarray, searcher: int, day: int, rate: float, sees: str) -> np.ndarray:
        """(N,) E[1{d ∈ T} / |T| | what the oracle sees]."""
        scene: Scene = self.scene
        docs, society, w = scene.documents, scene.society, self.world.wants
        p = wants.popularity_of_day(self.world, docs, scene.trend[day], day)
        out, total = np.zeros(len(p)), 0.0
        for s in range(docs.people):
            same = docs.city[s] == docs.city[searcher] and society.language[s] == society.language[searcher]
            if p[s] <= 0 or (sees == "everything" and s != searcher) or (sees == "place" and not same):
                continue
            weight, remaining = society.activity[s], 1.0
            for topic, share in zip(society.interests[s, int(day >= society.switches[s])], TASTE, strict=True):
                right = self.answers(topic, docs.city[s], p > 0)
                if right:
                    remaining -= w.topic * share
                    forms = self.topic_forms(topic, docs.city[s], society.language[s])
                    mass = weight * w.topic * share * self.likelihood(query, forms, rate)
                    total += mass
                    out[right] += mass / len(right)
            mass_of_each = weight * remaining * self.single(s, day, p) * table[:, society.language[s]]
            out += mass_of_each
            total += mass_of_each.sum()
        return out / total

"""The figures of docs/world.md: `python -m data.world.figures DIR` draws them and prints the tables of recall;
`… sensitivity` prints what halving and doubling the assumed parameters does, `… parameters` lists them all.
"""

from __future__ import annotations

import sys
import tempfile
import unicodedata
from collections import defaultdict
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from data.world.oracle import oracle
from data.world.simulate import build, simulate
from data.world.world_config import Clicking, Forms, Misspelling, Wants, World
from ebr_core.frozen import Frozen

TREC = (0.42, 0.32, 0.13, 0.11, 0.12, 0.04, 0.06, 0.05, 0.04, 0.04)  # click-through of ranks 1–10, TREC Session 2012
K = 10
Targets = dict[int, set[str]]

DIFFICULTIES = {
    "easy": World(misspelling=Misspelling(rate=0.06, retyped=0.025), forms=Forms(full=6, words=1.5, prefix=1)),
    "default": World(),
    "hard": World(misspelling=Misspelling(rate=0.24, retyped=0.1), forms=Forms(full=1.5, words=3, prefix=4)),
}


class FigureSample:
    """A simulated log and a uniform sample of the searches of its last three days."""

    def __init__(self, world: World, folder: Path, n: int) -> None:
        for _ in simulate(world, folder):
            pass
        self.world, self.folder = world, folder
        self.days = sorted(p.name for p in (folder / "searches").iterdir())
        searches = self.rows("searches", self.days[-3:])
        rng = np.random.default_rng(0)
        chosen = rng.permutation(len(searches))[:n]
        self.searches = [searches[i] for i in np.sort(chosen)]
        self.ids = [s["search_id"] for s in self.searches]
        self.truth: Targets = defaultdict(set)
        self.logged: Targets = defaultdict(set)
        for t in self.rows("truth/intents", self.days[-3:]):
            self.truth[t["search_id"]].add(t["document_id"])
        self.shown: Targets = defaultdict(set)
        for r in self.rows("results", self.days[-3:]):
            if r["clicked"]:
                self.logged[r["search_id"]].add(r["document_id"])
            if r["position"] <= K:
                self.shown[r["search_id"]].add(r["document_id"])

    def rows(self, table: str, days: list[str]) -> list[dict[str, Any]]:
        return [r for day in days for r in pq.read_table(self.folder / table / day / "part.parquet").to_pylist()]

    def recall(self, found: Targets, targets: Targets) -> float:
        """Mean recall@K over the sampled searches that have targets."""
        return float(np.mean([len(found[i] & targets[i]) / len(targets[i]) for i in self.ids if targets[i]]))

    def bm25(self) -> Targets:
        """The K best titles by BM25 over lower-case words without accents, of the documents there at the start."""
        start = np.datetime64(self.days[-3].removeprefix("day="))
        table = pq.read_table(self.folder / "documents.parquet")
        there = table["created_at"].to_numpy() < start
        gone = table["removed_at"].to_numpy()
        rows = np.flatnonzero(there & (np.isnat(gone) | (gone > start)))
        rows = np.random.default_rng(0).permutation(rows)  # ties fall at random
        titles, ids = table["title"].to_pylist(), table["document_id"].to_pylist()
        index = bm25s.BM25()
        index.index([plain(titles[i]) for i in rows], show_progress=False)
        queries = [plain(str(s["query"])) or ["?"] for s in self.searches]
        found, scores = index.retrieve(queries, k=K, show_progress=False)
        return defaultdict(
            set,
            {
                i: {ids[rows[j]] for j, score in zip(row, score_row, strict=True) if score > 0}
                for i, row, score_row in zip(self.ids, found, scores, strict=True)
            },
        )

    def popular(self) -> Targets:
        """The K documents most clicked before the test starts, for every search."""
        clicks: dict[str, int] = defaultdict(int)
        for r in self.rows("results", self.days[:-3]):
            clicks[str(r["document_id"])] += bool(r["clicked"])
        top = set(sorted(clicks, key=lambda d: -clicks[d])[:K])
        return defaultdict(lambda: top)

    def oracle(self, sees: str, days_old: int = 0) -> Targets:
        found: Targets = defaultdict(set)
        answer = oracle(self.world, self.folder, self.ids, K, sees, days_old)  # type: ignore[arg-type]
        for i, d in zip(answer["search_id"].to_pylist(), answer["document_id"].to_pylist(), strict=True):
            found[i].add(d)
        return found


def plain(text: str) -> list[str]:
    return unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode().split()


def table_of_recall(n: int) -> None:
    """Recall@10 of baselines and of the oracle's parts, on both target sets, at three difficulties."""
    print(f"| recall@{K} | targets | popularity | BM25 | engine | oracle: text | + place | everything | a week old |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, world in DIFFICULTIES.items():
        with tempfile.TemporaryDirectory() as folder:
            s = FigureSample(world, Path(folder) / "log", n)
            found = [s.popular(), s.bm25(), s.shown, *(s.oracle(x) for x in ("text", "place", "everything"))]
            found.append(s.oracle("everything", 7))
            for label, targets in (("truth", s.truth), ("logged", s.logged)):
                print(f"| {name} | {label} | " + " | ".join(f"{s.recall(f, targets):.3f}" for f in found) + " |")


def table_of_sensitivity(n: int) -> None:
    """What halving and doubling each assumed weight does to recall@10 on truth targets."""
    print("| parameter | value | BM25 | oracle: text | + place | everything |")
    print("|---|---|---|---|---|---|")
    for name, value, world in [("default", "", World()), *halved_and_doubled()]:
        with tempfile.TemporaryDirectory() as folder:
            s = FigureSample(world, Path(folder) / "log", n)
            found = [s.bm25(), *(s.oracle(x) for x in ("text", "place", "everything"))]
            print(
                f"| {name} | {value} | " + " | ".join(f"{s.recall(f, s.truth):.3f}" for f in found) + " |", flush=True
            )


def halved_and_doubled() -> list[tuple[str, str, World]]:
    worlds = []
    for group, kind in (("wants", Wants), ("forms", Forms), ("", World)):
        names = {
            "wants": ("graph", "place", "interest", "popularity", "topic", "second_hand", "within_city_km"),
            "forms": ("full", "words", "prefix", "reordered", "short", "translated", "plain"),
            "": ("people_exponent", "friends_median", "circle", "memberships", "trend", "fresh", "switch", "born"),
        }[group]
        for name in names:
            base = kind.model_fields[name].default
            for value in (base / 2, base * 2):
                change = {name: value} if not group else {group: kind(**{name: value})}
                if name in ("second_hand", "plain", "circle") and value == base * 2:
                    continue  # a share cannot be doubled to 1 without another of 0
                worlds.append((f"{group}.{name}".strip("."), f"{value:g}", World(**change)))
    default = World()
    for name, value in (("cities", default.number_of_cities), ("names", default.number_of_names)):
        worlds += [(name, str(v), World(**{name: v})) for v in (value // 2, value * 2)]
    return worlds


def draw(world: World, folder: Path, out: Path) -> None:
    """Degree and clustering, popularity, click-through by position, kinds of query."""
    scene = build(world)
    friends = scene.society.friends
    degree = np.diff(friends.offsets)
    fig, axes = plt.subplots(1, 3, figsize=(13, 3.8))
    values = np.sort(degree[degree > 0])
    axes[0].loglog(values, 1 - np.arange(len(values)) / len(values))
    axes[0].set(
        xlabel="friends",
        ylabel="share of searchers with as many",
        title=f"Degree: median {np.median(degree):.0f}, mean {degree.mean():.0f}",
    )
    low, mean = clustering(friends.offsets, friends.target, degree)
    axes[1].semilogx(low, mean, "o-")
    axes[1].set(xlabel="friends", ylabel="local clustering", ylim=(0, None), title="Clustering by degree")
    for kind, label in enumerate(("person", "group", "page", "event")):
        p = np.sort(scene.documents.popularity[scene.documents.kind == kind])[::-1]
        axes[2].loglog(np.arange(1, len(p) + 1), p, label=label)
    axes[2].set(xlabel="rank", ylabel="popularity", title="Popularity")
    axes[2].legend()
    _save(fig, out / "society.png")
    _draw_clicks(folder, out)
    _draw_queries(folder, out)
    print(
        f"degree: median {np.median(degree):.0f}, mean {degree.mean():.1f}, largest {degree.max()}; clustering",
        dict(zip(low, mean.round(3), strict=True)),
    )


def clustering(
    offsets: npt.NDArray[np.int64], target: npt.NDArray[np.int32], degree: npt.NDArray[np.int64]
) -> tuple[list[int], npt.NDArray[np.float64]]:
    """Mean share of a searcher's pairs of friends who are friends, for bands of degree that start at the first list."""
    rng = np.random.default_rng(0)
    neighbours = [set(target[offsets[i] : offsets[i + 1]].tolist()) for i in range(len(degree))]
    local = defaultdict(list)
    bands = [2, 5, 10, 20, 40, 80, 160]
    for i in rng.permutation(len(degree))[:4000]:
        mine = list(neighbours[i])
        if len(mine) >= 2:
            links = sum(len(neighbours[j] & neighbours[i]) for j in mine)
            local[max(b for b in bands if b <= len(mine))].append(links / len(mine) / (len(mine) - 1))
    return sorted(local), np.array([np.mean(local[b]) for b in sorted(local)])


def _draw_clicks(folder: Path, out: Path) -> None:
    results = pq.read_table(folder / "results", columns=["search_id", "position", "clicked", "randomised"])
    position, clicked = results["position"].to_numpy(), results["clicked"].to_numpy()
    _, number, size = np.unique(results["search_id"].to_numpy(), return_inverse=True, return_counts=True)
    full = size[number] >= K
    shuffled = results["randomised"].to_numpy()
    fig, ax = plt.subplots(figsize=(6, 3.8))
    ranks = np.arange(1, K + 1)
    for label, rows in (("all lists", full | True), (f"lists of {K} and more", full), ("shuffled lists", shuffled)):
        rate = np.array([clicked[rows & (position == r)].mean() for r in ranks])
        ax.plot(ranks, rate, "o-", label=label)
        print("click-through,", label, rate.round(3).tolist())
    ax.plot(ranks, TREC, "k--", label="TREC Session 2012")
    ax.set(xlabel="position", ylabel="click-through", title="Click-through by position")
    ax.legend()
    _save(fig, out / "clicks.png")


def _draw_queries(folder: Path, out: Path) -> None:
    truth = pq.read_table(folder / "truth" / "intents").to_pylist()
    rows = {t["search_id"]: t for t in truth}.values()
    fig, axes = plt.subplots(1, 2, figsize=(11, 3.8))
    forms = sorted({t["form"] for t in rows})
    axes[0].bar(forms, [np.mean([t["form"] == f for t in rows]) for f in forms])
    axes[0].set(title="How queries are formed", ylabel="share of searches")
    attempts = sorted({t["attempt"] for t in rows})
    for edits in (1, 2):
        share = [np.mean([t["edits"] == edits for t in rows if t["attempt"] == a]) for a in attempts]
        axes[1].bar(np.array(attempts) + 0.4 * (edits - 1.5), share, 0.4, label=f"{edits} edit{'s' * (edits > 1)}")
    axes[1].set(title="Misspelt queries by attempt", xlabel="search of the session", xticks=attempts)
    axes[1].legend()
    _save(fig, out / "queries.png")


def _save(fig: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.tight_layout()
    fig.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(fig)


def table_of_parameters() -> None:
    """Every parameter with its default and its source."""
    print("| parameter | default | what it is, and its source |")
    print("|---|---|---|")
    sections: dict[str, type[Frozen]] = {
        "": World,
        "wants.": Wants,
        "forms.": Forms,
        "misspelling.": Misspelling,
        "clicking.": Clicking,
    }
    for prefix, kind in sections.items():
        for name, field in kind.model_fields.items():
            if field.description:
                print(f"| `{prefix}{name}` | {field.default} | {field.description} |")


if __name__ == "__main__":
    if sys.argv[1:] == ["parameters"]:
        table_of_parameters()
    elif sys.argv[1:] == ["sensitivity"]:
        table_of_sensitivity(2000)
    else:
        with tempfile.TemporaryDirectory() as place:
            for _ in simulate(World(), Path(place) / "log"):
                pass
            draw(World(), Path(place) / "log", Path(sys.argv[1]))
        table_of_recall(10_000)

"""Draws the figures of docs/world.md and prints its tables.

`python -m data.world.figures DIR` draws the figures into DIR and prints the table of recall; `… sensitivity` prints the
effect of halving and doubling the assumed parameters; `… parameters` lists all parameters.
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
        picks = rng.permutation(len(searches))[:n]
        self.searches = [searches[i] for i in np.sort(picks)]
        self.ids = [s["search_id"] for s in self.searches]
        self.true_targets: Targets = defaultdict(set)
        self.clicked_targets: Targets = defaultdict(set)
        for t in self.rows("truth/intents", self.days[-3:]):
            self.true_targets[t["search_id"]].add(t["document_id"])
        self.top_results: Targets = defaultdict(set)
        for r in self.rows("results", self.days[-3:]):
            if r["clicked"]:
                self.clicked_targets[r["search_id"]].add(r["document_id"])
            if r["position"] <= K:
                self.top_results[r["search_id"]].add(r["document_id"])

    def rows(self, table: str, days: list[str]) -> list[dict[str, Any]]:
        """The rows of a table on these days."""
        return [r for day in days for r in pq.read_table(self.folder / table / day / "part.parquet").to_pylist()]

    def recall(self, retrieved: Targets, targets: Targets) -> float:
        """Mean recall@K over the sampled searches that have targets."""
        return float(np.mean([len(retrieved[i] & targets[i]) / len(targets[i]) for i in self.ids if targets[i]]))

    def bm25(self) -> Targets:
        """The K best titles by BM25 over lower-case words without accents, of the documents alive at the start."""
        start = np.datetime64(self.days[-3].removeprefix("day="))
        table = pq.read_table(self.folder / "documents.parquet")
        created = table["created_at"].to_numpy() < start
        removed_at = table["removed_at"].to_numpy()
        rows = np.flatnonzero(created & (np.isnat(removed_at) | (removed_at > start)))
        rows = np.random.default_rng(0).permutation(rows)  # ties are broken at random
        titles, ids = table["title"].to_pylist(), table["document_id"].to_pylist()
        index = bm25s.BM25()
        index.index([plain_words(titles[i]) for i in rows], show_progress=False)
        queries = [plain_words(str(s["query"])) or ["?"] for s in self.searches]
        retrieved, scores = index.retrieve(queries, k=K, show_progress=False)
        return defaultdict(
            set,
            {
                i: {ids[rows[j]] for j, score in zip(row, score_row, strict=True) if score > 0}
                for i, row, score_row in zip(self.ids, retrieved, scores, strict=True)
            },
        )

    def popular(self) -> Targets:
        """The K most clicked documents before the test starts, the same for every search."""
        clicks: dict[str, int] = defaultdict(int)
        for r in self.rows("results", self.days[:-3]):
            clicks[str(r["document_id"])] += bool(r["clicked"])
        top = set(sorted(clicks, key=lambda d: -clicks[d])[:K])
        return defaultdict(lambda: top)

    def oracle(self, sees: str, days_old: int = 0) -> Targets:
        """The K documents of the oracle for each search."""
        retrieved: Targets = defaultdict(set)
        answer = oracle(self.world, self.folder, self.ids, K, sees, days_old)  # type: ignore[arg-type]
        for i, d in zip(answer["search_id"].to_pylist(), answer["document_id"].to_pylist(), strict=True):
            retrieved[i].add(d)
        return retrieved


def plain_words(text: str) -> list[str]:
    """The lower-case words of a text, without accents."""
    return unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode().split()


def table_of_recall(n: int) -> None:
    """Print recall@10 of the baselines and of the oracle's views, on both target sets, at three difficulties."""
    print(f"| recall@{K} | targets | popularity | BM25 | engine | oracle: text | + place | everything | a week old |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, world in DIFFICULTIES.items():
        with tempfile.TemporaryDirectory() as folder:
            sample = FigureSample(world, Path(folder) / "log", n)
            lists = [
                sample.popular(),
                sample.bm25(),
                sample.top_results,
                *(sample.oracle(sees) for sees in ("text", "place", "everything")),
            ]
            lists.append(sample.oracle("everything", 7))
            for label, targets in (("truth", sample.true_targets), ("logged", sample.clicked_targets)):
                print(
                    f"| {name} | {label} | "
                    + " | ".join(f"{sample.recall(retrieved, targets):.3f}" for retrieved in lists)
                    + " |"
                )


def table_of_sensitivity(n: int) -> None:
    """Print recall@10 on the true targets with each assumed weight halved and doubled."""
    print("| parameter | value | BM25 | oracle: text | + place | everything |")
    print("|---|---|---|---|---|---|")
    for name, value, world in [("default", "", World()), *sensitivity_worlds()]:
        with tempfile.TemporaryDirectory() as folder:
            sample = FigureSample(world, Path(folder) / "log", n)
            lists = [sample.bm25(), *(sample.oracle(sees) for sees in ("text", "place", "everything"))]
            print(
                f"| {name} | {value} | "
                + " | ".join(f"{sample.recall(retrieved, sample.true_targets):.3f}" for retrieved in lists)
                + " |",
                flush=True,
            )


def sensitivity_worlds() -> list[tuple[str, str, World]]:
    """(parameter, value, world) for each assumed parameter, halved and doubled."""
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
                    continue  # doubled to 1, this share would leave 0 to the others
                worlds.append((f"{group}.{name}".strip("."), f"{value:g}", World(**change)))
    default = World()
    for name, value in (("cities", default.number_of_cities), ("names", default.number_of_names)):
        worlds += [(name, str(v), World(**{name: v})) for v in (value // 2, value * 2)]
    return worlds


def draw_figures(world: World, folder: Path, out: Path) -> None:
    """Draw degree and clustering, popularity, click-through by position, and forms of queries."""
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
    """Lower ends of bands of degree, and the mean local clustering of each.

    Local clustering: the share of a searcher's pairs of friends who are friends.
    """
    rng = np.random.default_rng(0)
    neighbours = [set(target[offsets[i] : offsets[i + 1]].tolist()) for i in range(len(degree))]
    local = defaultdict(list)
    bands = [2, 5, 10, 20, 40, 80, 160]
    for i in rng.permutation(len(degree))[:4000]:
        friends = list(neighbours[i])
        if len(friends) >= 2:
            links = sum(len(neighbours[j] & neighbours[i]) for j in friends)
            local[max(b for b in bands if b <= len(friends))].append(links / len(friends) / (len(friends) - 1))
    return sorted(local), np.array([np.mean(local[b]) for b in sorted(local)])


def _draw_clicks(folder: Path, out: Path) -> None:
    results = pq.read_table(folder / "results", columns=["search_id", "position", "clicked", "randomised"])
    position, clicked = results["position"].to_numpy(), results["clicked"].to_numpy()
    _, list_of_row, size = np.unique(results["search_id"].to_numpy(), return_inverse=True, return_counts=True)
    full = size[list_of_row] >= K
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
    """Print every parameter with its default and its source."""
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
            draw_figures(World(), Path(place) / "log", Path(sys.argv[1]))
        table_of_recall(10_000)

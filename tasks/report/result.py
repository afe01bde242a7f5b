"""The result files of a run, read into typed rows, and the pivots that all tables are made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable
from dataclasses import Field, dataclass, field, fields
from functools import cached_property
from math import isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from data.experiment.experiment_spec import BASELINES, BM25, LISTS, ORACLES
from ebr_core.search.index_specs import EXACT, OWN_INDEXES
from tasks.engines.engine_recalls import EngineRecall
from tasks.finished_run import ServedRow
from tasks.report.formats import DASH
from tasks.report.target_sets import MAIN, in_order
from tasks.slices import WHOLE

if TYPE_CHECKING:
    import pandas as pd

FILES = ("checks", "audit", "data", "counts", "run", "bm25", "ensembles", "rankers", "feedback", "courses", "examples")
FEW = 30  # target sets of fewer searches are folded away
REFERENCE = BM25  # what a model is to beat
L = TypeVar("L", bound=Hashable)
C = TypeVar("C", bound=Hashable)


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A row of results.parquet (data.schemas.RESULTS_OF_RUN describes the columns); numbers that are null are NaN."""

    arm: str
    value: float
    question: str | None = None
    seed: int | None = None
    seeds: int | None = None
    index: str = EXACT
    targets: str = "clicked"
    split: str = "test"
    slice: str = WHOLE
    metric: str = "recall"
    k: int | None = None
    n: int = 0
    clusters: int = 0
    small: bool = False
    low: float = nan
    high: float = nan
    baseline: str | None = None
    difference: float = nan
    difference_low: float = nan
    difference_high: float = nan
    family_low: float = nan
    family_high: float = nan
    detectable: float = nan
    training_noise: bool | None = None
    claim: str | None = None
    margin: float = nan
    finding: str | None = None
    verdict: str | None = None
    open_because: str | None = None

    @property
    def measure(self) -> str:
        """The metric with its K: recall@10, mrr."""
        return f"{self.metric}@{self.k}" if self.k else self.metric

    @property
    def is_level(self) -> bool:
        """True for an arm by itself: in no question, through exact search."""
        return self.question is None and self.index in OWN_INDEXES


@dataclass(frozen=True, slots=True)
class CostRow:
    """A row of costs.parquet."""

    arm: str
    seed: int | None
    index: str | None
    stage: str
    cost: str
    value: float


@dataclass(frozen=True)
class Result:
    """The result files of a run."""

    rows: list[ResultRow]  # results.parquet, of the test
    validation: list[ResultRow]  # the levels on the validation searches
    costs: list[CostRow]  # costs.parquet
    spec: dict[str, Any]  # experiment.yaml
    checks: dict[str, Any]
    audit: dict[str, Any]
    data: dict[str, Any]
    counts: list[dict[str, Any]]
    run: dict[str, Any]
    bm25: dict[str, Any] = field(default_factory=dict)  # bm25.json: the parameters, and those tried
    ensembles: list[dict[str, Any]] = field(default_factory=list)  # ensembles.json
    rankers: list[dict[str, Any]] = field(default_factory=list)  # rankers.json
    feedback: list[dict[str, Any]] = field(default_factory=list)  # feedback.json
    courses: list[dict[str, Any]] = field(default_factory=list)  # courses.json
    examples: dict[str, Any] = field(default_factory=dict)  # examples.json
    engines: list[EngineRecall] = field(default_factory=list)  # of the run's models, exported after it

    @cached_property
    def levels(self) -> list[ResultRow]:
        """The rows of arms by themselves, through exact search, slices included."""
        return [row for row in self.rows if row.is_level]

    @cached_property
    def plain(self) -> list[ResultRow]:
        """The levels over all searches."""
        return [row for row in self.levels if row.slice == WHOLE]

    @cached_property
    def every_set(self) -> dict[str, int]:
        """The target sets of the levels with their searches, the main one first."""
        searches = {row.targets: row.n for row in self.plain}
        return {name: searches[name] for name in in_order(searches)}

    @cached_property
    def sets(self) -> list[str]:
        """The target sets that are shown: the main one, and the others of enough searches."""
        return [name for name, n in self.every_set.items() if n >= FEW or name == self.main]

    @cached_property
    def few_sets(self) -> list[str]:
        """The target sets that are folded away, because they have too few searches."""
        return [name for name in self.every_set if name not in self.sets]

    @cached_property
    def baselines(self) -> tuple[str, ...]:
        """The lists without a seed that every run compares: the baselines, and the user's own lists."""
        return (*BASELINES, *self.spec.get("lists", {}))

    @cached_property
    def main(self) -> str:
        """The target set that answers the questions."""
        return main_targets(self.rows)

    @cached_property
    def k(self) -> int:
        """The main K; 10 in a run of an earlier version, which had no such setting."""
        return int(self.spec["evaluation"].get("main_k", 10))

    @property
    def champion(self) -> str | None:
        """The row that validation chose, and that is served; None without one."""
        name: str | None = self.run.get("champion")
        return name

    @property
    def champion_label(self) -> str | None:
        """The champion in questions: with the index that answers, where it is served through one."""
        return self.served.label if self.served else self.champion

    @cached_property
    def compared(self) -> dict[str, list[ResultRow]]:
        """The differences of each question over all searches, in the order of the experiment file, then the questions
        that it does not have."""
        by_question = questions(self.rows)
        in_file = [name for name in self.spec["questions"] if name in by_question]
        return {name: by_question[name] for name in dict.fromkeys([*in_file, *by_question])}

    def title(self, question: str) -> str:
        """The title of a question; without one, what it is about."""
        written = self.spec["questions"].get(question, {}).get("title")
        return written or f"against `{self.compared[question][0].baseline}`"

    @cached_property
    def arms(self) -> list[str]:
        """Every arm that has a level, in the order of the experiment file, then all that the file does not name."""
        return arms_in_order(self.rows, self.spec)

    @cached_property
    def served(self) -> ServedRow | None:
        """The row that is served; None without one, and in a run of an earlier version."""
        served = self.run.get("served")
        return ServedRow.model_validate(served) if served else None

    @property
    def unserved_lists(self) -> list[str]:
        """The names of the lists that no bundle holds."""
        return [name for section in ("retrievals", "filters") for name in self.spec.get(section, {})]

    @property
    def recall(self) -> str:
        """The measure that is shown first: recall@K."""
        return f"recall@{self.k}"


def read(run: Path) -> Result:
    """The result files in the folder of a run; one of an earlier version may lack some of them."""
    files = {name: run / f"{name}.json" for name in FILES}
    return Result(
        rows=read_rows(run / "results.parquet"),
        validation=read_rows(run / "results.parquet", "validation"),
        costs=[CostRow(**row) for row in pq.read_table(run / "costs.parquet").to_pylist()],
        spec=yaml.safe_load((run / "experiment.yaml").read_text()),
        **{name: json.loads(file.read_text()) for name, file in files.items() if file.exists()},
    )


def read_rows(file: Path, split: str = "test", with_slices: bool = True) -> list[ResultRow]:
    """The rows of a results.parquet on the test, or on another split; a null becomes the default of its field.

    with_slices: False for the rows over all searches alone, which are few.
    """
    wanted = pc.field("split") == split
    table = pq.read_table(file, filters=wanted if with_slices else wanted & (pc.field("slice") == WHOLE))
    columns = [_filled(table, of_row) for of_row in fields(ResultRow)]
    return [ResultRow(*line) for line in zip(*columns, strict=True)]


def _filled(table: pa.Table, of_row: Field[Any]) -> list[Any]:
    """The values of a column, or of one that an earlier version did not write, with the field's default for nulls."""
    if of_row.name not in table.column_names:
        return [of_row.default] * len(table)
    values = table[of_row.name].to_pylist()
    return values if of_row.default is None else [of_row.default if value is None else value for value in values]


def main_targets(rows: list[ResultRow]) -> str:
    """The target set that answers the questions."""
    targets = {row.targets for row in rows}
    return next((name for name in MAIN if name in targets), "clicked")


def arms_in_order(rows: list[ResultRow], spec: dict[str, Any]) -> list[str]:
    """Every arm that has a level, in the order of the experiment file, then all that the file does not name."""
    sections = ("arms", "ensembles", *LISTS, "lists")
    named = [name for section in sections for name in spec.get(section) or {}]
    measured = dict.fromkeys(row.arm for row in rows if row.question is None)
    return list(dict.fromkeys([*(name for name in named if name in measured), *measured]))


def label(arm: str, seed: int | None) -> str:
    """The arm, with its seed unless that is the first one, 0."""
    return f"{arm}, seed {seed}" if seed else arm


def questions(rows: Iterable[ResultRow]) -> dict[str, list[ResultRow]]:
    """The compared arms of each question, over all searches, in the order of the rows."""
    compared: dict[str, list[ResultRow]] = {}
    for row in rows:
        if row.question is not None and row.baseline is not None and row.slice == WHOLE:
            compared.setdefault(row.question, []).append(row)
    return compared


def pivot(rows: Iterable[ResultRow], lines: list[str], column: str) -> pd.DataFrame:
    """The mean value over seeds: a line for each value of some fields, a column for each of another, both in the order
    of the rows; NaN where no row is."""
    import pandas as pd

    names = [*lines, column, "value"]
    frame = pd.DataFrame([[getattr(row, name) for name in names] for row in rows], columns=names)
    return frame.pivot_table("value", lines, column, sort=False)


def means(rows: Iterable[ResultRow]) -> dict[str, float]:
    """The mean value over seeds of each arm in rows of one measure, in the order of the rows."""
    return {str(arm): float(line.iloc[0]) for arm, line in pivot(rows, ["arm"], "metric").iterrows()}


def written(values: pd.Series[float], write: Callable[[float], str], missing: str = DASH) -> Callable[[Hashable], str]:
    """A function from a line to its cell in a column of a pivot; NaN becomes missing."""
    return {line: missing if isnan(value) else write(value) for line, value in values.items()}.__getitem__


def cells(
    rows: Iterable[ResultRow], line: Callable[[ResultRow], L], column: Callable[[ResultRow], C]
) -> dict[L, dict[C, ResultRow]]:
    """The row in each cell of a table, lines and columns in the order of the rows."""
    table: dict[L, dict[C, ResultRow]] = {}
    for row in rows:
        table.setdefault(line(row), {})[column(row)] = row
    return table


def without_oracles(rows: Iterable[ResultRow], targets: str) -> list[ResultRow]:
    """The rows on a target set; those of oracles on truth alone, because they do not aim at clicks."""
    return [row for row in rows if row.targets == targets and (targets == "truth" or row.arm not in ORACLES)]

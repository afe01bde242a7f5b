"""What was measured of engines: kept beside the runs, for their reports."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field, ValidationError

from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from tasks.home import home


class EngineRecall(Frozen):
    """What an engine answers to the canaries and to a sample of the test searches, asked one after the other."""

    engine: str
    address: str = Field(description="without a password")
    alias: str
    version: str
    model: str = Field(description="the digest of the bundle")
    arm: str
    mode: str = Field(description="in which the model answers elsewhere; an engine searches by the embedding, mode ebr")
    at: datetime = Field(description="UTC")
    index: str = Field(description="the parameters of the index, and how clients search it")
    uses_index: bool = Field(description="False if the engine compares all documents, because they are few")
    k: int
    target: float
    canaries: int
    searches: int = Field(description="of the test, sampled")
    recall: float = Field(description="recall@K against exact search over the same vectors, of all these")
    canary_recall: float
    median_ms: float
    p99_ms: float
    documents: int
    written: int = Field(description="documents that this export wrote; the others were there")
    rows_per_s: float | None = Field(description="of those, the building of the index included")

    @property
    def reached(self) -> bool:
        """True if the recall reaches the target."""
        return self.recall >= self.target

    def describe(self) -> str:
        """The measurement, a line for each fact."""
        rate = f", {self.rows_per_s:,.0f} a second with the index" if self.rows_per_s else ""
        wrote = f"{self.written:,} of {self.documents:,} documents written{rate}"
        asked = f"{self.searches:,} searches of the test and {self.canaries} canaries"
        if not self.searches:
            asked = f"{self.canaries} canaries alone, because the vectors of its run's test are not in this home"
        search = (
            self.index if self.uses_index else f"{self.index}; it compares all of so few documents, without the index"
        )
        by_embedding = f"{self.engine} searches by the embedding alone, mode ebr; elsewhere the model answers in mode"
        alone = [f"  {by_embedding} {self.mode}"] if self.mode != "ebr" else []
        return "\n".join(
            [
                f"{self.engine} {self.address}: {self.version}, {wrote}",
                f"  {search}",
                f"  index recall@{self.k} {self.recall:.3f} on {asked} ({self.canary_recall:.3f} on these), target "
                f"{self.target:g}",
                f"  latency {self.median_ms:.1f} ms median, {self.p99_ms:.1f} ms p99, one query at a time",
                *alone,
            ]
        )


def save_recall(measured: EngineRecall) -> Path:
    """The file of a measurement, which `ebr report` shows beside the run's own indexes."""
    folder = recalls_folder(measured.model)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{measured.engine}-{measured.alias}.json"
    unfinished = folder / f".{path.name}"
    unfinished.write_text(measured.model_dump_json(indent=1) + "\n")
    unfinished.replace(path)
    return path


def recalls_folder(model: str) -> Path:
    """The folder of the measurements of a model, by the digest of its bundle."""
    return home() / "engines" / model


def read_recalls(model: str) -> list[EngineRecall]:
    """The latest measurement of each engine and alias that holds the model.

    Raises InputError for a file that is none.
    """
    measured = []
    for path in sorted(recalls_folder(model).glob("[!.]*.json")):
        try:
            measured.append(EngineRecall.model_validate_json(path.read_bytes()))
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(
                f"{path}: not a measurement as `ebr export` writes it ({'.'.join(map(str, first['loc']))}: "
                f"{first['msg']}); remove it, or export the model again"
            ) from error
    return measured


def now() -> datetime:
    """The time, to the second."""
    return datetime.now(UTC).replace(microsecond=0)

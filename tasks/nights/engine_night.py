"""What a night did in a search engine."""

from __future__ import annotations

from pydantic import Field

from data.experiment.export_config import Export
from ebr_core.frozen import Frozen
from tasks.engines.engine_recalls import EngineRecall


class EngineNight(Frozen):
    """What a night, or a rollback, did in a search engine."""

    export: Export
    alias: str
    measured: EngineRecall | None = Field(None, description="of the champion; None if it was not measured")
    failure: str = Field("", description="why the champion does not answer there; what answered before goes on")

    def describe(self) -> str:
        """What happened, on one line."""
        if self.failure:
            return f"{self.export.to}: the champion does not answer there as {self.alias}: {self.failure}"
        line = f"{self.export.to}: the champion answers as {self.alias}"
        if (it := self.measured) is None:
            return line
        return (
            f"{line}: index recall@{it.k} {it.recall:.3f}, latency {it.median_ms:.1f} ms median, {it.p99_ms:.1f} ms p99"
        )

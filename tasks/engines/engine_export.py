"""Bring a model into an engine: write a version, build its index, measure it, let it answer; and go back."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np

from ebr_core.errors import InputError
from ebr_core.serving.model_bundle import Bundle, model_digest, open_bundle
from tasks.engines.engine_recalls import EngineRecall, now, save_recall
from tasks.engines.exported_documents import ExportedDocuments, exported_documents
from tasks.engines.measurement import Verification, measure_engine
from tasks.engines.opened_engine import EngineAddress, open_engine
from tasks.engines.search_engine import SearchEngine, Version, version_name
from tasks.home import home
from tasks.progress import show_progress


class Promotion(NamedTuple):
    """What an export measured, and whether its version answers."""

    measured: EngineRecall
    live: Version | None  # what answers now
    before: Version | None  # what answered before

    def describe(self) -> str:
        """What happened, a line for each fact."""
        measured = self.measured
        lines = [measured.describe()]
        if not measured.reached:
            answers = f"{self.live.name} goes on answering" if self.live else "nothing answers"
            return "\n".join([*lines, f"not promoted: {answers} as {measured.alias}"])
        if self.before and self.live and self.before.name == self.live.name:
            lines.append(f"{measured.alias}: {self.live.name} answers already")
        else:
            kept = f"; {self.before.name} is kept, to go back to" if self.before else ""
            lines.append(f"{measured.alias}: {measured.version} answers{kept}")
        if self.before and self.live and self.before.dimensions != self.live.dimensions:
            lines.append(
                f"its vectors have {self.live.dimensions} dimensions, those before had {self.before.dimensions}: what "
                "asks the engine has to embed queries by the new model from now on"
            )
        return "\n".join(lines)


def export_model(
    address: EngineAddress,
    folder: Path,
    show: list[str] | None = None,
    target: float | None = None,
    batch_rows: int | None = None,
) -> Promotion:
    """Let the model in a bundle's folder answer in an engine if its recall there reaches the target.

    Documents that an earlier, killed export wrote are not written again. The version that answered before is kept, to
    go back to; older ones are removed. Raises InputError if the engine refuses; nothing that answers has changed then.
    """
    bundle = open_bundle(folder)
    documents = exported_documents(bundle, show)
    version = Version(
        name=version_name(address.alias, model := model_digest(folder), documents.schema),
        model=model,
        arm=bundle.name,
        documents=len(documents),
        dimensions=bundle.vectors.shape[1],
    )
    with _alone(address), _connected(address) as engine:
        live = engine.live()
        began = perf_counter()
        written = write_version(engine, version, documents, batch_rows or engine.batch_rows(version.dimensions))
        seconds = perf_counter() - began
        verification = measure_engine(engine, version, bundle, folder, target)
        measured = _measured(address, engine, version, bundle, verification, written, seconds)
        save_recall(measured)
        before = live.version if live else None
        if not measured.reached:
            return Promotion(measured, before, before)
        promote_version(engine, version)
        return Promotion(measured, version, before)


def _measured(
    address: EngineAddress,
    engine: SearchEngine,
    version: Version,
    bundle: Bundle,
    verification: Verification,
    written: int,
    seconds: float,
) -> EngineRecall:
    """The measurement as it is kept."""
    effort, answers, questions, target = verification
    canaries = answers.recalls[: questions.canaries]
    milliseconds = answers.seconds * 1000
    return EngineRecall(
        engine=address.kind,
        address=engine.address,
        alias=address.alias,
        version=version.name,
        model=version.model,
        arm=bundle.name,
        mode=bundle.mode,
        at=now(),
        index=f"{engine.index}; {effort.words}",
        uses_index=engine.uses_index(version, questions.queries[0], questions.k),
        k=questions.k,
        target=target,
        canaries=questions.canaries,
        searches=len(questions.queries) - questions.canaries,
        recall=float(answers.recalls.mean()),
        canary_recall=float(canaries.mean()) if len(canaries) else 1.0,
        median_ms=float(np.median(milliseconds)),
        p99_ms=float(np.percentile(milliseconds, 99)),
        documents=version.documents,
        written=written,
        rows_per_s=written / seconds if written else None,
    )


def write_version(engine: SearchEngine, version: Version, documents: ExportedDocuments, batch_rows: int) -> int:
    """Write the documents that the version has not yet, and build its index; the number of those written."""
    there = engine.create(version, documents.schema)
    with show_progress(f"write {version.name}", len(documents)) as advance:
        done = there
        for batch in documents.batches(batch_rows, there):
            engine.write(version, batch)
            done += len(batch)
            advance(done, f"{done:,} of {len(documents):,} documents")
    there_now = engine.create(version, documents.schema)
    if there_now != len(documents):
        raise InputError(
            f"{engine.address}: {version.name} has {there_now:,} documents and the model {len(documents):,}: somebody "
            f"else writes there; drop {version.name}, then the same command again"
        )
    engine.finish(version)
    return len(documents) - there


def promote_version(engine: SearchEngine, version: Version) -> None:
    """Let the version answer, keep the one that answered before, and remove all others."""
    live = engine.live()
    if live and live.version == version:
        return
    engine.promote(version, live.version if live else None)
    kept = {version.name} | ({live.version.name} if live else set())
    for old in engine.versions():
        if old.name not in kept:
            engine.drop(old)


def roll_back_engine(address: EngineAddress) -> tuple[Version, Version]:
    """(the version that answers again, the one that it replaces). Raises InputError if there is none to go back to."""
    with _alone(address), _connected(address) as engine:
        live = engine.live()
        if live is None or live.previous is None:
            there = f"only {live.version.name}" if live else "nothing"
            raise InputError(
                f"{address.kind}: {engine.address} has {there} as {address.alias}, so there is no version to go back "
                "to; export the model that is to answer"
            )
        engine.promote(live.previous, None)
        return live.previous, live.version


def restore_model(address: EngineAddress, folder: Path) -> bool:
    """True if the model in a bundle's folder answers now, because it is the version that answers or the one before it,
    which needs no second measurement; False if the engine has it no more."""
    model = model_digest(folder)
    with _alone(address), _connected(address) as engine:
        live = engine.live()
        if live and live.version.model == model:
            return True
        if live and live.previous and live.previous.model == model:
            engine.promote(live.previous, None)
            return True
    return False


@contextmanager
def _connected(address: EngineAddress) -> Iterator[SearchEngine]:
    engine = open_engine(address)
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def _alone(address: EngineAddress) -> Iterator[None]:
    """Lock the alias for this process until it ends. Raises InputError if another export of this home has it."""
    folder = home() / "engines"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{address.kind}-{address.alias}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"another export to {address.alias} in {address.kind} is under way; wait until it ends, or stop it"
            ) from error
        yield

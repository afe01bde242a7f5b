"""How often the test of a log has been looked at: whoever chooses by the test wears it out."""

from __future__ import annotations

import hashlib
import json
import os

from tasks.home import home
from tasks.kinds import EvalSet, Log, RunResults


def count_look(log: Log, test: EvalSet, results: RunResults) -> int:
    """The number of different results on this test so far, these included; each is one look at it.

    The file EBR_HOME/test-looks/<log and sample>.json lists them in order. The same results shown again, by a resumed
    or repeated run, are the same look.
    """
    name = hashlib.sha256(f"{log.digest} {test.digest}".encode()).hexdigest()[:20]
    folder = home() / "test-looks"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    seen: list[str] = json.loads(file.read_text()) if file.exists() else []
    if results.digest not in seen:
        seen.append(results.digest)
        unfinished = folder / f".{name}.{os.getpid()}"
        unfinished.write_text(json.dumps(seen))
        unfinished.replace(file)
    return 1 + seen.index(results.digest)


def describe_looks(looks: int) -> str:
    """A sentence that says how often the test has been looked at, and what to do instead."""
    times = "once, for these results" if looks == 1 else f"{looks:,} times with these results"
    return f"The test of this log has been looked at {times}; choose settings by the validation (ebr run --tune)."

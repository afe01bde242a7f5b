"""What the README shows of real runs: `make sample` writes docs/sample/ and the blocks of README.md anew.

The result files of the default experiment are kept in docs/sample/run, so that the tests can render them and compare.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq

from data.experiment.experiment_file import load_experiment
from data.experiment.experiment_spec import LOGGED
from ebr_core.measure.intervals import smallest_difference
from tasks.home import ROOT
from tasks.report.page import without_markup
from tasks.report.recommendation import recommendation
from tasks.report.report_stage import write
from tasks.report.result import FILES, REFERENCE, read
from tasks.report.run_folders import find_run
from tasks.report.terminal_tables import AGAINST, recall_grid

README = ROOT / "README.md"
SAMPLE = ROOT / "docs" / "sample"
SIZES = (500, 2_000, 10_000, 50_000)  # searches of a test, for the table of what a log can show
QUERY = ("marie jnes", "--city", "London", "--k", "5")  # misspelt
WIDTH, HEIGHT = 1280, 800  # of a screenshot, in pixels
_KEPT = ("results.parquet", "costs.parquet", "experiment.yaml", *(f"{name}.json" for name in FILES))
_BLOCK = re.compile(r"<!-- sample: (?P<name>\w+) -->\n.*?<!-- end -->", re.DOTALL)


def keep(run: Path, sample: Path) -> None:
    """Copy what a report is made of from the folder of a run, and render it."""
    shutil.rmtree(sample / "run", ignore_errors=True)
    (sample / "run").mkdir(parents=True)
    for name in _KEPT:
        if (run / name).exists():
            shutil.copyfile(run / name, sample / "run" / name)
    (sample / "report.html").write_text(rendered(sample), encoding="utf-8")


def rendered(sample: Path) -> str:
    """The report's page, of the result files kept."""
    with tempfile.TemporaryDirectory() as folder:
        write(sample / "run", Path(folder))
        return (Path(folder) / "report.html").read_text(encoding="utf-8")


def verdict(sample: Path) -> str:
    """Eight rows of the run's first table, and the line that says what to use."""
    result, spec = read(sample / "run"), load_experiment(sample / "run" / "experiment.yaml")
    (counts,) = (counts for counts in result.counts if counts["targets"] == result.main)
    rows = [row for row in result.rows if row.targets == result.main]
    grid = recall_grid(rows, counts, result.checks, spec, [], result.served)
    columns = [grid.headers.index(header) for header in ("arm", "recall@1", result.recall, "recall@100", AGAINST)]
    first_rows = {row[0].split(" ")[0]: row for row in reversed(grid.rows) if row[0]}
    served = result.served.row if result.served else ""
    names = [served, "everything", "place", "softmax", "random", LOGGED, REFERENCE, "memory"]
    lines = [grid.headers, *(first_rows[name] for name in names if name in first_rows)]
    table = _aligned([[line[at] for at in columns] for line in lines])
    return f"{table}\n\n{without_markup(recommendation(result))}"


def sizes() -> str:
    """A table of Markdown: the smallest difference that a test of so many searches shows four times out of five."""
    lines = [f"| {n:,} | {smallest_difference(n):.3f} |" for n in SIZES]
    head = ["| Searches with a click in the test | Smallest difference of recall@10 it can show |", "|---|---|"]
    return "\n".join([*head, *lines])


def with_blocks(page: str, blocks: dict[str, str]) -> str:
    """The page with each block between `<!-- sample: NAME -->` and `<!-- end -->` replaced by that of the name."""

    def replaced(found: re.Match[str]) -> str:
        name = found["name"]
        return f"<!-- sample: {name} -->\n{blocks[name]}\n<!-- end -->" if name in blocks else found[0]

    return _BLOCK.sub(replaced, page)


def blocks_of(page: str) -> dict[str, str]:
    """The text of each block of a page, by its name."""
    return {found["name"]: "\n".join(found[0].split("\n")[1:-1]) for found in _BLOCK.finditer(page)}


def as_code(text: str) -> str:
    """The text as a block of Markdown that is shown as it is."""
    return f"```text\n{text}\n```"


def write_flat_log(folder: Path) -> None:
    """Write a log as many people have it: log.parquet, a row for each shown result, and catalogue.csv, under names of
    their own."""
    _ebr("simulate", "--out", "tables", "--searches", "12000", "--documents", "2000", "--days", "12", folder=folder)
    searches = pq.read_table(folder / "tables" / "searches")
    results = pq.read_table(folder / "tables" / "results")
    names = {"search_id": "search_id", "searched_at": "ts", "query": "q", "searcher_id": "user"}
    searches = searches.select(list(names)).rename_columns(names)
    names = {"search_id": "search_id", "document_id": "sku", "position": "rank", "clicked": "is_click"}
    log = results.select(list(names)).rename_columns(names).join(searches, "search_id").drop_columns("search_id")
    pq.write_table(log.sort_by([(key, "ascending") for key in ("ts", "user", "rank")]), folder / "log.parquet")
    documents = pq.read_table(folder / "tables" / "documents.parquet")
    names = {"document_id": "sku", "title": "name", "kind": "category"}
    pyarrow.csv.write_csv(documents.select(list(names)).rename_columns(names), folder / "catalogue.csv")
    shutil.rmtree(folder / "tables")


def three_steps(folder: Path) -> dict[str, str]:
    """What `init`, `check` and `run` print on the flat log, abridged, as blocks."""
    write_flat_log(folder)
    written = _ebr("init", "log.parquet", "catalogue.csv", folder=folder)
    experiment = next(folder.glob("*.yaml"))
    checked = _ebr("check", experiment.name, folder=folder)
    ran = _ebr("run", experiment.name, folder=folder)
    outputs = {
        "init": _abridged(written, ("logs:", "arms:", "Written:")),
        "check": _abridged(checked, ("table", "Searches run", "part ")) + "\n…\n" + checked.splitlines()[-1].strip(),
        "run": ran.splitlines()[-1],
    }
    return {name: as_code(text) for name, text in outputs.items()}


def main() -> None:
    """Run the default experiment and the three steps of the README, and write all that the docs show of them."""
    _ebr("run", "experiments/default.yaml", folder=ROOT)
    keep(find_run("default"), SAMPLE)
    blocks = {"verdict": as_code(verdict(SAMPLE)), "sizes": sizes()}
    blocks["search"] = as_code(_ebr("search", *QUERY, folder=ROOT))
    with tempfile.TemporaryDirectory() as folder:
        blocks |= three_steps(Path(folder))
    README.write_text(with_blocks(README.read_text(encoding="utf-8"), blocks), encoding="utf-8")
    take_pictures()


def take_pictures() -> None:
    """Take the screenshots of the report's head and of the search page; needs chromium."""
    _screenshot((SAMPLE / "report.html").as_uri(), SAMPLE / "report.png")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "flows.app.cli", "serve", "--port", str(port)]
    service = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        _wait_for(f"http://127.0.0.1:{port}/ready")
        _screenshot(f"http://127.0.0.1:{port}/?query=marie+jnes&city=London", SAMPLE / "search.png")
    finally:
        service.send_signal(signal.SIGINT)
        service.wait(30)


def _screenshot(url: str, file: Path) -> None:
    options = ["--headless=new", "--no-sandbox", "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}"]
    command = ["chromium", *options, "--virtual-time-budget=10000", f"--screenshot={file}", url]
    subprocess.run(command, check=True, capture_output=True)


def _wait_for(url: str) -> None:
    for _ in range(120):
        try:
            urllib.request.urlopen(url, timeout=5)
            return
        except OSError:
            time.sleep(1)
    raise TimeoutError(url)


def _ebr(*arguments: str, folder: Path) -> str:
    """What the command prints in this folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "flows.app.cli", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.rstrip()


def _abridged(text: str, beginnings: tuple[str, ...]) -> str:
    """The first paragraphs, or their rest from a line, that begin so; `…` stands for what is left out.

    >>> print(_abridged("a\\nb\\n\\nc\\n\\nd", ("b", "d")))
    …
    b
    …
    d
    """
    shown, left_out, waiting = list[str](), False, list(beginnings)
    for paragraph in text.split("\n\n"):
        lines = paragraph.splitlines()
        start = next((at for at, line in enumerate(lines) if waiting and line.startswith(waiting[0])), None)
        left_out |= start != 0
        if start is not None:
            waiting.pop(0)
            shown += ["…"] * left_out + lines[start:]
            left_out = False
    return "\n".join(shown)


def _aligned(rows: list[list[str]]) -> str:
    """The rows as lines, the first column to the left and all others to the right.

    >>> print(_aligned([["arm", "recall@10"], ["random", "0.5"]]))
    arm     recall@10
    random        0.5
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
    return "\n".join("  ".join(line).rstrip() for line in lines)


if __name__ == "__main__":
    main()

"""The command line as users run it: in a process of its own, with its output and exit code."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.app.status import next_run
from tests.documented_keys import refuse_undocumented

PROJECT = Path(__file__).parent.parent.parent.parent
SMOKE = PROJECT / "experiments" / "smoke.yaml"


def _ebr(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "MLFLOW", "EBR"))}
    return subprocess.run(
        [sys.executable, "-m", "flows.app.cli", *arguments],
        cwd=PROJECT,
        env=environment | {"EBR_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_version_is_that_of_the_project(tmp_path: Path) -> None:
    """The newest heading of the changelog, the citation and the package name one version."""
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    changelog = re.findall(r"^## (\S+)", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert (changelog[0], yaml.safe_load((PROJECT / "CITATION.cff").read_text())["version"]) == (version, version)
    printed = _ebr(tmp_path, "--version")
    assert (printed.returncode, printed.stdout) == (0, f"ebr {importlib.metadata.version('ebr')}\n")


def test_help_lists_commands_in_groups_and_a_wrong_word_gives_the_right_one(tmp_path: Path) -> None:
    text = _ebr(tmp_path, "--help").stdout
    headings = [f"─ {group} ─" for group in ("Start", "Look", "Ask", "Every night", "Research")]
    places = [text.index(heading) for heading in headings]
    assert places == sorted(places)
    assert places[0] < text.index("│ init ") < text.index("│ run ") < places[1] < text.index("│ search ")
    assert "EXPERIMENT/ARM" in text[places[-1] :]
    wrong = _ebr(tmp_path, "serach", "x")
    assert (wrong.returncode, "Did you mean 'search'?" in wrong.stderr) == (2, True)
    wrong = _ebr(tmp_path, "search", "x", "--whre", "y")
    assert (wrong.returncode, "--where" in wrong.stderr) == (2, True)


def test_every_command_is_documented_in_help_and_in_a_page_of_its_subject(tmp_path: Path) -> None:
    from flows.app.cli import app

    generated = PROJECT / "docs" / "reference"
    pages = [
        PROJECT / "README.md",
        *(page for page in (PROJECT / "docs").rglob("*.md") if generated not in page.parents),
    ]
    text = "\n".join(page.read_text() for page in pages)
    help_text = _ebr(tmp_path, "--help").stdout
    for group in app.registered_groups:
        assert group.typer_instance is not None
        for command in group.typer_instance.registered_commands:
            assert command.callback is not None
            assert command.callback.__doc__
            assert f"ebr {group.name} {command.name}" in text
    for command in app.registered_commands:
        assert command.callback is not None
        assert command.callback.__doc__
        assert command.callback.__name__ in help_text
        assert f"ebr {command.callback.__name__}" in text or f"make {command.callback.__name__}" in text


def test_init_writes_an_experiment_and_checks_it(tmp_path: Path) -> None:
    searches = [
        (f"2020-01-0{1 + i // 8}T{10 + i % 8}:00:00", f"{'red' if i % 2 else 'blue'} shoe {i}") for i in range(40)
    ]
    shown = [f"{at},{query},u{i % 5},p{(i + rank) % 9},{rank},{int(rank == 1)}"
             for i, (at, query) in enumerate(searches) for rank in (1, 2)]  # fmt: skip
    (tmp_path / "log.csv").write_text("\n".join(["ts,q,user,sku,rank,is_click", *shown]) + "\n")
    titles = [f"p{i},{'Red' if i % 2 else 'Blue'} shoe {i},{'Acme' if i % 3 else 'Zen'}" for i in range(120)]
    (tmp_path / "shop.csv").write_text("\n".join(["sku,name,brand", *titles]) + "\n")
    out = tmp_path / "mine.yaml"
    files = [str(tmp_path / name) for name in ("log.csv", "shop.csv")]
    first = _ebr(tmp_path / "home", "init", *files, "--out", str(out))
    assert first.returncode == 0, first.stderr
    for words in (
        "layout: impressions",
        "query: q",
        "brand: {kind: values",
        "A run trains 3 arms",
        f"Next: ebr run {out}",
    ):
        assert words in first.stdout
    again = _ebr(tmp_path / "home", "init", *files, "--out", str(out))
    assert (again.returncode, "--overwrite" in again.stderr) == (2, True)
    assert "Traceback" not in again.stderr


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _open_pages(home: Path, ports: tuple[int, int]) -> tuple[subprocess.Popen[str], str]:
    """`ebr ui` and its output up to the last line of its start."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "MLFLOW", "EBR"))}
    ui = subprocess.Popen(
        [sys.executable, "-m", "flows.app.cli", "ui", "--prefect-port", str(ports[0]), "--mlflow-port", str(ports[1])],
        cwd=PROJECT,
        env=environment | {"EBR_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output = ""
    assert ui.stdout is not None
    deadline = time.monotonic() + 240
    for line in ui.stdout:
        output += line
        if "Ctrl-C ends all" in line or time.monotonic() > deadline:
            break
    return ui, output


def _next_run(api: str) -> datetime | None:
    """The time at which that server will run the next night; its scheduler runs once a minute."""
    deadline = time.monotonic() + 150
    with temporary_settings({PREFECT_API_URL: api}):
        while (time_of_run := next_run("nightly")) is None and time.monotonic() < deadline:
            time.sleep(1)
    return time_of_run


@pytest.mark.more
def test_the_pages_come_up_after_a_kill_and_all_end_together(tmp_path: Path) -> None:
    """A real Prefect server, worker and MLflow page, the deployments of prefect.yaml, and nothing left after the end.
    The first pages are killed and leave their children behind, which hold the ports."""
    ports = _free_port(), _free_port()
    first_ui, _ = _open_pages(tmp_path, ports)
    first_ui.kill()
    first_ui.wait()
    ui, output = _open_pages(tmp_path, ports)
    assert f"PREFECT_API_URL=http://127.0.0.1:{ports[0]}/api" in output, output
    for deployment in ("full", "smoke"):
        url = f"http://127.0.0.1:{ports[0]}/api/deployments/name/ebr/{deployment}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert answer.status == 200
    with urllib.request.urlopen(f"http://127.0.0.1:{ports[1]}/", timeout=20) as answer:
        assert b"MLflow" in answer.read()
    night_time = _next_run(f"http://127.0.0.1:{ports[0]}/api")
    assert night_time is not None, "the server's scheduler plans no night: are Prefect and SQLAlchemy compatible?"
    assert (night_time.hour, night_time.minute) == (4, 0)
    assert _ebr(tmp_path, "ui").stderr.startswith(f"error: `ebr ui` of {tmp_path} is running already")
    ui.send_signal(signal.SIGINT)
    ui.wait(timeout=60)
    for port in ports:  # nobody listens any more
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert not (tmp_path / "prefect-api-url").exists()


def test_check_names_the_arm_that_the_logs_do_not_allow(tmp_path: Path) -> None:
    (tmp_path / "searches.csv").write_text(
        "search_id,searched_at,query,device\n" + "".join(f"{i},2024-01-{1 + i:02},word{i},x\n" for i in range(20))
    )
    (tmp_path / "results.csv").write_text(
        "search_id,document_id,clicked\n" + "".join(f"{i},d{i},true\n" for i in range(20))
    )
    (tmp_path / "documents.csv").write_text("document_id,title\n" + "".join(f"d{i},word{i}\n" for i in range(20)))
    content = {
        "logs": {"layout": "tables", **{table: f"{table}.csv" for table in ("searches", "results", "documents")}},
        "arms": {"random": {}, "shown": {"negatives": {"impressions": 1}}},
        "evaluation": {"ks": [1, 10]},
        "questions": {"P02": {"baseline": "random", "arms": ["shown"]}},
    }
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(content))
    done = _ebr(tmp_path / "home", "check", str(tmp_path / "my.yaml"))
    assert done.returncode == 1, done.stderr  # as that of a run in which an arm fails
    assert "shown cannot be trained: negatives.impressions needs results that were shown and not clicked" in done.stdout
    assert "P02 (no title): cannot be answered without shown" in done.stdout
    assert "columns that nothing reads, and groups, slices and conditions can: searches: device." in done.stdout
    assert "the test measures 2 clicked searches" in done.stdout
    assert "half of that takes 8 such searches" in done.stdout
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(content | {"evaluation": {"ks": [100]}}))
    done = _ebr(tmp_path / "home", "check", str(tmp_path / "my.yaml"), "--json")
    assert done.returncode == 2
    found = json.loads(done.stdout)
    refuse_undocumented(found)
    assert [found["experiment"], *found["failures"]] == ["my", "shown"]
    assert found["questions"]["P02"] == {"answerable": False, "missing": ["shown"]}
    assert "ks" in found["refusals"][0]
    assert found["log"]["splits"]["test"]["searches"] == 2
    assert done.stderr.startswith("reading ")


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        ({"colour": "red"}, ["colour: unknown key"]),
        (
            {"logs": {"layout": "beir", "corpus": "no.jsonl", "queries": "*.json", "test_qrels": "t.tsv"}},
            ["no.jsonl", "*.json", "t.tsv"],
        ),
    ],
)
def test_errors_that_the_user_can_correct_are_reported_before_anything_starts(
    tmp_path: Path, change: dict[str, object], messages: list[str]
) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | change))
    for command in ("check", "run"):
        done = _ebr(tmp_path / "home", command, str(path))
        assert done.returncode == 2
        assert "Prefect" not in done.stderr  # nothing was started
        assert done.stderr.splitlines()[1].startswith("error: ")
        for message in messages:
            assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_errors_that_only_a_run_finds_are_reported_without_a_traceback(tmp_path: Path) -> None:
    for name in ("corpus.jsonl", "queries.jsonl", "test.tsv"):
        (tmp_path / name).write_text('{"_id": "1", "txt": "no such key"}\n')
    logs = {"layout": "beir", "corpus": "corpus.jsonl", "queries": "queries.jsonl", "test_qrels": "test.tsv"}
    (tmp_path / "my.yaml").write_text(yaml.safe_dump({"logs": logs}))
    done = _ebr(tmp_path / "home", "run", str(tmp_path / "my.yaml"))
    assert done.returncode == 2
    assert "error: corpus: " in done.stderr
    assert "has no column 'text'" in done.stderr
    assert "Traceback" not in done.stderr


def test_simulate_writes_the_tables_layout(tmp_path: Path) -> None:
    out = tmp_path / "world"
    done = _ebr(tmp_path, "simulate", "--searches", "500", "--documents", "200", "--days", "3", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert len(list(out.glob("searches/day=*/*.parquet"))) == 3
    assert (out / "truth").is_dir()
    again = _ebr(tmp_path, "simulate", "--searches", "500", "--out", str(out))
    assert again.returncode == 2
    assert "not empty" in again.stderr
    wrong = _ebr(tmp_path, "simulate", "--days", "0", "--out", str(tmp_path / "other"))
    assert wrong.returncode == 2
    assert "--days: got 0" in wrong.stderr

"""The promises of docs/security.md: nothing is unpickled, no shell runs, servers listen on loopback by default."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
import yaml

from data.experiment.experiment_file import load_experiment
from ebr_core.errors import InputError
from flows.app import cli
from flows.process import ui
from tasks.home import prepare_environment
from tasks.log_stages import extract

PROJECT = Path(__file__).parent.parent.parent
UNPICKLING = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
RUNNING = {"eval", "exec", "compile", "os.system", "os.popen"}


def _faults(source: str) -> list[str]:
    """The parts of a module's source that would run or unpickle their input."""
    faults = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = [getattr(node, "module", None), *(alias.name for alias in node.names)]
            faults += [f"imports {name}" for name in module if name and name.split(".")[0] in UNPICKLING]
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        faults += [called] if called in RUNNING else []
        faults += [f"{called} with shell"] if arguments.get("shell", "False") != "False" else []
        faults += [f"{called} with pickles"] if arguments.get("allow_pickle", "False") != "False" else []
        if called == "torch.load" and arguments.get("weights_only") != "True":
            faults.append("torch.load of more than weights")
        if called == "yaml.load" and ast.unparse(node.args[1]) != "_NoRepeats":  # a SafeLoader
            faults.append("yaml.load by another loader")
        if called in ("yaml.unsafe_load", "yaml.full_load", "faiss.read_index_binary"):
            faults.append(called)
        if called.endswith((".execute", ".sql")) and node.args and isinstance(node.args[0], ast.JoinedStr):
            faults.append(f"{called} of an f-string")
    return faults


def test_no_code_runs_or_unpickles_its_input() -> None:
    rooms = [path for room in ("flows", "tasks", "data", "ebr_core") for path in (PROJECT / room).rglob("*.py")]
    assert len(rooms) > 100
    assert {str(path): faults for path in rooms if (faults := _faults(path.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "eval(x)",
        "subprocess.run(x, shell=True)",
        "np.load(x, allow_pickle=True)",
        "torch.load(x)",
        "yaml.load(x, yaml.Loader)",
        "con.execute(f'SELECT {x}')",
    ],
)
def test_every_forbidden_call_is_found(source: str) -> None:
    assert _faults(source)


def test_results_of_stages_are_stored_as_json() -> None:
    assert extract.task.result_serializer == "json"


def test_servers_listen_on_loopback_by_default() -> None:
    assert inspect.signature(cli.serve).parameters["host"].default == "127.0.0.1"
    assert ui.HOST == "127.0.0.1"
    source = inspect.getsource(ui)
    assert '["prefect", "server", "start", "--host", HOST' in source
    assert len(re.findall(r'"--host",\s*HOST', source)) == 2  # and MLflow
    assert "--backend-store-uri" not in source  # any user may read a process's arguments


LOGS = {"layout": "tables", "searches": "s.csv", "results": "r.csv", "documents": "d.csv"}


@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("logs.searches", {"logs": LOGS | {"searches": "https://me:hunter2@host/s.csv"}}),
        ("logs.documents", {"logs": LOGS | {"documents": "s3://bucket/d.csv?s3_secret_access_key=hunter2"}}),
        ("logs.documents", {"logs": LOGS | {"documents": {"table": "s3://me:hunter2@bucket/t"}}}),
        ("logs.documents", {"logs": LOGS | {"documents": {"table": "d", "catalog": "postgresql://me:hunter2/x@h/d"}}}),
        ("runner.*address", {"logs": LOGS, "runner": {"kind": "dask", "address": "tcp://me:hunter2@host:8786"}}),
        ("nightly.notice.url", {"logs": LOGS, "nightly": {"notice": {"url": "https://host/hook?token=hunter2"}}}),
    ],
)
def test_an_address_that_may_hold_a_secret_is_refused_without_repeating_it(
    tmp_path: Path, place: str, content: dict[str, object]
) -> None:
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=rf"{place}[.\w]*: .*may hold a secret") as refused:
        load_experiment(tmp_path / "e.yaml")
    assert "hunter2" not in str(refused.value)


def test_a_name_with_an_at_sign_or_a_glob_is_allowed(tmp_path: Path) -> None:
    logs = LOGS | {
        "searches": "s3://bucket/me@host/day-?.parquet",
        "results": "a@b?.csv",
        "documents": "http://host:8080/me@d.csv",
    }
    (tmp_path / "e.yaml").write_text(yaml.safe_dump({"logs": logs}))
    load_experiment(tmp_path / "e.yaml")


def test_the_receiver_of_a_notice_is_not_shown(tmp_path: Path) -> None:
    """A command's arguments may hold a secret; the rest of the file is stored with the results."""
    notice = {"notice": {"command": ["curl", "-H", "x-key: hunter2"]}, "validation_days": 2}
    (tmp_path / "e.yaml").write_text(yaml.safe_dump({"logs": LOGS, "nightly": notice}))
    shown = load_experiment(tmp_path / "e.yaml").to_yaml()
    assert "hunter2" not in shown
    assert yaml.safe_load(shown)["nightly"]["validation_days"] == 2


@pytest.mark.parametrize("name", ["wh?t", "a\\b"])
def test_a_home_that_databases_misread_is_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBR_HOME", str(tmp_path / name))
    with pytest.raises(InputError, match=r"EBR_HOME is .*choose another"):
        prepare_environment()
    assert not (tmp_path / name).exists()

"""Nights end to end on the day partitions of a tiny world: a real Prefect server, MLflow, webhook and files."""

from __future__ import annotations

import fcntl
import json
import shutil
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import mlflow
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from data.experiment.experiment_file import load_experiment
from data.experiment.night_config import Notice
from data.world.simulate import simulate
from data.world.world_config import World
from ebr_core.errors import InputError
from ebr_core.serving.model_bundle import open_bundle
from flows.app.status import describe_status, document, read_status
from flows.night_choices import choose_arm, choose_days
from flows.nightly import retrain
from tasks.home import home
from tasks.nights.champion_service import roll_back
from tasks.nights.night_records import Night, champions_of, folder_of, read_nights
from tasks.nights.notice import notify
from tasks.served_models import bundle_of, models_of, publish
from tasks.tracking.logged_model import register
from tests.documented_keys import refuse_undocumented

WORLD = World(searches=4000, documents=500, days=8, seed=1)
CANARY = "canary-5d1f0c"  # a token that no file may hold
DAYS = [date(2026, 1, 5 + at) for at in range(8)]


class _Webhook(BaseHTTPRequestHandler):
    """Store the notices that are sent to it."""

    notices: ClassVar[list[tuple[str | None, dict[str, Any]]]] = []
    redirected: ClassVar[list[str | None]] = []  # the tokens that came along

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("location", "/there")
            self.end_headers()
            return
        self.notices.append((self.headers["authorization"], body))
        self.send_response(500 if self.path == "/broken" else 204)
        self.end_headers()

    def do_GET(self) -> None:
        self.redirected.append(self.headers["authorization"])
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def webhook() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Webhook)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of a tiny world, a folder a day; the last day but one has lost most of its clicks."""
    folder = tmp_path_factory.mktemp("world") / "log"
    for _ in simulate(WORLD, folder):
        pass
    poisoned = next((folder / "results").glob(f"*{DAYS[6]}/part.parquet"))
    shutil.copy(poisoned, folder / "kept-aside")
    rows = pq.read_table(poisoned, partitioning=None)
    clicked = pc.and_(rows["clicked"], pc.equal(pc.bit_wise_and(rows["search_id"], 3), 0))
    pq.write_table(rows.set_column(rows.column_names.index("clicked"), "clicked", clicked), poisoned)
    return folder


def _experiment(logs: Path, folder: Path, **nightly: Any) -> Path:
    content = {
        "logs": {
            "layout": "tables",
            "searches": str(logs / "searches" / "*" / "*.parquet"),
            "results": str(logs / "results" / "*" / "*.parquet"),
            "documents": str(logs / "documents.parquet"),
            "edges": str(logs / "edges.parquet"),
        },
        "evaluation": {"resamples": 200, "ks": [1, 10]},
        "arms": {
            "softmax": {
                "loss": {"kind": "softmax"},
                "negatives": {"random": 0, "in_batch": "all"},
                "groups": {
                    "place": {"kind": "values", "searches": ["city"], "documents": ["city"]},
                    "friends": {"kind": "graph", "dimensions": 16},
                },
                "towers": {"dimensions": 16},
                "training": {"batch_size": 256, "epochs": 2},
            }
        },
        "rankers": {"ranked": {"of": "softmax", "depth": 50}},  # which a night does not train
        "nightly": {"checks": {"fewest": 3}} | nightly,
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def experiment(
    prefect_server: None, logs: Path, webhook: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Night]]:
    """Three nights and the poisoned one."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("NIGHT_TOKEN", CANARY)
        path = _experiment(
            logs, tmp_path_factory.mktemp("nights"), notice={"url": webhook, "token_from": "NIGHT_TOKEN"}
        )
        state = retrain(str(path), first=DAYS[3], last=DAYS[6], return_state=True)
    assert state.is_failed()  # a refused night needs attention
    return path, state.result(raise_on_failure=False)


def _aliases() -> dict[str, str]:
    client = mlflow.MlflowClient()
    aliases = client.get_registered_model("tiny").aliases
    return {name: client.get_model_version("tiny", version).tags["bundle"] for name, version in aliases.items()}


def test_three_nights_and_a_poisoned_one(experiment: tuple[Path, list[Night]]) -> None:
    nights = experiment[1]
    assert [night.day for night in nights] == DAYS[3:7]
    assert (nights[0].decision, nights[0].reason) == ("promoted", "there was no champion")
    assert [night.training for night in nights] == ["full", "warm", "warm", None]
    for night in nights[1:3]:
        assert night.decision in ("promoted", "kept")
        assert night.against[0].difference == pytest.approx(night.recall - night.champion_recall)
        assert (night.decision == "promoted") == (night.against[0].bound > -0.005)
    assert nights[3].decision == "refused"
    assert "click_rate" in nights[3].reason
    assert nights == read_nights("tiny")
    champion = nights[2].champion
    assert champion is not None
    assert not any(night.unrenewed for night in nights)


def test_the_night_takes_the_arm_that_the_ranker_of_a_run_reorders(
    experiment: tuple[Path, list[Night]],
) -> None:
    spec = load_experiment(experiment[0])
    spec = spec.model_copy(update={"arms": spec.arms | {"other": spec.arms["softmax"]}})
    publish("reordered", {"experiment": "reordered", "champion": "ranked", "models": {}})
    assert choose_arm("reordered", spec, []) == "softmax"
    (home() / "models" / "reordered.json").unlink()
    with pytest.raises(InputError, match="several arms"):
        choose_arm("reordered", spec, [])


def test_a_challenger_never_sees_the_newest_day(experiment: tuple[Path, list[Night]]) -> None:
    for night in experiment[1][:3]:
        assert night.log is not None
        searches = pq.read_table(night.log.folder / "searches.parquet")
        newest = pc.max(pc.cast(searches["searched_at"], pa.date32())).as_py()
        assert newest == night.day
        trained = searches.filter(pc.not_equal(searches["split"], "test"))
        assert pc.max(pc.cast(trained["searched_at"], pa.date32())).as_py() <= night.day
        test = searches.filter(pc.equal(searches["split"], "test"))
        assert pc.min(pc.cast(test["searched_at"], pa.date32())).as_py() == night.day


def test_a_refusal_keeps_the_champion_and_sends_a_notice(experiment: tuple[Path, list[Night]]) -> None:
    nights = experiment[1]
    champion = champions_of(nights)[-1]
    assert nights[3].champion == champion
    assert bundle_of(models_of("tiny"), None) == champion.bundle.folder
    assert _aliases()["champion"] == champion.bundle.folder.name
    assert open_bundle(champion.bundle.folder).name == "softmax"
    [(token, notice)] = _Webhook.notices
    assert token == f"Bearer {CANARY}"
    assert (notice["decision"], notice["day"]) == ("refused", str(DAYS[6]))
    assert "click_rate" in notice["text"]


def test_a_token_from_the_environment_is_nowhere_in_the_home(experiment: tuple[Path, list[Night]]) -> None:
    """Artifacts, MLflow, Prefect's database, reports and records hold only the name of its variable."""
    files = [path for path in home().rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []


def test_every_night_has_a_run_in_mlflow(experiment: tuple[Path, list[Night]]) -> None:
    mlflow_experiment = mlflow.get_experiment_by_name("tiny")
    assert mlflow_experiment is not None
    runs = mlflow.MlflowClient().search_runs(
        [mlflow_experiment.experiment_id], "tags.kind = 'night'", order_by=["tags.day"]
    )
    assert [run.data.tags["decision"] for run in runs] == [night.decision for night in experiment[1]]
    assert runs[1].data.metrics["champion_recall"] == pytest.approx(experiment[1][1].champion_recall)


def test_a_model_that_a_killed_night_saved_is_registered_without_a_second_copy(
    experiment: tuple[Path, list[Night]],
) -> None:
    champion, client = champions_of(experiment[1])[-1], mlflow.MlflowClient()
    register.fn("saved once", champion)
    client.delete_registered_model("saved once")  # as if the night had been killed before
    register.fn("saved once", champion)
    register.fn("saved once", champion)
    mlflow_experiment = client.get_experiment_by_name("saved once")
    assert mlflow_experiment is not None
    [version] = client.search_model_versions("name = 'saved once'")
    [model] = client.search_logged_models([mlflow_experiment.experiment_id])
    assert version.tags["bundle"] == model.tags["bundle"] == champion.bundle.folder.name
    assert client.get_model_version("saved once", version.version).source == f"models:/{model.model_id}"


def test_running_the_same_days_again_changes_nothing(experiment: tuple[Path, list[Night]]) -> None:
    before = _state_of(home())
    state = retrain(str(experiment[0]), first=DAYS[3], last=DAYS[6], return_state=True)
    assert state.result(raise_on_failure=False) == experiment[1]
    assert _state_of(home()) == before
    assert len(_Webhook.notices) == 1


def _state_of(folder: Path) -> dict[str, bytes | None]:
    """The contents of records and models, the names of artifacts, and the versions in the registry."""
    state: dict[str, bytes | None] = {}
    for path in [*(folder / "nights").rglob("*.json"), *(folder / "models").rglob("*.json")]:
        state[str(path)] = path.read_bytes()
    state |= {path.name: None for path in (folder / "artifacts").iterdir()}
    versions = mlflow.MlflowClient().search_model_versions("name = 'tiny'")
    return state | {f"version {version.version}": None for version in versions}


def test_a_day_that_cannot_be_read_is_recorded_and_sends_a_notice(
    experiment: tuple[Path, list[Night]], logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHT_TOKEN", CANARY)
    newest = next((logs / "searches").glob(f"*{DAYS[7]}/part.parquet"))
    whole = newest.read_bytes()
    newest.write_bytes(whole[: len(whole) // 2])
    try:
        with pytest.raises(InputError, match="cannot be read"):
            retrain(str(experiment[0]), day=DAYS[7])
    finally:
        newest.write_bytes(whole)
    last = read_nights("tiny")[-1]
    assert (last.day, last.decision, last.champion) == (DAYS[7], "failed", champions_of(experiment[1])[-1])
    assert str(newest) in last.reason
    _, notice = _Webhook.notices.pop()
    assert (notice["day"], notice["decision"]) == (str(DAYS[7]), "failed")


def test_the_next_night_leaves_the_refused_day_out(experiment: tuple[Path, list[Night]]) -> None:
    nights = retrain(str(experiment[0]), day=DAYS[7])
    assert isinstance(nights, list)
    assert nights[0].decision in ("promoted", "kept")
    assert nights[0].log is not None
    searches = pq.read_table(nights[0].log.folder / "searches.parquet")["searched_at"]
    assert DAYS[6] not in pc.unique(pc.cast(searches, pa.date32())).to_pylist()
    with pytest.raises(InputError, match="Nights run forward"):
        retrain(str(experiment[0]), day=DAYS[2])


def test_rollback_brings_the_previous_champion_back(experiment: tuple[Path, list[Night]]) -> None:
    champions = champions_of(read_nights("tiny"))
    assert len(champions) > 1, "this test needs a world with two promotions"
    status = describe_status("tiny", None)
    assert f"of {champions[-1].day}" in status
    assert "refused" not in status.splitlines()[0]
    facts = document(read_status("tiny", None))
    refuse_undocumented(facts)
    assert facts["champion"]["model"] == f"tiny/{champions[-1].arm}"
    assert (facts["champion"]["day"], facts["previous"]["day"]) == (str(champions[-1].day), str(champions[-2].day))
    assert facts["last_night"]["decision"] == read_nights("tiny")[-1].decision
    night = roll_back("tiny")
    assert (night.decision, night.champion) == ("rolled back", champions[-2])
    assert champions_of(read_nights("tiny")) == champions[:-1]
    assert bundle_of(models_of("tiny"), None) == champions[-2].bundle.folder
    assert _aliases()["champion"] == champions[-2].bundle.folder.name
    assert "taken back by hand" in describe_status("tiny", None)
    for _ in champions[2:]:
        roll_back("tiny")
    assert set(_aliases()) == {"champion"}
    with pytest.raises(InputError, match="none to go back to"):
        roll_back("tiny")


def test_a_second_night_at_the_same_time_is_refused(experiment: tuple[Path, list[Night]]) -> None:
    with (folder_of("tiny") / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="a night of tiny is under way"):
            retrain(str(experiment[0]))


def test_an_experiment_that_cannot_be_retrained_is_refused(prefect_server: None, logs: Path, tmp_path: Path) -> None:
    path = _experiment(logs, tmp_path)
    content = yaml.safe_load(path.read_text()) | {"rankers": {}}
    several = content | {"arms": content["arms"] | {"other": content["arms"]["softmax"]}}
    beir = {"layout": "beir", "corpus": "c.jsonl", "queries": "q.jsonl", "test_qrels": "t.tsv"}
    wrong = {
        "has no arms": content | {"arms": {}},
        "several arms": several,
        "carries no times": content | {"logs": beir},
        "no arm 'missing'": content | {"nightly": {"arm": "missing"}},
    }
    for i, (message, experiment) in enumerate(wrong.items()):
        (tmp_path / f"wrong-{i}.yaml").write_text(yaml.safe_dump(experiment))
        with pytest.raises(InputError, match=message):
            retrain(str(tmp_path / f"wrong-{i}.yaml"))
        assert not list(folder_of(f"wrong-{i}").glob("[!.]*.json"))


def test_a_night_that_fails_is_recorded_and_sends_a_notice(
    prefect_server: None, logs: Path, tmp_path: Path, webhook: str
) -> None:
    path = _experiment(logs, tmp_path, notice={"command": ["sh", "-c", f"cat > {tmp_path}/notice"]})
    path = path.rename(tmp_path / "failing.yaml")
    [night] = retrain(str(path), day=DAYS[1], return_state=True).result(raise_on_failure=False)
    assert (night.decision, night.champion) == ("failed", None)
    assert "1 usable days come before it" in night.reason
    assert json.loads((tmp_path / "notice").read_text())["decision"] == "failed"
    assert read_nights("failing") == [night]


def test_a_notice_that_fails_gives_the_reason(
    webhook: str, experiment: tuple[Path, list[Night]], monkeypatch: pytest.MonkeyPatch
) -> None:
    night = experiment[1][0]
    monkeypatch.setenv("NIGHT_URL", f"{webhook}/broken")
    assert notify(Notice(url_from="NIGHT_URL"), night) == "nightly.notice: the address in NIGHT_URL answered 500"
    assert "NOT_SET is not set" in str(notify(Notice(url_from="NOT_SET"), night))
    assert "cannot be reached" in str(notify(Notice(url="http://127.0.0.1:9/x"), night))
    assert "did not end within" in str(notify(Notice(command=("sleep", "20"), timeout_s=0.2), night))
    assert "code 3: why" in str(notify(Notice(command=("sh", "-c", "echo why >&2; exit 3")), night))
    assert "cannot be run" in str(notify(Notice(command=("/nowhere",)), night))


def test_no_message_of_a_notice_holds_a_secret(
    experiment: tuple[Path, list[Night]], monkeypatch: pytest.MonkeyPatch
) -> None:
    night = experiment[1][0]
    for address in (
        "http://127.0.0.1:9/hunter2",
        "http://127.0.0.1:9/hunter2 x",
        "hunter2",
        "http://[hunter2/",
        "http://",
    ):
        monkeypatch.setenv("NIGHT_URL", address)
        message = notify(Notice(url_from="NIGHT_URL"), night)
        assert message is not None
        assert "NIGHT_URL" in message
        assert "hunter2" not in message
    monkeypatch.setenv("NIGHT_TOKEN", "hunter2\nhunter2")  # no header can hold it
    message = notify(Notice(url="http://127.0.0.1:9/", token_from="NIGHT_TOKEN"), night)
    assert message is not None
    assert "hunter2" not in message
    message = notify(Notice(command=("sh", "-c", 'echo "no way: $1" >&2; exit 1', "sh", "key=hunter2")), night)
    assert message == "nightly.notice: sh ended with code 1: no way: …"


def test_a_token_does_not_follow_a_redirect(
    webhook: str, experiment: tuple[Path, list[Night]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHT_TOKEN", CANARY)
    assert notify(Notice(url=f"{webhook}/elsewhere", token_from="NIGHT_TOKEN"), experiment[1][0]) is None
    assert _Webhook.redirected == [None]


def test_only_days_of_the_logs_that_are_over_are_chosen() -> None:
    log_days = [date(2026, 1, 1), date(2026, 1, 3), date(2999, 1, 1)]
    assert choose_days(log_days, None, None, None) == [date(2026, 1, 3)]
    assert choose_days(log_days, date(2026, 1, 1), None, None) == [date(2026, 1, 1)]
    assert choose_days(log_days, None, date(2026, 1, 1), None) == log_days[:2]
    for day, first, last, message in (
        (date(2026, 1, 2), None, None, "is not in the logs"),
        (date(2999, 1, 1), None, None, "is not in the logs, or not over"),
        (date(2026, 1, 1), date(2026, 1, 1), None, "give one of them"),
        (None, date(2026, 2, 1), None, "no day from"),
    ):
        with pytest.raises(InputError, match=message):
            choose_days(log_days, day, first, last)

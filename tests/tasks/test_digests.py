"""The stages of a real log that a change of the sources makes run again, and those it does not: on changed copies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.home import ROOT
from tasks.provenance.modules import read_module
from tasks.provenance.source import _digest, _Walk
from tests.trees import copy_sources, replace_text, sources_in

STAGES = {
    "extract": "tasks.log_stages",
    "sample": "tasks.log_stages",
    "featurise": "tasks.feature_stages",
    "embed_graph": "tasks.graph_stage",
    "train_arm": "tasks.training_stages",
    "mine_negatives": "tasks.training_stages",
    "embed_texts": "tasks.retrieval_stages",
    "build_index": "tasks.retrieval_stages",
    "retrieve": "tasks.retrieval_stages",
    "retrieve_baseline": "tasks.retrieval_stages",
    "evaluate": "tasks.evaluation_stage",
    "rank_targets": "tasks.audit_stage",
}
# The settings that stages get from an experiment that sets the loss alone, in the form that names them.
NAMES = """
import json, sys
from data.experiment.experiment_spec import Comparison, Evaluation
from data.experiment.log_config import Split, Tables
from ebr_core.search.index_specs import Ivf
from ebr_core.training.arm_config import Arm
from ebr_core.training.loss_config import Softmax
from tasks.provenance.settings import plain
from tasks.provenance.modules import read_module
from tasks.provenance.source import _digest

settings = json.loads(sys.argv[2])
arm, logs = Arm(loss=Softmax()), Tables(layout="tables", searches="s", results="r", documents="d")
question = Comparison(baseline="a", arms=("b",))
inputs = {
    "extract": [logs, Split(**settings.get("split", {}))],
    "featurise": [arm.features],
    "train_arm": [arm],
    "mine_negatives": [arm, arm.positives, arm.mining],
    "build_index": [Ivf(nlist=4)],
    "evaluate": [question, Evaluation(**settings.get("evaluation", {}))],
}
stages = json.loads(sys.argv[1])
print(json.dumps({name: [plain(inputs.get(name)), _digest(module, name)] for name, module in stages.items()}))
"""


def _stage_names(root: Path, **settings: dict[str, float]) -> dict[str, object]:
    """The settings and the source that name each stage in a copy of the sources."""
    command = [sys.executable, "-c", NAMES, json.dumps(STAGES), json.dumps(settings)]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names: dict[str, object] = json.loads(done.stdout)
    return names


def _run_again(before: dict[str, object], after: dict[str, object]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    return _stage_names(copy_sources(tmp_path_factory.mktemp("sources")))


@pytest.fixture(scope="module")
def digests() -> dict[str, object]:
    return {name: _digest(module, name) for name, module in STAGES.items()}


def test_changes_of_simulator_and_pages_and_new_fields_make_no_stage_run_again(
    tmp_path: Path, names: dict[str, object]
) -> None:
    root = copy_sources(tmp_path / "sources")
    replace_text(root, "data/world/words.py", "LONGEST = 24", "LONGEST = 25")
    replace_text(root, "flows/app/cli.py", "def main() -> None:\n", "def main() -> None:\n    print()\n")
    report = root / "tasks" / "report"
    (report / "report_stage.py").write_text((report / "report_stage.py").read_text() + "\nMORE = 1\n")
    replace_text(root, "tasks/report/report_stage.py", "def report(", "def report(*_, ")
    (report / "templates" / "page.md.j2").write_text((report / "templates" / "page.md.j2").read_text() + "more\n")
    (root / "data" / "sql" / "results").mkdir()
    (root / "data" / "sql" / "results" / "levels.sql").write_text("SELECT 1\n")
    for file, name in (
        ("ebr_core/training/arm_config.py", "Arm"),
        ("ebr_core/training/loss_config.py", "Softmax"),
        ("ebr_core/training/arm_config.py", "Training"),
        ("ebr_core/towers/tower_config.py", "NgramTowerConfig"),
        ("ebr_core/towers/feature_config.py", "TextFeatures"),
        ("data/experiment/experiment_spec.py", "Evaluation"),
        ("data/experiment/log_config.py", "Split"),
    ):
        text = (root / file).read_text()
        begin = text.index('"""', text.index(f"class {name}("))
        end = text.index('"""', begin + 3) + 3
        field = "\n\n    quite_new: TypoCopies = TypoCopies()" if name == "Arm" else "\n\n    quite_new: int = 7"
        (root / file).write_text(text[:end] + field + text[end:])
    assert _run_again(names, _stage_names(root)) == set()


BATCHES = ("ebr_core/training/arm_config.py", "batch_size: int = Field(1024", "batch_size: int = Field(512")
TEMPERATURE = ("ebr_core/training/loss_config.py", "temperature: float = Field(0.05", "temperature: float = Field(0.06")
RESAMPLES = ("data/experiment/experiment_spec.py", "resamples: int = Field(2_000", "resamples: int = Field(1_000")
TEST_SHARE = ("data/experiment/log_config.py", "test: float = Field(0.1", "test: float = Field(0.2")
DIMENSIONS = ("ebr_core/towers/tower_config.py", "dimensions: int = Field(128", "dimensions: int = Field(64")


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ([BATCHES, TEMPERATURE], {"train_arm", "mine_negatives"}),
        (
            [DIMENSIONS],
            {"train_arm", "mine_negatives", "embed_texts"},
        ),  # embed_texts reads settings from a file as well
    ],
)
def test_a_changed_default_makes_stages_that_use_it_run_again(
    tmp_path: Path, names: dict[str, object], changes: list[tuple[str, str, str]], stages: set[str]
) -> None:
    root = copy_sources(tmp_path / "sources")
    for change in changes:
        replace_text(root, *change)
    assert _run_again(names, _stage_names(root)) == stages


def test_a_changed_default_counts_if_it_is_the_value(tmp_path: Path, names: dict[str, object]) -> None:
    root = copy_sources(tmp_path / "sources")
    replace_text(root, *RESAMPLES)
    replace_text(root, *TEST_SHARE)
    assert _run_again(names, _stage_names(root)) == {"evaluate", "extract"}
    assert _run_again(names, _stage_names(root, evaluation={"resamples": 2_000}, split={"test": 0.1})) == set()


TRAINING = {"train_arm", "mine_negatives"}
OF_TOWERS = {*TRAINING, "embed_texts"}  # a class counts as a whole, here with the step that only training uses
# Stages that read the log through data.extracted_log.
OF_THE_LOG = {*TRAINING, "sample", "featurise", "embed_graph", "retrieve_baseline"}
CHANGES: dict[str, tuple[str, str, str, set[str]]] = {
    "SQL of what may be used": ("data/sql/samples/usable_searches.sql", "", "", OF_THE_LOG),
    "SQL of sampling": ("data/sql/samples/relevant.sql", "", "", {"sample"}),
    "SQL of a layout": ("data/sql/layouts/tables.sql", "", "", {"extract"}),
    "SQL of cleaning": ("data/sql/clean/results.sql", "", "", {"extract"}),
    "SQL of training": ("data/sql/samples/trainable.sql", "", "", {*TRAINING, "featurise"}),
    "a step of Adagrad": (
        "ebr_core/towers/bag_tables.py",
        "+= total[d] * row[d]",
        "-= row[d]",
        OF_TOWERS | {"embed_graph"},
    ),
    "a kernel in another file": ("ebr_core/training/kernels.py", "def _softmax(", "def _softmax(*_, ", {"train_arm"}),
    "the choice of positives": ("ebr_core/training/positives.py", "def _hard_rows(", "def _hard_rows(*_, ", TRAINING),
    "a constant": ("tasks/list_measures.py", 'COUNTS = ("scanned"', 'COUNTS = ("compared"', {"evaluate"}),
    "a property of an arm": (
        "ebr_core/training/arm_config.py",
        "trial_arms or [self",
        "trial_arms and [self",
        TRAINING,
    ),
    "a metric": ("ebr_core/measure/metrics.py", "def recall_at_k(", "def recall_at_k(*_, ", {"train_arm", "evaluate"}),
    "an interval": ("ebr_core/measure/intervals.py", "def _pivots(", "def _pivots(*_, ", {"evaluate"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_code_makes_stages_that_reach_it_run_again(
    tmp_path: Path, digests: dict[str, object], change: str
) -> None:
    file, old, new, stages = CHANGES[change]
    root = copy_sources(tmp_path / "sources")
    if old:
        replace_text(root, file, old, new)
    else:
        (root / file).write_text((root / file).read_text() + "-- changed\n")
    with sources_in(root):
        after: dict[str, object] = {name: _digest(module, name) for name, module in STAGES.items()}
    assert _run_again(digests, after) == stages


def test_every_file_of_sql_is_read_by_a_stage_or_a_command() -> None:
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "data" / "sql").rglob("*.sql")}
    walk = _Walk()
    for room in ("flows", "tasks"):
        for path in (ROOT / room).rglob("*.py"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for name in read_module(module).statements:
                walk.follow((module, name), makes=True)
    assert files - set(walk.result().files) == set()

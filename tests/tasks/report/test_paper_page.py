"""The paper's page, from the result files of two small runs: one simulated, one of real logs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from test_report_stage import a_run

from ebr_core.errors import InputError
from flows.app.paper import CLAIMS
from tasks.report.page import as_markdown
from tasks.report.paper_page import describe_paper, model_of, read_claims


def test_every_question_of_the_paper_has_its_claim() -> None:
    claims = read_claims(CLAIMS)
    assert list(claims) == [f"P{number:02}" for number in range(1, 36)]


def test_a_line_for_each_question_and_the_features_that_real_logs_lack(tmp_path: Path) -> None:
    world, real = a_run(tmp_path, "paperworld", 0.3), a_run(tmp_path, "paperreal", -0.3)
    spec = yaml.safe_load((real / "experiment.yaml").read_text())
    (real / "experiment.yaml").write_text(yaml.safe_dump(spec | {"logs": {"layout": "ubi"}}))
    data = json.loads((real / "data.json").read_text())
    data["cannot"] = [{"needs": "edges", "so": "no social graph"}]
    (real / "data.json").write_text(json.dumps(data))
    claims = read_claims(CLAIMS)
    claims["P01"] = claims["P01"].model_copy(update={"contradicted": "because it is planted"})
    text = as_markdown(
        "The paper", describe_paper(claims, {"world": world, "real": real}, "today", {"other": "no file"})
    )
    lines = [line for line in text.splitlines() if "other − plain" in line]
    assert len(lines) == 2
    assert "**P01**" in lines[0]
    assert "; holds" in lines[0]
    assert "; contradicted" in lines[1]
    assert "n 400" in lines[0]
    assert "because it is planted" in text
    assert "`other` was left out: no file." in text
    assert "| P06, P08 | edges |" in text
    assert "P02 (not-clicked impressions" in text[text.index("## Not in these runs") :]


def test_a_question_that_the_paper_does_not_ask_is_refused(tmp_path: Path) -> None:
    run = a_run(tmp_path, "paperunknown", 0.1)
    with pytest.raises(InputError, match="P01 are not among"):
        describe_paper({}, {"world": run}, "today")


def test_the_full_model_and_text_alone_are_columns_of_one_line(tmp_path: Path) -> None:
    full, text = a_run(tmp_path, "paperfull", 0.3), a_run(tmp_path, "papertext", -0.3)
    spec = yaml.safe_load((full / "experiment.yaml").read_text())
    place = {"kind": "values", "searches": ["city"], "documents": ["city"]}
    spec["arms"] = {arm: {"groups": {"place": place}} for arm in ("plain", "other")}
    (full / "experiment.yaml").write_text(yaml.safe_dump(spec))
    page = as_markdown("The paper", describe_paper(read_claims(CLAIMS), {"w": full, "w-text": text}, "today"))
    (line,) = [line for line in page.splitlines() if "| other − plain |" in line and "; holds" in line]
    cells = [cell.strip() for cell in line.split("|")]
    header = next(row for row in page.splitlines() if "asks" in row)
    columns = [cell.strip() for cell in header.split("|")]
    assert cells[columns.index("logs")] == "w"
    assert cells[columns.index("clicked, full model")].endswith("holds")
    assert cells[columns.index("clicked, text alone")].endswith("contradicted")


@pytest.mark.parametrize("leaking", ["full", "text"])
def test_an_arm_is_marked_if_either_of_its_runs_leaks(tmp_path: Path, leaking: str) -> None:
    runs = {kind: a_run(tmp_path, f"papermark{leaking}{kind}", 0.3) for kind in ("full", "text")}
    checks = json.loads((runs[leaking] / "checks.json").read_text())
    (runs[leaking] / "checks.json").write_text(json.dumps(checks | {"leaks": {"other": "leaks: it saw the test"}}))
    spec = yaml.safe_load((runs["text"] / "experiment.yaml").read_text())
    (runs["text"] / "experiment.yaml").write_text(yaml.safe_dump(spec | {"logs": {"layout": "ubi"}}))
    page = as_markdown(
        "The paper", describe_paper(read_claims(CLAIMS), {"w": runs["full"], "w-text": runs["text"]}, "")
    )
    assert "| other (leaks) − plain |" in page
    assert "| other − plain |" not in page
    assert "Answered: P01." in page[page.index("### w-text") :]


def test_a_list_reads_what_its_arms_read() -> None:
    spec = {
        "arms": {"text": {"groups": {}}, "all": {"groups": {"place": {}}}},
        "ensembles": {"both": {"parts": ["text", "all"]}, "twice": {"parts": ["text", "text"]}},
        "cascades": {"then": {"first": "text", "then": "twice"}, "last": {"first": "text", "then": "both"}},
        "retrievals": {"hybrid": {"arm": "text"}, "boolean": {"arm": None}},
    }
    assert model_of(spec, "text@pq32") == model_of(spec, "then") == model_of(spec, "hybrid") == "text alone"
    assert model_of(spec, "all+bm25") == model_of(spec, "both") == model_of(spec, "last") == "full model"
    assert model_of(spec, "boolean") == "text alone"

"""A finished run in MLflow, which mirrors the files: a parent run, and child runs for all that was measured."""

from __future__ import annotations

import json
from datetime import datetime
from socket import gethostname
from urllib.parse import quote

from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact

from data.experiment.experiment_spec import ORACLES, REFIT, Experiment
from ebr_core.frozen import Frozen
from tasks.finished_run import FinishedRun, ServedRow
from tasks.kinds import BuiltIndex, EvalSet, Log, RunReport, RunResults
from tasks.report import plots
from tasks.report.answers import verdict_tags
from tasks.report.curves import line_styles, recall_by_k
from tasks.report.result import ResultRow, arms_in_order, read, read_rows
from tasks.report.seed_means import over_seeds
from tasks.stage_words import say
from tasks.tracking.child_runs import (
    dataset_of,
    log_arm,
    log_baseline,
    log_ensemble,
    log_list,
    log_ranker,
    log_refit,
    read_json,
)
from tasks.tracking.logged_model import register_champion
from tasks.tracking.mlflow_store import open_experiment, process_tags
from tasks.tracking.page_addresses import report_address
from tasks.tracking.run_metrics import answer_metric, recall_panels
from tasks.tracking.run_summary import describe_champion, summary_metrics, summary_tags


class Outcome(Frozen):
    """The artifacts and MLflow runs of a finished run, and what failed."""

    experiment: str
    log: Log
    sample: EvalSet
    results: RunResults
    report: RunReport
    mlflow_experiment_id: str
    mlflow_run_id: str
    failures: dict[str, str]  # arm and seed → error
    served: ServedRow | None
    looks: int  # at the test of this log, with this one


@task(name="track", task_run_name="write the run into MLflow")
def track(run: FinishedRun, results: RunResults, report: RunReport) -> Outcome:
    """Write a finished run into MLflow: parameters, metrics by epoch, final metrics, dataset, report, plots, and the
    champion's bundle as a model."""
    import mlflow

    say("writing the run into MLflow")
    experiment_id, spec = open_experiment(run.experiment), run.spec
    rows = read_rows(results.folder / "results.parquet", with_slices=False)
    measured_arms = {row.arm for row in rows}
    champion, bundles = run.served.arm if run.served else None, {}
    if champion in run.bundles and not run.refit:
        bundles[champion, spec.seeds[0]] = run.bundles[champion]
    name, result = f"{run.experiment} {datetime.now():%Y-%m-%d %H:%M:%S}", read(report.folder)
    with mlflow.start_run(experiment_id=experiment_id, run_name=name, tags=process_tags()) as parent:
        mlflow.log_metrics(summary_metrics(result))  # first, because the page compares by what is logged first
        _log_parent(spec, run.log, run.searches, results, rows)
        _log_report(report, rows, experiment_id, parent.info.run_id, spec.evaluation.main_k)
        baselines = (*spec.baselines, *(name + REFIT for name in spec.baselines), *ORACLES)
        for name in (name for name in baselines if name in measured_arms):
            log_baseline(name, spec, run.log, rows)
        for name in (name for name in spec.combined_lists if name in measured_arms and name not in spec.rankers):
            log_list(name, spec, rows, bundles.get((name, spec.seeds[0])))
        for ranker in run.rankers:
            log_ranker(ranker, spec, rows, bundles.get((ranker.arm, ranker.seed)))
        for ensemble in run.ensembles:
            log_ensemble(ensemble, spec, run.log, rows, bundles.get((ensemble.arm, ensemble.seed)))
        for arm in (arm for arm in run.trained if arm.seed in spec.seeds):
            log_arm(arm, spec, run.log, rows, bundles.get((arm.arm, arm.seed)))
        if run.refit and champion:
            log_refit(run.refit, spec, run.log, rows, run.bundles[champion])
        _log_tuning(run.indexes)
        mlflow.set_tags({"failures": len(run.failures), "champion": champion or "none"} | summary_tags(result))
        mlflow.set_tags({"served": run.served.row} if run.served else {})
    if champion in run.bundles:
        name = str(champion)
        register_champion(run.experiment, experiment_id, name, run.bundles[name], describe_champion(result))
    if run.failures:
        mlflow.MlflowClient().set_terminated(parent.info.run_id, "FAILED")
    return Outcome(
        experiment=run.experiment,
        log=run.log,
        sample=run.searches,
        results=results,
        report=report,
        mlflow_experiment_id=experiment_id,
        mlflow_run_id=parent.info.run_id,
        failures=run.failures,
        served=run.served,
        looks=run.looks,
    )


def _log_parent(experiment: Experiment, log: Log, sample: EvalSet, results: RunResults, rows: list[ResultRow]) -> None:
    import mlflow

    mlflow.set_tags({f"question.{name}": "asked" for name in experiment.questions} | {"kind": "experiment"})
    settings = {"layout": experiment.logs.layout, "arms": len(experiment.arms), "seeds": str(list(experiment.seeds))}
    mlflow.log_params(settings)
    mlflow.log_input(dataset_of(experiment, log), context="training")
    mlflow.log_text(experiment.to_yaml(), "experiment.yaml")
    mlflow.log_artifact(str(log.folder / "report.json"), "data")
    mlflow.log_artifact(str(sample.folder / "counts.json"), "data")
    for name in ("results.parquet", "per_search.parquet", "checks.json"):
        mlflow.log_artifact(str(results.folder / name), "results")
    styles = line_styles(arms_in_order(rows, experiment.model_dump()))
    for targets, curves in recall_panels(over_seeds(rows)).items():
        mlflow.log_figure(recall_by_k(curves, styles, targets), f"plots/recall_by_k.{targets}.png")


def _log_report(report: RunReport, rows: list[ResultRow], experiment_id: str, run_id: str, k: int) -> None:
    """Log the report and its files; show its answers on the page of the run and on that of Prefect."""
    import mlflow

    for file in sorted(report.folder.iterdir()):
        if file.suffix in (".html", ".md", ".svg"):
            mlflow.log_artifact(str(file), "report")
        elif file.name in ("audit.json", "costs.parquet", "run.json"):
            mlflow.log_artifact(str(file), "results")
    whole = (report.folder / "report.md").read_text(encoding="utf-8")
    answers = whole.partition("\n## Differences")[0]
    key = quote(f"metrics.`{answer_metric(f'recall_at_{k}')}`", safe="")
    by_recall = f"compareRunsMode=CHART&orderByKey={key}&orderByAsc=false"
    by_recall += "&searchFilter=tags.kind%20%3D%20%27arm%27"  # whose settings parallel coordinates show
    charts = f"[Charts of all arms, side by side](#/experiments/{experiment_id}/runs?{by_recall})"
    note = shorten_note(f"{charts}\n\n{answers}")
    tags = {"mlflow.note.content": note, "report": report.folder.name}
    mlflow.set_tags(tags | verdict_tags(rows))
    address = report_address(experiment_id, run_id)
    where = f"With pictures: [report.html in MLflow]({address}), or {report.folder / 'report.html'} on {gethostname()}."
    text = "\n".join(line for line in whole.splitlines() if not line.startswith("!["))  # which only that page has
    create_markdown_artifact(f"{where}\n\n{text}\n", key="report", description="The whole report, without pictures")
    create_link_artifact(address, "report.html", key="report-page", description="The report with pictures, in MLflow")


def shorten_note(text: str) -> str:
    """The text, cut after the last line that fits if it is longer than a tag of MLflow may be; its end says so."""
    from mlflow.utils.validation import MAX_TAG_VAL_LENGTH

    if len(text) <= MAX_TAG_VAL_LENGTH:
        return text
    rest = "\n\nThe rest is in report/report.md, among the artifacts."
    return text[: MAX_TAG_VAL_LENGTH - len(rest)].rpartition("\n")[0] + rest


def _log_tuning(indexes: dict[str, dict[str, BuiltIndex]]) -> None:
    """Log the settings that the tuning of indexes tried, for each arm and seed, as a plot and as JSON."""
    import mlflow

    for label, by_name in indexes.items():
        tuned_indexes = {name: index for name, index in by_name.items() if (index.folder / "tuning.json").exists()}
        points = {name: read_json(index, "tuning.json") for name, index in tuned_indexes.items()}
        if points:
            mlflow.log_figure(plots.recall_by_scanned(points, label), f"plots/recall_by_scanned.{label}.png")
            mlflow.log_text(json.dumps(points, indent=1), f"results/tuning.{label}.json")

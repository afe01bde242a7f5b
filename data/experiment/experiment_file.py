"""Read an experiment file: YAML in, a validated experiment out, or all problems of the file at once."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from data.column_names import with_standard_names
from data.experiment.encoder_arms import ENCODER, encoder_arm, with_full_paths
from data.experiment.encoder_models import with_models
from data.experiment.experiment_problems import name_problems, settings_problems
from data.experiment.experiment_spec import BM25, AnyLogs, Comparison, Experiment
from data.experiment.file_errors import explain_errors
from data.experiment.log_config import Simulated
from data.experiment.night_config import Nightly
from data.experiment.packaged import find_experiment
from data.experiment.source_config import LakeTable, Source, Sql, full_path
from data.layouts import sources
from ebr_core.errors import InputError

_SQLITE = "sqlite:///"


class _NoRepeats(yaml.SafeLoader):
    """A SafeLoader that refuses repeated keys, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node. Raises ConstructorError if a key appears twice."""
        keys: list[Any] = []
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue  # <<: the mapping's own keys may override merged ones
            key = self.construct_object(key_node, deep)
            if key in keys:
                message = f"the key {key!r} appears twice"
                raise yaml.constructor.ConstructorError(None, None, message, key_node.start_mark)
            keys.append(key)
        return super().construct_mapping(node, deep)


def load_experiment(path: Path, needs_encoder: bool = True) -> Experiment:
    """The experiment in a YAML file, with the paths of its logs and lists made absolute.

    path: of the file, or the name of an experiment that comes with ebr, such as default. needs_encoder: False for what
    has no use of the arm of evaluation.encoder, which is left out if its model is not there. Raises InputError, which
    lists all problems of the file at once.
    """
    file = find_experiment(path)
    return read_experiment(read_content(file), file, needs_encoder)


def read_content(path: Path) -> Any:
    """What the YAML in a file says. Raises InputError if it cannot be read, or if it is not YAML."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}. Give the path of an experiment file") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}). Save the file as UTF-8"
        ) from error
    try:
        return yaml.load(text, _NoRepeats)  # a SafeLoader
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {error}") from error
    except RecursionError as error:
        raise InputError(f"{path}: lists or mappings are nested too deeply. An experiment has few levels") from error
    except (ValueError, TypeError, AttributeError) as error:  # yaml's errors for an invalid number, date or tag
        raise InputError(
            f"{path}: holds a value that cannot be read: {error}. To write it as text, put it in quotes"
        ) from error


def read_experiment(content: Any, path: Path, needs_encoder: bool = True) -> Experiment:
    """The experiment that a file with this content describes, with the paths of its logs and lists made absolute.

    path: of the file, from whose folder relative paths start; it need not exist. needs_encoder: see load_experiment.
    Raises InputError, which lists all problems at once.
    """
    if not isinstance(content, dict):
        got = "an empty file" if content is None else type(content).__name__
        raise InputError(f"{path}: expected sections such as logs, arms, questions; got {got}")
    content = dict(content)
    problems: list[str] = name_problems(content)
    questions = content.get("questions")
    asks_bm25 = not isinstance(questions, dict) or BM25 not in questions
    if isinstance(questions, dict) and not asks_bm25 and questions[BM25] is None:
        content["questions"] = {name: question for name, question in questions.items() if name != BM25}
    experiment = None
    try:
        experiment = Experiment.model_validate(content)
    except ValidationError as error:
        problems = [*explain_errors(error, content, Experiment.model_json_schema()), *problems]
    start = path.parent.resolve()
    if experiment:
        experiment, model_problems = _with_encoders(experiment, start, needs_encoder)
        problems += model_problems or settings_problems(experiment)
    if problems or experiment is None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InputError(f"{path}: {count}\n" + "\n".join(f"  {line}" for line in problems))
    imported = experiment.feedback.imported or path.stem
    resolved: dict[str, Any] = {
        "logs": _with_blank_queries(_resolve(experiment.logs, start), experiment),
        "lists": {name: full_path(file, start) for name, file in experiment.lists.items()},
        "feedback": experiment.feedback.model_copy(update={"imported": imported}),
        "arms": with_standard_names(experiment.arms, experiment.logs),
        "nightly": _with_full_folder(experiment.nightly, start),
    }
    if asks_bm25:
        resolved["questions"] = experiment.questions | against_bm25(experiment)
    return experiment.model_copy(update=resolved)


def _with_encoders(experiment: Experiment, start: Path, needs_encoder: bool) -> tuple[Experiment, list[str]]:
    """(the experiment with the paths of its models and vectors made absolute, and with the arm of evaluation.encoder;
    the problems of their models, of that encoder only if it is needed)."""
    resolve = partial(full_path, start=start)
    arms = {name: with_full_paths(arm, resolve) for name, arm in experiment.arms.items()}
    arms, problems = with_models(arms, resolve)
    if experiment.evaluation.encoder is not None:
        try:
            arms.setdefault(ENCODER, encoder_arm(experiment.evaluation.encoder, resolve))
        except InputError as error:
            problems += [str(error)] if needs_encoder else []
    return experiment.model_copy(update={"arms": arms}), problems


def _with_full_folder(nightly: Nightly, start: Path) -> Nightly:
    """The section with the folder of LanceDB made absolute."""
    export = nightly.export
    if export is None or export.url is None or export.to != "lancedb":
        return nightly
    url = full_path(export.url, start)
    return nightly.model_copy(update={"export": export.model_copy(update={"url": url})})


def against_bm25(experiment: Experiment) -> dict[str, Comparison]:
    """The question of every run that no file has to ask, of arms and ensembles; none without arms. The run adds the row
    that is served."""
    arms = (*experiment.arms, *experiment.ensembles)
    metric = f"recall@{experiment.evaluation.main_k}"
    return {BM25: Comparison(title="every arm against BM25", baseline=BM25, arms=arms, metric=metric)} if arms else {}


def _with_blank_queries(logs: AnyLogs, experiment: Experiment) -> AnyLogs:
    """The logs with the default of blank_queries: kept if some arm reads more of a search than its text."""
    reads_more = any(arm.features.query_columns for arm in experiment.arms.values())
    return logs.model_copy(update={"blank_queries": "kept"}) if logs.blank_queries is None and reads_more else logs


def _resolve(logs: AnyLogs, start: Path) -> AnyLogs:
    """The logs with relative paths made absolute, from the folder of the experiment file; ~ is the user's home."""
    if isinstance(logs, Simulated):
        return logs
    return logs.model_copy(update={table: _full_source(source, start) for table, source in sources(logs).items()})


def _full_source(source: Source, start: Path) -> Source:
    """A path made absolute; so are the folder of SQL, and the folder or the catalog's file of a lake table."""
    match source:
        case str():
            return full_path(source, start)
        case Sql():
            return source.model_copy(update={"folder": full_path(source.folder, start)})
        case LakeTable(catalog=None):
            return source.model_copy(update={"table": full_path(source.table, start)})
        case LakeTable(catalog=str(address)) if address.startswith(_SQLITE):
            return source.model_copy(update={"catalog": _SQLITE + full_path(address.removeprefix(_SQLITE), start)})
        case _:
            return source


def json_schema() -> dict[str, Any]:
    """The JSON schema of an experiment file, for editors. An arm may leave out settings that its base has."""
    schema = TypeAdapter(Experiment).json_schema()
    schema["title"] = "An experiment of embedding-based retrieval"
    questions = schema["properties"]["questions"]["patternProperties"]
    for pattern, question in questions.items():
        questions[pattern] = {"anyOf": [question, {"type": "null"}]}  # bm25: null switches that question off
    return schema

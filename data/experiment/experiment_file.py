"""Reads an experiment file: YAML in, a validated experiment out, or every problem of the file at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from data.experiment.experiment_problems import name_problems, settings_problems
from data.experiment.experiment_spec import AnyLogs, Experiment
from data.experiment.file_errors import explained
from ebr_core.errors import InputError


class _NoRepeats(yaml.SafeLoader):
    """Refuses a key that stands twice: the last would win without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node."""
        seen: list[Any] = []
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue  # <<: what it brings, the mapping's own keys may say anew
            key = self.construct_object(key_node, deep)
            if key in seen:
                told = f"the key {key!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, told, key_node.start_mark)
            seen.append(key)
        return super().construct_mapping(node, deep)


def load_experiment(path: Path) -> Experiment:
    """The experiment in a YAML file, with the paths of its logs made absolute. Errors: every problem of the file at
    once."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; give the path of an experiment file") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not a text in UTF-8 ({error.reason} at byte {error.start}); save it as one"
        ) from error
    try:
        content = yaml.load(text, _NoRepeats)  # a SafeLoader
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {error}") from error
    except RecursionError as error:
        raise InputError(f"{path}: lists or mappings are nested too deep; an experiment has few levels") from error
    except (ValueError, TypeError, AttributeError) as error:  # a number, date or tag that is none, as yaml tells it
        raise InputError(f"{path}: holds a value that cannot be read: {error}; write it as a text in quotes") from error
    if not isinstance(content, dict):
        got = "an empty file" if content is None else type(content).__name__
        raise InputError(f"{path}: expected sections such as logs, arms, questions; got {got}")
    problems: list[str] = name_problems(content)
    experiment = None
    try:
        experiment = Experiment.model_validate(content)
    except ValidationError as error:
        problems = [*explained(error, content, Experiment.model_json_schema()), *problems]
    if experiment:
        problems += settings_problems(experiment)
    if problems or experiment is None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InputError(f"{path}: {count}\n" + "\n".join(f"  {line}" for line in problems))
    imported = experiment.feedback.imported or path.stem
    resolved = {
        "logs": _resolve(experiment.logs, path.parent.resolve()),
        "feedback": experiment.feedback.model_copy(update={"imported": imported}),
    }
    return experiment.model_copy(update=resolved)


def _resolve(logs: AnyLogs, start: Path) -> AnyLogs:
    """The logs with relative paths made absolute, from the folder of the experiment file; ~ is the user's home."""
    named = [key for key, field in type(logs).model_fields.items() if field.annotation in (str, str | None)]
    paths = {key: getattr(logs, key) for key in named if key != "memory_limit" and getattr(logs, key)}
    full = {
        key: path if "://" in path else str((start / Path(path).expanduser()).absolute()) for key, path in paths.items()
    }
    return logs.model_copy(update=full)


def json_schema() -> dict[str, Any]:
    """The JSON schema of an experiment file, for editors. An arm may leave out what its base says."""
    schema = TypeAdapter(Experiment).json_schema()
    schema["title"] = "An experiment of embedding-based retrieval"
    return schema

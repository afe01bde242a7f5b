"""The page of all settings of an experiment file, made of the models that check it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from data.experiment.experiment_file import json_schema
from tools.reference.allowed_values import allowed, models_in, written
from tools.reference.commands_page import anchor_of
from tools.reference.pages import as_page, as_table, code
from tools.reference.setting_examples import examples, paper_values

INTRODUCTION = (
    "This page lists every key of an experiment file. It is generated from the models that check the file. "
    "`ebr check FILE` names each wrong key and the allowed values. Editors that support YAML schemas complete keys "
    "with `experiments/schema.json`, which is also generated. A missing key has its default. NAME stands for a name "
    "that you choose. *Paper* is the value in Huang et al., KDD 2020. Examples come from the experiments of this "
    "project where possible."
)


def settings_page() -> str:
    """The page: a section for each part of the file, with its keys."""
    schema = json_schema()
    sections = list(_sections(schema))
    known = {model: path for path, model, _ in sections if model}
    used, of_paper = examples(schema), paper_values()
    blocks = [INTRODUCTION, as_table(["section", "content", "keys"], _index(schema, known))]
    for path, model, body in sections:
        blocks.append(f"## {path}")
        if text := " ".join(body.get("description", "").split()):
            blocks.append(_sentence(text))
        if others := [other for other in _places(schema, model) if other != path]:
            blocks.append("Also at " + ", ".join(map(code, others)) + ".")
        lines = list(_lines(model or "Experiment", body, known, used, of_paper))
        blocks.append(as_table(["key", "meaning", "default", "allowed", "paper", "example"], lines))
    return as_page("All settings", blocks)


def _sections(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(path, model, its schema) of the file itself and of every model in it, at the first path that leads there."""
    yield "The file", "", schema
    seen, waiting = set[str](), deque([("", schema)])
    while waiting:
        path, body = waiting.popleft()
        for key, part in body.get("properties", {}).items():
            for model, inner in models_in(part):
                if model in seen:
                    continue
                seen.add(model)
                found = schema["$defs"][model]
                at = ".".join(filter(None, (path, key, inner)))
                yield at + _kind(found), model, found
                waiting.append((at, found))


def _kind(model: dict[str, Any]) -> str:
    """What tells a model from others at the same path, such as `kind: ivf`; empty without it."""
    for name in ("layout", "kind"):
        if constant := model.get("properties", {}).get(name, {}).get("const"):
            return f" ({name}: {constant})"
    return ""


def _places(schema: dict[str, Any], model: str) -> list[str]:
    """All paths at which a model stands, those inside itself left out."""
    found, waiting = list[str](), deque([("", schema, frozenset[str]())])
    while waiting and len(found) < 50:
        path, body, above = waiting.popleft()
        for key, part in body.get("properties", {}).items():
            for name, inner in models_in(part):
                at = ".".join(filter(None, (path, key, inner)))
                if name == model:
                    found.append(at + _kind(schema["$defs"][name]))
                elif name not in above:
                    waiting.append((at, schema["$defs"][name], above | {name}))
    return list(dict.fromkeys(found))[:4]


def _index(schema: dict[str, Any], known: dict[str, str]) -> Iterator[list[str]]:
    for key, part in schema["properties"].items():
        models = [known[model] for model, _ in models_in(part)]
        text = part.get("description") or next(
            (schema["$defs"][model].get("description", "") for model, _ in models_in(part)), ""
        )
        links = [f"[{name}](#{_anchor(name)})" for name in models]
        yield [code(key), _sentence(" ".join(text.split())), ", ".join(links)]


def _lines(
    model: str, body: dict[str, Any], known: dict[str, str], used: dict[str, Any], of_paper: dict[str, str]
) -> Iterator[list[str]]:
    required = body.get("required", [])
    for key, part in body.get("properties", {}).items():
        name = f"{model}.{key}"
        links = {inner: f"[{known[inner]}](#{_anchor(known[inner])})" for inner, _ in models_in(part)}
        default = "required" if key in required else written(part["default"]) if "default" in part else ""
        example = f"{key}: {written(used[name], bare=True)}" if name in used else ""
        meaning = " ".join((part.get("description") or "").split())
        yield [code(key), meaning, default, allowed(part, links), of_paper.get(name, ""), example and code(example)]


def _anchor(heading: str) -> str:
    return anchor_of("".join(sign for sign in heading if sign.isalnum() or sign in " -_"))


def _sentence(text: str) -> str:
    """The text with a capital and a full stop."""
    return text and text[0].upper() + text[1:] + ("" if text.endswith((".", "]", "!")) else ".")

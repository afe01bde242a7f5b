"""Problems of an experiment file as text: the key path as written, the value that was got, the values allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from data.experiment.union_errors import EXPECTED, merge_unions

_LONGEST_VALUE = 200
_DEEPEST = 5  # levels of a file
KeyPath = tuple[int | str, ...]


def explain_errors(error: ValidationError, content: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """One line for each problem of a file's content, in order; a problem that arms have from their base comes once.

    schema: the JSON schema that the content should follow.
    """
    problems = merge_unions(_without_echoes(error.errors()), content)
    lines = [_explain(problem, content, schema) for problem in problems]
    return list(dict.fromkeys(lines))


def _without_echoes(problems: list[ErrorDetails]) -> list[ErrorDetails]:
    """The problems without those of lists that are too short only because their items are wrong."""
    parents = {problem["loc"][:depth] for problem in problems for depth in range(len(problem["loc"]))}
    return [problem for problem in problems if problem["type"] != "too_short" or problem["loc"] not in parents]


# Messages for values of the wrong kind, in terms of YAML in place of pydantic's.
_SHAPES = {
    "model_type": "expected keys and values, as in {key: value}",
    "model_attributes_type": "expected keys and values, as in {key: value}",
} | {kind: f"expected {text}" for kind, text in EXPECTED.items()}


def _explain(problem: ErrorDetails, content: dict[str, Any], schema: dict[str, Any]) -> str:
    """One line: the key path, the value that was got, the values allowed."""
    key_path, got, kind = _where_written(problem["loc"], content, schema), problem["input"], problem["type"]
    if key_path[-1:] == ("[key]",):  # the name itself is wrong, not the settings below it
        key_path, kind = key_path[:-1], "name"
    path = _path_in_file(key_path, schema)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        key, allowed = problem["ctx"]["discriminator"].strip("'"), _tags_at(problem["loc"], schema)
        if kind == "union_tag_not_found" and isinstance(got, dict):
            return f"{path}.{key}: missing; allowed: {', '.join(allowed)}"
        got = problem["ctx"].get("tag", got)
        near = difflib.get_close_matches(str(got), allowed, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"{path}.{key}: got {got!r}{hint}; allowed: {', '.join(allowed)}"
    if kind == "extra_forbidden":
        allowed = _keys_at(problem["loc"][:-1], schema)
        hint = _key_hint(key_path, allowed, schema)
        return f"{path}: unknown key{hint}; allowed here: {', '.join(allowed)}"
    message = _SHAPES.get(kind, problem["msg"].removeprefix("Value error, "))
    if kind == "missing":
        return f"{path}: missing; it is required"
    if kind == "value_error":
        return f"{path}: {message}"
    return f"{path}: got {_shortened(got)}; {message[0].lower()}{message[1:]}"


# Keys that no hint proposes: nobody misspells them, and they would change what is learnt.
_NEVER_PROPOSED = ("train_share", "until", "without", "kind")
_ALIKE = 0.75  # similarity of a misspelt key


def _key_hint(key_path: KeyPath, allowed: list[str], schema: dict[str, Any]) -> str:
    """The hint behind an unknown key: its place, if it is a key of another section, or the key that it resembles."""
    *parents, key = map(str, key_path)
    if parents == ["split"] and key.startswith("train"):
        return " (training gets what validation and test leave)"
    if variants := _variants_with(schema, parents, key):
        return f" ({variants})"
    homes = [home for home in key_homes(schema, key) if home != tuple(parents)]
    if homes:
        best = max(homes, key=lambda home: (_shared_length(home, parents), -len(home)))
        shared = _shared_length(best, parents)
        names = [parents[i] if i < shared else "NAME" if part == "*" else part for i, part in enumerate(best)]
        section = ".".join(names)
        return f" (it belongs under {section})" if section else " (it belongs at the top level of the file)"
    near = difflib.get_close_matches(key, [name for name in allowed if name not in _NEVER_PROPOSED], 1, _ALIKE)
    return f" (did you mean {near[0]}?)" if near else ""


def _variants_with(schema: dict[str, Any], parents: list[str], key: str) -> str:
    """The kinds of the same section that know a key which this kind does not, in words; empty if there is none.

    parents: the path of the section, with the kind as the error's path names it.
    """
    node, kinds = schema, dict[str, str]()
    for part in parents:
        kinds = mapping if part in (mapping := _mapping(schema, node)) else {}
        discriminator = _deref(schema, node).get("discriminator", {}).get("propertyName", "")
        node = _step_down(schema, node, part)
    know = [kind for kind, reference in kinds.items() if key in _deref(schema, {"$ref": reference})["properties"]]
    return f"it belongs where {discriminator} is {' or '.join(know)}" if know else ""


def _shared_length(home: tuple[str, ...], parents: list[str]) -> int:
    """The number of first parts that two paths share; a star stands for any name."""
    shared = 0
    for part, parent in zip(home, parents, strict=False):
        if part not in ("*", parent):
            break
        shared += 1
    return shared


def key_homes(schema: dict[str, Any], key: str) -> list[tuple[str, ...]]:
    """The paths of all sections that know a key; a star stands for a name that the user chooses."""
    return list(dict.fromkeys(path for path, keys in _sections(schema, schema, ()) if key in keys))


def _sections(
    schema: dict[str, Any], node: dict[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """(path, keys) of each section below a node of the schema, each variant of a section by itself."""
    node = _deref(schema, node)
    if len(path) > _DEEPEST:
        return
    for variant in (*node.get("oneOf", ()), *node.get("anyOf", ())):
        yield from _sections(schema, variant, path)
    properties = node.get("properties", {})
    if properties:
        yield path, set(properties)
    for name, below in properties.items():
        yield from _sections(schema, below, (*path, name))
    extra = node.get("additionalProperties") or next(iter(node.get("patternProperties", {}).values()), None)
    if isinstance(extra, dict):
        yield from _sections(schema, extra, (*path, "*"))


def _shortened(got: Any) -> str:
    """A value for a message, shortened. The contents of a section are left out, because they may be secret."""
    text = "keys and values" if isinstance(got, dict) and got else repr(got)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]} …"


def _where_written(path: KeyPath, content: dict[str, Any], schema: dict[str, Any]) -> KeyPath:
    """The key path of an arm's setting, or that of the base if the arm has the setting from its base."""
    if len(path) < 3 or path[0] != "arms" or path[-1] == "[key]":
        return path
    settings: Any = content["arms"].get(path[1]) or {}
    node = _step_down(schema, _step_down(schema, schema, "arms"), str(path[1]))
    for part in path[2:]:
        if not isinstance(settings, dict):
            return path
        if part not in _mapping(schema, node):  # variants are named in the error's path, not in the file
            if part not in settings:
                return ("arms", "base", *path[2:])
            settings = settings[part]
        node = _step_down(schema, node, str(part))
    return path


def _path_in_file(path: KeyPath, schema: dict[str, Any]) -> str:
    """The key path as the user wrote it: without the variants, chosen by layout or kind, that pydantic adds."""
    node, keys = dict(schema), []
    for part in path:
        if part not in _mapping(schema, node):
            keys.append(str(part))
        node = _step_down(schema, node, str(part))
    return ".".join(keys) or "the file"


def _keys_at(path: KeyPath, schema: dict[str, Any]) -> list[str]:
    """The keys that the schema allows at a path of an error."""
    node: dict[str, Any] = schema
    for part in path:
        node = _step_down(schema, node, str(part))
    return sorted(_deref(schema, node).get("properties", {}))


def _tags_at(path: KeyPath, schema: dict[str, Any]) -> list[str]:
    """The kinds that the schema allows at a path of an error."""
    node: dict[str, Any] = schema
    for part in path:
        node = _step_down(schema, node, str(part))
    variants = _deref(schema, node)
    models = [_deref(schema, variant) for variant in variants.get("oneOf", [])]
    key = variants.get("discriminator", {}).get("propertyName", "")
    return [variant["properties"][key]["const"] for variant in models]


def _mapping(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, str]:
    """Kind → the schema of that variant; empty if the node has no variants."""
    mapping: dict[str, str] = _deref(schema, node).get("discriminator", {}).get("mapping", {})
    return mapping


def _deref(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    references = [part for part in node.get("anyOf", []) if "$ref" in part]
    if len(references) > 1:  # several kinds of keys that stand for a value
        properties = [_deref(schema, part).get("properties", {}) for part in references]
        return {"properties": {key: value for keys in properties for key, value in keys.items()}}
    if references:  # a value, or the keys that stand for it
        node = references[0]
    return schema["$defs"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node


def _step_down(schema: dict[str, Any], node: dict[str, Any], part: str) -> dict[str, Any]:
    node = _deref(schema, node)
    if "discriminator" in node:  # an error's path names the variant by its tag
        mapping = node["discriminator"]["mapping"]
        return {"$ref": mapping[part]} if part in mapping else node
    if part in node.get("properties", {}):
        return dict(node["properties"][part])
    extra: Any = node.get("additionalProperties") or next(iter(node.get("patternProperties", {}).values()), {})
    return dict(extra) if isinstance(extra, dict) else {}

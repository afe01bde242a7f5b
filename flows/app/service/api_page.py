"""`/docs`: the description of the service as a page without scripts, from the same schema as /openapi.json."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment


class Value(NamedTuple):
    """A parameter, or a field of a body or an answer."""

    name: str
    type: str
    needed: bool
    default: str  # empty if there is none
    description: str


class Operation(NamedTuple):
    """A method of a path."""

    method: str
    path: str
    description: str
    parameters: list[Value]
    body: list[Value]
    answer: list[Value]


def render_api_page(schema: dict[str, Any]) -> str:
    """The page of an OpenAPI schema."""
    template = files("flows.app").joinpath("page", "api.html").read_text()
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(info=schema["info"], operations=operations_of(schema))


def operations_of(schema: dict[str, Any]) -> list[Operation]:
    """All operations of an OpenAPI schema, in its order."""
    return [
        Operation(
            method.upper(),
            path,
            operation.get("description") or operation.get("summary", ""),
            [_value(schema, p["name"], p["schema"] | _described(p), p["required"]) for p in operation["parameters"]]
            if "parameters" in operation
            else [],
            _fields(schema, operation.get("requestBody", {})),
            _fields(schema, operation["responses"].get("200", {})),
        )
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]


def _described(parameter: dict[str, Any]) -> dict[str, Any]:
    return {"description": parameter["description"]} if "description" in parameter else {}


def _fields(schema: dict[str, Any], content: dict[str, Any]) -> list[Value]:
    """The fields of a body or an answer in JSON; empty if it names none."""
    model = _resolved(schema, content.get("content", {}).get("application/json", {}).get("schema", {}))
    needed = model.get("required", [])
    return [_value(schema, name, part, name in needed) for name, part in model.get("properties", {}).items()]


def _resolved(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """The part that a reference names."""
    if "$ref" not in part:
        return part
    found: dict[str, Any] = schema["components"]["schemas"][part["$ref"].rsplit("/", 1)[1]]
    return found


def _value(schema: dict[str, Any], name: str, part: dict[str, Any], needed: bool) -> Value:
    default = "" if part.get("default") is None else json.dumps(part["default"], ensure_ascii=False)
    return Value(name, _type(schema, part), needed, default, part.get("description", ""))


def _type(schema: dict[str, Any], part: dict[str, Any]) -> str:
    """The type of a value in words, its limits included."""
    if "$ref" in part:
        return str(part["$ref"].rsplit("/", 1)[1])
    if "anyOf" in part:
        return " or ".join(_type(schema, option) for option in part["anyOf"] if option.get("type") != "null")
    if "enum" in part:
        return ", ".join(str(value) for value in part["enum"])
    if "const" in part:
        return str(part["const"])
    if part.get("type") == "array":
        most = f"up to {part['maxItems']} of " if "maxItems" in part else ""
        return f"list: {most}{_type(schema, part.get('items', {}))}"
    kind = str(part.get("format") or part.get("type") or "any")
    if "maxLength" in part:
        return f"{kind} of up to {part['maxLength']} characters"
    if "maximum" in part:
        return f"{kind} from {part.get('minimum', '…')} to {part['maximum']}"
    return kind

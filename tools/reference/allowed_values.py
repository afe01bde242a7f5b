"""What a JSON schema allows, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from tools.reference.pages import code

TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "`true` or `false`",
    "null": "`null`",
}
LONGEST_DEFAULT = 60  # characters; a longer one is that of the section which is linked


def models_in(part: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(model, the path to it below the part) of every model that a part of a schema refers to."""
    if "$ref" in part:
        yield part["$ref"].rpartition("/")[2], ""
    for alternative in (*part.get("anyOf", ()), *part.get("oneOf", ()), *part.get("allOf", ())):
        yield from models_in(alternative)
    inside = [*part.get("patternProperties", {}).values(), part.get("additionalProperties")]
    for value in inside:
        if isinstance(value, dict):
            yield from ((model, ".".join(filter(None, ("NAME", inner)))) for model, inner in models_in(value))
    if isinstance(part.get("items"), dict):
        yield from models_in(part["items"])


def allowed(part: dict[str, Any], links: dict[str, str]) -> str:
    """The values that a part of a schema allows. links: model → the link to its section."""
    if "$ref" in part:
        return links[part["$ref"].rpartition("/")[2]]
    if alternatives := [*part.get("anyOf", ()), *part.get("oneOf", ()), *part.get("allOf", ())]:
        return " or ".join(dict.fromkeys(allowed(alternative, links) for alternative in alternatives))
    if "const" in part:
        return written(part["const"])
    if "enum" in part:
        return ", ".join(map(written, part["enum"]))
    match part.get("type"):
        case "array":
            return _list(part, links)
        case "object":
            inside = [*part.get("patternProperties", {}).values(), part.get("additionalProperties")]
            inner = next((allowed(value, links) for value in inside if isinstance(value, dict) and value), "any value")
            return f"NAME: {inner}"
        case str(kind):
            return " ".join(filter(None, (TYPES[kind], _range(part), _length(part))))
        case _:
            return "any value"


def _list(part: dict[str, Any], links: dict[str, str]) -> str:
    if "prefixItems" in part:
        return "[" + ", ".join(allowed(item, links) for item in part["prefixItems"]) + "]"
    least = f" of at least {part['minItems']}" if part.get("minItems") else ""
    items = part.get("items", {})
    return f"a list{least}: {allowed(items, links)}" if items else f"a list{least}"


def _range(part: dict[str, Any]) -> str:
    """The bounds of a number."""
    low = f"from {_number(part['minimum'])}" if "minimum" in part else ""
    low = f"above {_number(part['exclusiveMinimum'])}" if "exclusiveMinimum" in part else low
    high = f"to {_number(part['maximum'])}" if "maximum" in part else ""
    high = f"below {_number(part['exclusiveMaximum'])}" if "exclusiveMaximum" in part else high
    return " ".join(filter(None, (low, high)))


def _length(part: dict[str, Any]) -> str:
    if "format" in part:
        return {"date": "(a date)", "date-time": "(a date and time)"}.get(part["format"], "")
    return f"of up to {part['maxLength']:,} characters" if "maxLength" in part else ""


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) or not value.is_integer() else f"{int(value):,}"


def written(value: Any, bare: bool = False) -> str:
    """A value as YAML in one line, as code unless it is bare; a long mapping is left to its own section."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
    text = text.removesuffix("\n").removesuffix("\n...").strip()
    if bare:
        return text
    return "see its section" if isinstance(value, dict) and len(text) > LONGEST_DEFAULT else code(text)

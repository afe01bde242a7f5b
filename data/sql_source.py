"""A user's SQL in place of a path: the files that it reads, and the same statement over exactly those files.

DuckDB parses the statement into a tree. Files are constants in it: the name of a table, as in FROM 'logs/*.parquet', or
the first argument of a function that reads files. Whatever would read anything else is refused.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from data.experiment.source_config import Sql, escape_glob, full_path
from data.lakes import lake_kind
from data.statements import statement
from ebr_core.errors import InputError

Node = dict[str, Any]

_READERS = {"parquet": "read_parquet", "csv": "read_csv", "tsv": "read_csv", "txt": "read_csv"}
_READERS |= dict.fromkeys(("json", "jsonl", "ndjson"), "read_json")
_PARQUET_FUNCTIONS = {"read_parquet", "parquet_scan"}
_FILE_FUNCTIONS = _PARQUET_FUNCTIONS | {
    *("read_csv", "read_csv_auto", "read_text", "read_blob", "read_ndjson", "read_ndjson_auto", "read_ndjson_objects"),
    *("read_json", "read_json_auto", "read_json_objects", "read_json_objects_auto"),
}
_WHOLE_FILES = {"read_text", "read_blob"}  # they also give the time at which a file was written
_LAKE_FUNCTIONS = {"delta_scan": "delta", "iceberg_scan": "iceberg"}
_OTHER_FUNCTIONS = {"range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree"}
# SQL's own words for the time at which the statement runs; duckdb_functions() has the rest.
_CLOCKS = {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}


class FileUse(NamedTuple):
    """A place of the statement that reads files."""

    node: Node  # of the tree
    paths: tuple[str, ...]  # absolute, or URLs; each may be a glob
    is_parquet: bool
    is_lake: bool = False  # its only path is a Delta or Iceberg table


class ParsedSql(NamedTuple):
    """A statement that reads files alone."""

    tree: Node
    uses: list[FileUse]

    @property
    def paths(self) -> list[str]:
        """All paths of the statement, in order, without repeats."""
        return list(dict.fromkeys(path for use in self.uses for path in use.paths))

    @property
    def lakes(self) -> list[str]:
        """The paths that are tables of a lake."""
        return list(dict.fromkeys(path for use in self.uses if use.is_lake for path in use.paths))

    @property
    def is_remote(self) -> bool:
        """True if a path is a URL."""
        return any("://" in path for path in self.paths)


def parse_sql(con: duckdb.DuckDBPyConnection, table: str, sql: Sql) -> ParsedSql:
    """The statement and the files that it reads.

    Raises InputError if it is not one SELECT over files, or its result is not decided by them alone.
    """
    row = con.execute(statement("read/parse"), [sql.sql.strip().rstrip(";")]).fetchone()
    tree: Node = json.loads(row[0]) if row else {}
    where = f"logs.{table}.sql"
    if tree.get("error"):
        message = tree["error_message"] if tree["error_type"] == "parser" else "it is not a SELECT"
        raise InputError(f"{where}: {message}. Expected one SELECT over files")
    if len(tree["statements"]) != 1:
        raise InputError(f"{where}: got {len(tree['statements'])} statements. Expected one SELECT over files")
    nodes = list(_nodes(tree))
    _refuse_inconstant(con, where, nodes)
    named = {entry["key"].lower() for node in nodes for entry in node.get("cte_map", {}).get("map", [])}
    uses = [use for node in nodes if (use := _file_use(where, node, named, Path(sql.folder))) is not None]
    if not uses:
        raise InputError(f"{where}: it reads no file. Name files, as in FROM 'logs/*.parquet'")
    return ParsedSql(tree, uses)


def over_files(con: duckdb.DuckDBPyConnection, parsed: ParsedSql, files: dict[str, list[str]]) -> str:
    """The statement over exactly these files: path of the statement → the files that it matches."""
    tree = copy.deepcopy(parsed._replace(uses=[]).tree)
    for original, node in zip(_nodes(parsed.tree), list(_nodes(tree)), strict=True):
        for use in parsed.uses:
            if use.node is original:
                found = [file for path in use.paths for file in files[path]]
                _set_files(con, node, [file if "://" in file else escape_glob(file) for file in found])
    row = con.execute(statement("read/unparse"), [json.dumps(tree)]).fetchone()
    assert row is not None  # a scalar function returns one row
    return str(row[0])


def canonical(parsed: ParsedSql) -> str:
    """The statement as text that depends neither on its layout nor on the places of its files."""
    tree = copy.deepcopy(parsed.tree)
    for original, node in zip(_nodes(parsed.tree), list(_nodes(tree)), strict=True):
        numbers = [[parsed.paths.index(path) for path in use.paths] for use in parsed.uses if use.node is original]
        if numbers and node["type"] == "BASE_TABLE":
            node |= {"table_name": numbers[0], "qualified_name": None}
        elif numbers:
            node["function"]["arguments"][0] = numbers[0]
    for node in _nodes(tree):
        for key in ("query_location", "query_location_length"):
            node.pop(key, None)
    return json.dumps(tree, sort_keys=True)


def _nodes(value: Any) -> Iterator[Node]:
    """All nodes of a tree, each before its children."""
    if isinstance(value, dict):
        yield value
        for part in list(value.values()):
            yield from _nodes(part)
    elif isinstance(value, list):
        for part in value:
            yield from _nodes(part)


def _refuse_inconstant(con: duckdb.DuckDBPyConnection, where: str, nodes: list[Node]) -> None:
    """Raises InputError if the same files could give another result: clocks, random values, samples, times of files."""
    inconstant = {name for (name,) in con.execute(statement("read/inconstant")).fetchall()}
    reads_whole = any(node.get("function", {}).get("function_name", "").lower() in _WHOLE_FILES for node in nodes)
    for node in nodes:
        if node.get("class") == "FUNCTION" and node["function_name"] in inconstant:
            raise InputError(
                f"{where}: {node['function_name']}() has another value each time. The result must be decided by the "
                "files: derive the value from their columns, for example with hash()"
            )
        if node.get("class") == "FUNCTION" and node["function_name"] == "age" and len(node["arguments"]) == 1:
            raise InputError(f"{where}: age() of one time counts from today. Name both times, as in age(TIMESTAMP, ts)")
        if node.get("class") == "COLUMN_REF" and node["column_names"][-1].lower() in _CLOCKS:
            raise InputError(
                f"{where}: {node['column_names'][-1]} has another value each time. The result must be decided by the "
                "files: write the date"
            )
        if node.get("class") == "COLUMN_REF" and node["column_names"][-1].lower() == "last_modified" and reads_whole:
            raise InputError(
                f"{where}: last_modified changes when a file is copied. The result must be decided by the files: take "
                "a time from their content"
            )
        if node.get("sample"):
            raise InputError(
                f"{where}: a sample has other rows each time. Choose rows by a hash, as in hash(id) % 10 = 0"
            )


def _file_use(where: str, node: Node, named: set[str], start: Path) -> FileUse | None:
    """The files that a node reads, None if it reads none. named: tables that WITH defines, in lower case."""
    match node.get("type"):
        case "SHOW_REF":
            raise InputError(f"{where}: DESCRIBE, SHOW and SUMMARIZE read no rows. Expected one SELECT over files")
        case "BASE_TABLE":
            name = ".".join(node["qualified_name"]["path"])
            if name.lower() in named:
                return None
            reader = _reader(name)
            if len(node["qualified_name"]["path"]) == 1 and lake_kind(full_path(name, start)):
                return FileUse(node, (full_path(name, start),), True, is_lake=True)
            if reader is None or len(node["qualified_name"]["path"]) > 1:
                raise InputError(
                    f"{where}: there is no table {name!r}. Name files in quotes, as in FROM 'logs/*.parquet'; they end "
                    f"in {', '.join('.' + suffix for suffix in _READERS)}, or are read by a function such as read_csv"
                )
            return FileUse(node, (full_path(name, start),), reader in _PARQUET_FUNCTIONS)
        case "TABLE_FUNCTION":
            return _function_use(where, node, start)
        case _:
            return None


def _function_use(where: str, node: Node, start: Path) -> FileUse | None:
    function = node["function"]["function_name"].lower()
    if function in _OTHER_FUNCTIONS:
        return None
    if function in _LAKE_FUNCTIONS:
        return _lake_use(where, node, start)
    if function not in _FILE_FUNCTIONS:
        allowed = ", ".join(sorted(_FILE_FUNCTIONS | _OTHER_FUNCTIONS | _LAKE_FUNCTIONS.keys()))
        raise InputError(f"{where}: the function {function} cannot be used in FROM; allowed: {allowed}")
    arguments = node["function"]["arguments"]
    paths = _constants(arguments[0]["expression"]) if arguments else None
    if not paths:
        raise InputError(
            f"{where}: the first argument of {function} must be a path or a list of paths in quotes, so that the files "
            "are known before they are read"
        )
    return FileUse(node, tuple(full_path(path, start) for path in paths), function in _PARQUET_FUNCTIONS)


def _lake_use(where: str, node: Node, start: Path) -> FileUse:
    """The table of a lake that a function reads."""
    function, arguments = node["function"]["function_name"].lower(), node["function"]["arguments"]
    paths = _constants(arguments[0]["expression"]) if arguments else None
    if paths is None or len(paths) != 1 or len(arguments) > 1:
        raise InputError(f"{where}: {function} takes the folder of one table in quotes, and nothing else")
    path, kind = full_path(paths[0], start), _LAKE_FUNCTIONS[function]
    if lake_kind(path) != kind:
        raise InputError(f"{where}: {path} is not the folder of a {kind.capitalize()} table. Correct it")
    return FileUse(node, (path,), True, is_lake=True)


def _constants(expression: Node) -> list[str] | None:
    """The texts of a constant or of a list of constants, None for anything else."""
    if expression.get("class") == "CONSTANT" and expression["literal"]["kind"] == "STRING":
        return [expression["literal"]["text"]]
    if expression.get("class") == "FUNCTION" and expression["function_name"] == "list_value":
        parts = [_constants(argument["expression"]) for argument in expression["arguments"]]
        return None if any(part is None or len(part) != 1 for part in parts) else [part[0] for part in parts if part]
    return None


def _reader(path: str) -> str | None:
    """The function that reads a file with such a name, None if its name does not say."""
    name = path.lower().removesuffix(".gz").removesuffix(".zst")
    return _READERS.get(name.rsplit(".", 1)[-1]) if "." in name else None


def _set_files(con: duckdb.DuckDBPyConnection, node: Node, files: list[str]) -> None:
    """Let a node read these files."""
    row = con.execute(
        statement("read/parse"), ["FROM read_parquet([" + ", ".join(["''"] * len(files)) + "])"]
    ).fetchone()
    made = json.loads(row[0])["statements"][0]["node"]["from_table"] if row else {}
    argument = made["function"]["arguments"][0]
    for constant, file in zip(argument["expression"]["arguments"], files, strict=True):
        constant["expression"]["literal"]["text"] = file
    if node["type"] == "TABLE_FUNCTION":
        node["function"]["arguments"][0] = argument
        if node["function"]["function_name"].lower() in _LAKE_FUNCTIONS:
            node["function"] |= {"function_name": "read_parquet", "qualified_name": {"path": ["read_parquet"]}}
        return
    name = node["table_name"]
    reader = _reader(name) or "read_parquet"
    made["function"] |= {"function_name": reader, "qualified_name": {"path": [reader]}}
    alias = node["alias"] or ("" if set(name) & set("*?[") else Path(name).name.split(".")[0])
    made |= {"alias": alias, "column_name_alias": node["column_name_alias"]}
    node.clear()
    node.update(made)

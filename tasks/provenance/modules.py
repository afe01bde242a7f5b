"""The definitions of each module of this project: their code and the names that it mentions.

A definition is a statement at the top of a module that binds a name: a function, a class, an assignment. Docstrings and
comments are ignored.
"""

from __future__ import annotations

import ast
import functools
import symtable
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tasks.home import ROOT as ROOT
from tasks.provenance.mentions import Import, Mentions, imports_of, mentions_of

PARSES = 5  # attempts
PACKAGES = ("flows", "tasks", "data", "ebr_core")
MODULE_BODY = "<module>"  # the statements that are no definitions: they run whichever definition is used


class Field(NamedTuple):
    """A field that a class declares: `name: annotation = default`."""

    name: str
    mentions: Mentions


class Definition(NamedTuple):
    """All statements that bind one name."""

    code: str  # the syntax tree as text
    bare_code: str  # the code without the fields, if it is a class
    mentions: Mentions  # of all the code, but without the fields of a class
    fields: tuple[Field, ...]  # of a class
    bases: tuple[tuple[str, ...], ...]  # of a class: the names of its base classes
    is_value: bool  # True if it is neither a function nor a class


class Module(NamedTuple):
    """A parsed module. imports: every name that an import binds outside functions and classes."""

    name: str
    statements: dict[str, list[ast.stmt]]
    imports: dict[str, Import]
    stars: tuple[str, ...]  # modules of `import *`
    global_names: dict[tuple[str, int], frozenset[str]]  # (definition, line) → names from outer scopes


def path_of(module: str) -> Path | None:
    """The file of a module of this project, `__init__.py` for a package; None if it has none."""
    if module.split(".")[0] not in PACKAGES:
        return None
    path = ROOT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def is_package(module: str) -> bool:
    """True if the name is that of a folder of this project, with or without an `__init__.py`."""
    return module.split(".")[0] in PACKAGES and ROOT.joinpath(*module.split(".")).is_dir()


def parse(text: str) -> ast.Module:
    """The syntax tree of a source.

    Python 3.11 counts the depth of a parse for all threads together, and raises SystemError if another thread, of a
    library, parses meanwhile; so the parse is repeated.
    """
    for _ in range(PARSES - 1):
        try:
            return ast.parse(text)
        except SystemError:
            continue
    return ast.parse(text)


@functools.cache
def read_module(module: str) -> Module:
    """The module, parsed; empty for a package without `__init__.py` and for a module of another project."""
    path = path_of(module)
    text = path.read_text(encoding="utf-8") if path else ""
    tree = parse(text)
    _drop_docstrings(tree)
    package = module if path is None or path.name == "__init__.py" else module.rpartition(".")[0]
    imports, stars = imports_of(_outside_definitions(tree), package)
    statements: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for name in _names_bound(statement):
            statements.setdefault(name, []).append(statement)
    own_names = {*statements, *(name for name, target in imports.items() if target.module.split(".")[0] in PACKAGES)}
    registering = [statement for statement in tree.body if _registers(statement, own_names)]
    statements.setdefault(MODULE_BODY, []).extend(registering)
    return Module(module, statements, imports, stars, _global_names(symtable.symtable(text, module, "exec")))


@functools.cache
def read_definition(module: str, name: str) -> Definition:
    """The statements that bind the name. MODULE_BODY: all statements that are neither definitions nor imports."""
    parsed = read_module(module)
    package = module if is_package(module) else module.rpartition(".")[0]
    statements = parsed.statements.get(name, [])
    fields: list[Field] = []
    bases: list[tuple[str, ...]] = []
    without_fields: list[ast.stmt] = []
    for statement in statements:
        if isinstance(statement, ast.ClassDef):
            fields += [Field(field, mentions_of([node], package, None)) for field, node in _fields(statement)]
            bases += [tuple(ast.unparse(base).split(".")) for base in statement.bases]
            without_fields.append(_without_fields(statement))
        else:
            without_fields.append(statement)
    scopes = {parsed.global_names.get((name, statement.lineno)) for statement in statements}
    global_names = frozenset().union(*(names for names in scopes if names)) if None not in scopes else None
    code = "\n".join(_tree_text(statement) for statement in statements)
    bare_code = "\n".join(_tree_text(statement) for statement in without_fields) if fields else code
    is_value = not any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in statements)
    mentions = mentions_of(without_fields, package, global_names)
    return Definition(code, bare_code, mentions, tuple(fields), tuple(bases), is_value and name != MODULE_BODY)


def _names_bound(statement: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module defines.

    None for an import; MODULE_BODY and all names that it binds for a statement that is no plain definition.
    """
    match statement:
        case ast.Import() | ast.ImportFrom():
            return []
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [statement.name]
        case ast.Assign(targets=targets) if all(isinstance(node, ast.Name) for node in _unpacked(targets)):
            return _assigned(statement)
        case ast.AnnAssign(target=ast.Name()) | ast.AugAssign(target=ast.Name()):
            return _assigned(statement)
        case _:
            nested = [node.name for node in ast.walk(statement) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
            return [MODULE_BODY, *nested, *_assigned(statement)]


def _registers(statement: ast.stmt, own_names: set[str]) -> bool:
    """True if a decorator is an attribute of a name of this project, as in `@known.register`, which changes that."""
    for decorator in getattr(statement, "decorator_list", []):
        node = decorator.func if isinstance(decorator, ast.Call) else decorator
        depth = 0
        while isinstance(node, ast.Attribute):
            node, depth = node.value, depth + 1
        if depth and isinstance(node, ast.Name) and node.id in own_names:
            return True
    return False


def _unpacked(targets: list[ast.expr]) -> Iterator[ast.expr]:
    for target in targets:
        yield from _unpacked(target.elts) if isinstance(target, ast.Tuple | ast.List) else [target]


def _assigned(statement: ast.stmt) -> list[str]:
    return [node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def _outside_definitions(tree: ast.Module) -> Iterator[ast.stmt]:
    """All statements but those inside functions and classes."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr):
                continue
            if isinstance(node, ast.stmt):
                yield node
            waiting.append(node)


def _global_names(table: symtable.SymbolTable) -> dict[tuple[str, int], frozenset[str]]:
    def taken(scope: symtable.SymbolTable) -> set[str]:
        names = {symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global()}
        return names.union(*map(taken, scope.get_children()))

    scopes: dict[tuple[str, int], frozenset[str]] = {}
    for child in table.get_children():
        key = child.get_name(), child.get_lineno()
        scopes[key] = scopes.get(key, frozenset()) | taken(child)
    return scopes


def _fields(node: ast.ClassDef) -> list[tuple[str, ast.AnnAssign]]:
    fields = [(part, part.target) for part in node.body if isinstance(part, ast.AnnAssign)]
    return [
        (target.id, part)
        for part, target in fields
        if isinstance(target, ast.Name) and "ClassVar" not in ast.dump(part.annotation)
    ]


def _without_fields(node: ast.ClassDef) -> ast.ClassDef:
    left_out = {id(part) for _, part in _fields(node)}
    body = [part for part in node.body if id(part) not in left_out]
    bare = ast.ClassDef(node.name, node.bases, node.keywords, body, node.decorator_list)
    return ast.copy_location(bare, node)


def _drop_docstrings(node: ast.AST) -> None:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:]
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr):
            _drop_docstrings(child)


def _tree_text(node: object) -> str:
    """The syntax tree as text, without line numbers; faster than `ast.dump`."""
    if isinstance(node, ast.AST):
        return f"{type(node).__name__}({','.join([_tree_text(getattr(node, name, None)) for name in node._fields])})"
    return f"[{','.join([_tree_text(part) for part in node])}]" if isinstance(node, list) else repr(node)

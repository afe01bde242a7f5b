"""The mentions in a piece of code: names with their attributes, texts, imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

Chain = tuple[str, ...]  # a name and the attributes that follow it: ("samples", "read_clicks")

# Calls that look names up at run time: the code does not show which.
_DYNAMIC = {("eval",), ("exec",), ("globals",), ("vars",), ("__import__",)}
_IMPORTS = {("importlib", "import_module"), ("import_module",)}
_KINDS_ONLY = {("isinstance",), ("issubclass",), ("cast",), ("typing", "cast")}  # calls that create no value of a class


class Import(NamedTuple):
    """The target of an import: a module, or a name within it."""

    module: str
    name: str | None


@dataclass
class Mentions:
    """All mentions in some statements."""

    strong: set[Chain] = field(default_factory=set)  # in code that runs
    weak: set[Chain] = field(default_factory=set)  # in annotations and isinstance, which create no value of a class
    attributes: set[str] = field(default_factory=set)  # of anything
    texts: set[str] = field(default_factory=set)
    patterns: set[str] = field(default_factory=set)  # f-strings as regular expressions, with .* for their values
    imports: dict[str, Import] = field(default_factory=dict)
    stars: tuple[str, ...] = ()
    dynamic: bool = False
    imports_any: set[str] = field(default_factory=set)  # prefixes of the modules that import_module may import


def imports_of(nodes: Iterable[ast.AST], package: str) -> tuple[dict[str, Import], tuple[str, ...]]:
    """(name → its import among the nodes, the modules of `import *`)."""
    bound: dict[str, Import] = {}
    stars: list[str] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole = alias.name if alias.asname else alias.name.split(".")[0]
                bound[alias.asname or whole] = Import(whole, None)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, package)
            stars += [module for alias in node.names if alias.name == "*"]
            bound |= {alias.asname or alias.name: Import(module, alias.name) for alias in node.names}
    bound.pop("*", None)
    return bound, tuple(stars)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parents = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parents, *([node.module] if node.module else [])])


def mentions_of(statements: Iterable[ast.stmt], package: str, global_names: frozenset[str] | None) -> Mentions:
    """The mentions in the statements. global_names: names that are not local to them; None if all may be global."""
    reader = _MentionReader(package, global_names)
    for statement in statements:
        reader.read_top(statement)
    for chains, chain in reader.local:
        if chain[0] in reader.mentions.imports:
            chains.add(chain)
    return reader.mentions


class _MentionReader(ast.NodeVisitor):
    def __init__(self, package: str, global_names: frozenset[str] | None) -> None:
        self.mentions = Mentions()
        self.package = package
        self.global_names = global_names
        self.local: list[
            tuple[set[Chain], Chain]
        ] = []  # names that count only if an import in the statements binds them
        self.outside_scope = False  # True outside the scope of the statement, where names that it binds count too
        self.is_weak = False

    def read_top(self, statement: ast.stmt) -> None:
        """Read a statement at the top of a module, whose decorators, defaults and bases are outside its own scope."""
        outer: list[ast.AST] = list(getattr(statement, "decorator_list", []))
        if isinstance(statement, ast.ClassDef):
            outer += [*statement.bases, *statement.keywords]
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            outer += [*statement.args.defaults, *(node for node in statement.args.kw_defaults if node)]
        self.outside_scope = True
        for node in outer:
            self.visit(node)
        self.outside_scope = False
        self.visit(statement)

    def _weakly(self, node: ast.AST | None) -> None:
        state = self.is_weak, self.outside_scope
        self.is_weak, self.outside_scope = True, True
        if node:
            self.visit(node)
        self.is_weak, self.outside_scope = state

    def _mention(self, chain: Chain) -> None:
        chains = self.mentions.weak if self.is_weak else self.mentions.strong
        if self.outside_scope or self.global_names is None or chain[0] in self.global_names:
            chains.add(chain)
        else:
            self.local.append((chains, chain))

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        imports, stars = imports_of([node], self.package)
        self.mentions.imports |= imports
        self.mentions.stars += stars

    visit_Import = visit_ImportFrom = _import

    def visit_Name(self, node: ast.Name) -> None:
        self._mention((node.id,))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain, root = chain_of(node)
        self.mentions.attributes.update(chain)
        if isinstance(root, ast.Name):
            self._mention((root.id, *chain))
        else:
            self.visit(root)

    def visit_arg(self, node: ast.arg) -> None:
        self._weakly(node.annotation)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._weakly(node.annotation)
        self.visit(node.target)
        if node.value:
            self.visit(node.value)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._weakly(node.returns)
        for part in (*node.decorator_list, node.args, *node.body):
            self.visit(part)

    visit_FunctionDef = visit_AsyncFunctionDef = _function

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        self._weakly(node.cls)
        self.mentions.attributes.update(node.kwd_attrs)
        for part in (*node.patterns, *node.kwd_patterns):
            self.visit(part)

    def visit_Call(self, node: ast.Call) -> None:
        chain, root = chain_of(node.func)
        name = (root.id, *chain) if isinstance(root, ast.Name) else ()
        self.mentions.dynamic |= name in _DYNAMIC
        if name in _IMPORTS:
            self.mentions.imports_any.add(_literal_start(node.args[0]) if node.args else "")
        if name in _KINDS_ONLY and len(node.args) == 2:
            kind, value = (node.args[1], node.args[0]) if "cast" not in name else (node.args[0], node.args[1])
            self._weakly(kind)
            self.visit(value)
        else:
            self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if ast.unparse(node.value).endswith("Literal"):
            values = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
            self.mentions.texts.update(value for value in values if isinstance(value, str))
        else:
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, str):
            return
        self.mentions.texts.add(node.value)
        if self.is_weak and node.value.isidentifier():  # an annotation in quotes
            self._mention((node.value,))

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        parts = [re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".*" for part in node.values]
        if set(parts) != {".*"}:
            self.mentions.patterns.add("".join(parts))
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.visit(part)


def chain_of(node: ast.expr) -> tuple[list[str], ast.expr]:
    """(the attributes at the end of an expression, the expression before them)."""
    chain: list[str] = []
    while isinstance(node, ast.Attribute):
        chain.insert(0, node.attr)
        node = node.value
    return chain, node


def _literal_start(node: ast.expr) -> str:
    """The literal text at the start of an expression; empty if there is none."""
    if isinstance(node, ast.JoinedStr):
        return _literal_start(node.values[0]) if node.values else ""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""

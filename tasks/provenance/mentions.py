"""What a piece of code mentions: names with their attributes, texts, imports of its own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

Chain = tuple[str, ...]  # a name and the attributes that follow it: ("samples", "read_clicks")

# What looks names up at run time: no reader of the code can tell which.
_DYNAMIC = {("eval",), ("exec",), ("globals",), ("vars",), ("__import__",)}
_IMPORTS = {("importlib", "import_module"), ("import_module",)}
_KINDS_ONLY = {("isinstance",), ("issubclass",), ("cast",), ("typing", "cast")}  # calls that make nothing of a class


class Import(NamedTuple):
    """What an import binds a name to: a module, or a name within it."""

    module: str
    name: str | None


@dataclass
class Mentions:
    """All that some statements mention."""

    strong: set[Chain] = field(default_factory=set)  # in code that runs
    weak: set[Chain] = field(default_factory=set)  # in annotations and isinstance, which make no value of a class
    attributes: set[str] = field(default_factory=set)  # of anything
    texts: set[str] = field(default_factory=set)
    patterns: set[str] = field(default_factory=set)  # f-strings as regular expressions, anything for their values
    imports: dict[str, Import] = field(default_factory=dict)
    stars: tuple[str, ...] = ()
    dynamic: bool = False
    imports_any: set[str] = field(default_factory=set)  # beginnings of the modules that import_module may bring in


def imports_of(nodes: Iterable[ast.AST], package: str) -> tuple[dict[str, Import], tuple[str, ...]]:
    """(name → what the import statements among the nodes bind it to, the modules of `import *`)."""
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
    """What the statements mention. global_names: names that are not local to them; None where all may be global."""
    reader = _MentionReader(package, global_names)
    for statement in statements:
        reader.read_top(statement)
    for chains, chain in reader.local:
        if chain[0] in reader.seen.imports:
            chains.add(chain)
    return reader.seen


class _MentionReader(ast.NodeVisitor):
    def __init__(self, package: str, global_names: frozenset[str] | None) -> None:
        self.seen = Mentions()
        self.package = package
        self.global_names = global_names
        self.local: list[tuple[set[Chain], Chain]] = []  # what counts where an import of the code's own binds it
        self.everything = False  # whether a name counts although the statement binds it: outside of its own scope
        self.is_weak = False

    def read_top(self, statement: ast.stmt) -> None:
        """Reads a statement at the top of a module, whose decorators, defaults and bases are outside its own scope."""
        outside: list[ast.AST] = list(getattr(statement, "decorator_list", []))
        if isinstance(statement, ast.ClassDef):
            outside += [*statement.bases, *statement.keywords]
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            outside += [*statement.args.defaults, *(node for node in statement.args.kw_defaults if node)]
        self.everything = True
        for node in outside:
            self.visit(node)
        self.everything = False
        self.visit(statement)

    def _weakly(self, node: ast.AST | None) -> None:
        before = self.is_weak, self.everything
        self.is_weak, self.everything = True, True
        if node:
            self.visit(node)
        self.is_weak, self.everything = before

    def _mention(self, chain: Chain) -> None:
        chains = self.seen.weak if self.is_weak else self.seen.strong
        if self.everything or self.global_names is None or chain[0] in self.global_names:
            chains.add(chain)
        else:
            self.local.append((chains, chain))

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        imports, stars = imports_of([node], self.package)
        self.seen.imports |= imports
        self.seen.stars += stars

    visit_Import = visit_ImportFrom = _import

    def visit_Name(self, node: ast.Name) -> None:
        self._mention((node.id,))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain, root = chain_of(node)
        self.seen.attributes.update(chain)
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
        self.seen.attributes.update(node.kwd_attrs)
        for part in (*node.patterns, *node.kwd_patterns):
            self.visit(part)

    def visit_Call(self, node: ast.Call) -> None:
        chain, root = chain_of(node.func)
        name = (root.id, *chain) if isinstance(root, ast.Name) else ()
        self.seen.dynamic |= name in _DYNAMIC
        if name in _IMPORTS:
            self.seen.imports_any.add(_beginning(node.args[0]) if node.args else "")
        if name in _KINDS_ONLY and len(node.args) == 2:
            kind, value = (node.args[1], node.args[0]) if "cast" not in name else (node.args[0], node.args[1])
            self._weakly(kind)
            self.visit(value)
        else:
            self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if ast.unparse(node.value).endswith("Literal"):
            values = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
            self.seen.texts.update(value for value in values if isinstance(value, str))
        else:
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, str):
            return
        self.seen.texts.add(node.value)
        if self.is_weak and node.value.isidentifier():  # an annotation in quotes
            self._mention((node.value,))

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        parts = [re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".*" for part in node.values]
        if set(parts) != {".*"}:
            self.seen.patterns.add("".join(parts))
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.visit(part)


def chain_of(node: ast.expr) -> tuple[list[str], ast.expr]:
    """(the attributes that a piece of code takes one after another, what it takes them of)."""
    chain: list[str] = []
    while isinstance(node, ast.Attribute):
        chain.insert(0, node.attr)
        node = node.value
    return chain, node


def _beginning(node: ast.expr) -> str:
    """The text that a piece of code begins with, as far as it stands there."""
    if isinstance(node, ast.JoinedStr):
        return _beginning(node.values[0]) if node.values else ""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""

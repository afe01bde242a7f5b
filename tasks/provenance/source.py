"""The source of a stage: all definitions and files of this project that the stage can reach, and no others.

The names that the code of the stage's function mentions are followed to their definitions, and so on, across modules.
Where names do not show how far the code reaches, all is taken: a class with all its methods and bases; a module that is
used other than by a name in it, with all that it imports. CONTRIBUTING.md lists the cases that could be missed.
"""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tasks.provenance import modules
from tasks.provenance.files import Texts, files_named
from tasks.provenance.known_sources import known_or
from tasks.provenance.mentions import Chain, Import, Mentions
from tasks.provenance.modules import (
    MODULE_BODY,
    PACKAGES,
    Definition,
    is_package,
    path_of,
    read_definition,
    read_module,
)
from tasks.provenance.settings import FROZEN, changed_defaults

# The output of a stage depends neither on these modules nor on this package.
MACHINERY = (
    *("tasks.artifacts", "tasks.home", "tasks.kernel_cache", "tasks.kinds", "tasks.progress", "tasks.provenance"),
    *("tasks.stage_labels", "tasks.stage_words"),
)
PARSE_LOCK = threading.Lock()  # Python 3.11 counts the depth of a parse for all threads together

Target = tuple[str, str]  # a module and a name in it


class Reach(NamedTuple):
    """The code, files and settings that a stage can reach."""

    definitions: dict[str, str]  # module:name → digest of the code and of the targets of its names
    files: tuple[str, ...]  # paths below the root
    settings: dict[str, Any]  # Class.field → a default that is not its first and that the stage may use


def source_of(function: Callable[..., object]) -> str:
    """The digest of the source that the function can reach, docstrings and comments aside."""
    module, name = function.__module__, function.__qualname__.split(".")[0]
    return _known_digest(module, name)


@functools.cache
def _known_digest(module: str, name: str) -> str:
    return known_or(f"{module}:{name}", lambda: _digest(module, name))


@functools.cache
def _digest(module: str, name: str) -> str:
    reach = reach_of(module, name)
    file_digests = {file: hashlib.sha256((modules.ROOT / file).read_bytes()).hexdigest() for file in reach.files}
    text = json.dumps([reach.definitions, file_digests, reach.settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def reach_of(module: str, name: str) -> Reach:
    """The reach of the definition of that name in that module, itself included; empty for another project's module."""
    with PARSE_LOCK:
        walk = _Walk()
        if path_of(module):
            walk.follow((module, name), makes=True)
        return walk.result()


def _is_machinery(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in MACHINERY)


class _Walk:
    """A walk from definition to definition."""

    def __init__(self) -> None:
        self.visited: dict[Target, bool] = {}  # definition → True if it may create values, and is not only a type
        self.fields: list[
            tuple[Target, Mentions, str]
        ] = []  # fields of settings; followed once their name is mentioned
        self.created: set[Target] = set()  # settings that the code may create with defaults
        self.words: set[str] = set()
        self.waiting: list[tuple[Target, bool]] = []

    def follow(self, target: Target, makes: bool) -> None:
        """Follow all that can be reached from target. makes: True if it is used to create values."""
        self.waiting.append((target, makes))
        while self.waiting:
            while self.waiting:
                self._visit(*self.waiting.pop())
            mentioned = [field for field in self.fields if field[2] in self.words]
            self.fields = [field for field in self.fields if field[2] not in self.words]
            for (module, _), mentions, _ in mentioned:
                self._follow_mentions(module, mentions, makes=False)

    def _visit(self, target: Target, makes: bool) -> None:
        module, name = target
        earlier = self.visited.get(target)
        if _is_machinery(module) or earlier or earlier is makes:
            return
        self.visited[target], is_new = makes, earlier is None
        if is_new:
            self._touch(module)
        definition = read_definition(module, name)
        settings = is_settings(target)
        if settings and makes:
            self.created.add(target)
        if settings and is_new:
            self.fields += [(target, field.mentions, field.name) for field in definition.fields]
        if is_new and not settings:
            for field in definition.fields:
                self._follow_mentions(module, field.mentions, makes=True)
        self._follow_mentions(module, definition.mentions, makes or not definition.is_value)

    def _touch(self, module: str) -> None:
        """Follow the code that runs when the module is imported: its statements and those of the packages around it."""
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            self.waiting.append(((".".join(parts[:end]), MODULE_BODY), True))

    def _follow_mentions(self, module: str, mentions: Mentions, makes: bool) -> None:
        self.words |= mentions.attributes | mentions.texts
        for target in targets_of(module, mentions, mentions.weak):
            self.waiting.append((target, False))
        for target in targets_of(module, mentions, mentions.strong):
            self.waiting.append((target, makes))
        for whole_module in _whole_modules(module, mentions):
            self.waiting += [(target, True) for target in everything_in(whole_module)]

    def result(self) -> Reach:
        """The reach of the walk."""
        digests = {f"{module}:{name}": _code(module, name) for module, name in self.visited}
        definitions = {key: code for key, code in digests.items() if code}
        visited = [read_definition(*target) for target in self.visited]
        texts = Texts.from_mentions(
            mentions
            for definition in visited
            for mentions in (definition.mentions, *(field.mentions for field in definition.fields))
        )
        settings = {target for target in self.visited if is_settings(target)}
        created = _with_nested(self.created)
        return Reach(definitions, files_named(texts), changed_defaults(settings, created, self.words))


@functools.cache
def _code(module: str, name: str) -> str:
    """The digest of a definition's code, without fields of settings, and of the targets of its names."""
    definition = read_definition(module, name)
    bare = is_settings((module, name))
    code = definition.bare_code if bare else definition.code
    if not code:
        return ""
    all_mentions = [definition.mentions, *(field.mentions for field in definition.fields if not bare)]
    targets = sorted({binding for mentions in all_mentions for binding in _bindings(module, mentions)})
    return hashlib.sha256(json.dumps([code, targets]).encode()).hexdigest()


def _bindings(module: str, mentions: Mentions) -> Iterator[str]:
    for chain in mentions.strong | mentions.weak:
        for bound, rest in _bound(module, mentions, chain):
            targets = [f"{target[0]}:{target[1]}" for target in _resolve(bound, rest)]
            yield f"{chain[0]} {bound.module} {bound.name} {targets}"


def targets_of(module: str, mentions: Mentions, chains: set[Chain]) -> Iterator[Target]:
    """Yield the definitions of this project that the chains name."""
    statements = read_module(module).statements
    for chain in chains:
        if chain[0] in statements:
            yield module, chain[0]
        for bound, rest in _bound(module, mentions, chain):
            yield from _resolve(bound, rest)


def _bound(module: str, mentions: Mentions, chain: Chain) -> Iterator[tuple[Import, Chain]]:
    """Yield each import of the chain's first name, with the rest of the chain."""
    for imports in (mentions.imports, read_module(module).imports):
        if chain[0] in imports:
            yield imports[chain[0]], chain[1:]


def _resolve(bound: Import, rest: Chain) -> list[Target]:
    """The definition that an import and the attributes after it name; all definitions of a module named alone."""
    if bound.module.split(".")[0] not in PACKAGES or _is_machinery(bound.module):
        return []
    if bound.name is None:
        return _resolve(Import(bound.module, rest[0]), rest[1:]) if rest else everything_in(bound.module)
    module = read_module(bound.module)
    if bound.name in module.statements:
        return [(bound.module, bound.name)]
    if bound.name in module.imports:
        return _resolve(module.imports[bound.name], rest)
    inner = f"{bound.module}.{bound.name}"
    if path_of(inner) or is_package(inner):
        return _resolve(Import(inner, None), rest)
    return everything_in(bound.module)


def _whole_modules(module: str, mentions: Mentions) -> Iterator[str]:
    """Yield the modules of which any name may be used."""
    yield from (name for name in (*mentions.stars, *read_module(module).stars) if name.split(".")[0] in PACKAGES)
    if mentions.dynamic:
        yield module
    for beginning in mentions.imports_any:
        room = beginning.split(".")[0]
        if not beginning:
            yield from PACKAGES
        elif room in PACKAGES:
            yield room


@functools.cache
def everything_in(module: str) -> list[Target]:
    """All definitions of a module, of the modules in it if it is a package, and of all that they import."""
    targets: list[Target] = []
    visited: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in visited or _is_machinery(name) or name.split(".")[0] not in PACKAGES:
            continue
        visited.add(name)
        if is_package(name):
            folder = modules.ROOT.joinpath(*name.split("."))
            names = [path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()]
            waiting += [f"{name}.{part}" for part in names if part.isidentifier() and part != "__init__"]
        parsed = read_module(name)
        targets += [(name, defined) for defined in parsed.statements]
        bound = list(parsed.imports.values())
        waiting += [*parsed.stars, *(f"{import_.module}.{import_.name}" for import_ in bound if import_.name)]
        waiting += [import_.module for import_ in bound if not is_package(import_.module)]
    return targets


@functools.cache
def is_settings(target: Target) -> bool:
    """True for a class of settings: a frozen value, whose fields are in names by their values."""
    definition = read_definition(*target)
    mentions = definition.mentions
    parents = [parent for base in definition.bases for parent in targets_of(target[0], mentions, {base})]
    return any(parent == FROZEN or is_settings(parent) for parent in parents)


def _with_nested(classes: set[Target]) -> set[Target]:
    """The classes of settings, their base classes, and the classes that their fields may hold."""
    visited: set[Target] = set()
    waiting = list(classes)
    while waiting:
        target = waiting.pop()
        definition: Definition = read_definition(*target)
        if target in visited or not (is_settings(target) or definition.is_value):
            continue
        visited.add(target)
        for mentions in (definition.mentions, *(field.mentions for field in definition.fields)):
            if definition.is_value or mentions is not definition.mentions:
                waiting += targets_of(target[0], mentions, mentions.strong | mentions.weak)
        bases = set(definition.bases)
        waiting += targets_of(target[0], definition.mentions, bases)
    return {target for target in visited if is_settings(target)}

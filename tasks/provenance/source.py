"""The source of a stage: all definitions and files of this project that the stage can reach, and nothing else.

From the stage's function the names that its code mentions are followed to their definitions, and so on, across modules.
What reaches further than a name says is taken whole: a class with all its methods and bases; a module that is used
otherwise than by naming something in it, with all that it imports. See CONTRIBUTING.md for what could be missed.
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
from tasks.provenance.mentions import Chain, Import, Mentions
from tasks.provenance.modules import ALWAYS, OURS, Definition, is_package, path_of, read_definition, read_module
from tasks.provenance.settings import FROZEN, changed_defaults

# What a stage makes does not depend on these, nor on this package.
MACHINERY = ("tasks.artifacts", "tasks.home", "tasks.kinds", "tasks.progress", "tasks.provenance")
ONE_AT_A_TIME = threading.Lock()  # Python 3.11 keeps the depth of a parse for all threads together

Target = tuple[str, str]  # a module and a name in it


class Reach(NamedTuple):
    """What a stage can reach."""

    definitions: dict[str, str]  # module:name → digest of the code and of what its names stand for
    files: tuple[str, ...]  # paths below the root
    settings: dict[str, Any]  # Class.field → a default that is not its first, where the stage may take it


def source_of(function: Callable[..., object]) -> str:
    """The digest of the source that the function can reach, docstrings and comments aside."""
    return _digest(function.__module__, function.__qualname__.split(".")[0])


@functools.cache
def _digest(module: str, name: str) -> str:
    reach = reach_of(module, name)
    texts = {file: hashlib.sha256((modules.ROOT / file).read_bytes()).hexdigest() for file in reach.files}
    text = json.dumps([reach.definitions, texts, reach.settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def reach_of(module: str, name: str) -> Reach:
    """What the definition of that name in that module can reach, itself included. For a module of another project,
    nothing."""
    with ONE_AT_A_TIME:
        walk = _Walk()
        if path_of(module):
            walk.follow((module, name), makes=True)
        return walk.result()


def _is_machinery(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in MACHINERY)


class _Walk:
    """A walk from definition to definition."""

    def __init__(self) -> None:
        self.seen: dict[Target, bool] = {}  # definition → whether it may make values, and not only be a kind
        self.fields: list[tuple[Target, Mentions, str]] = []  # of settings; followed once their name is mentioned
        self.makes: set[Target] = set()  # settings that the code may make with defaults
        self.words: set[str] = set()
        self.waiting: list[tuple[Target, bool]] = []

    def follow(self, target: Target, makes: bool) -> None:
        """Follows all that can be reached from target. makes: whether it is used to make values."""
        self.waiting.append((target, makes))
        while self.waiting:
            while self.waiting:
                self._visit(*self.waiting.pop())
            read = [field for field in self.fields if field[2] in self.words]
            self.fields = [field for field in self.fields if field[2] not in self.words]
            for (module, _), mentions, _ in read:
                self._follow_mentions(module, mentions, makes=False)

    def _visit(self, target: Target, makes: bool) -> None:
        module, name = target
        before = self.seen.get(target)
        if _is_machinery(module) or before or before is makes:
            return
        self.seen[target], is_new = makes, before is None
        if is_new:
            self._touch(module)
        definition = read_definition(module, name)
        settings = is_settings(target)
        if settings and makes:
            self.makes.add(target)
        if settings and is_new:
            self.fields += [(target, field.mentions, field.name) for field in definition.fields]
        if is_new and not settings:
            for field in definition.fields:
                self._follow_mentions(module, field.mentions, makes=True)
        self._follow_mentions(module, definition.mentions, makes or not definition.is_value)

    def _touch(self, module: str) -> None:
        """What runs whenever the module is imported: its own statements and those of the packages around it."""
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            self.waiting.append(((".".join(parts[:end]), ALWAYS), True))

    def _follow_mentions(self, module: str, mentions: Mentions, makes: bool) -> None:
        self.words |= mentions.attributes | mentions.texts
        for target in targets_of(module, mentions, mentions.weak):
            self.waiting.append((target, False))
        for target in targets_of(module, mentions, mentions.strong):
            self.waiting.append((target, makes))
        for whole in _wholes(module, mentions):
            self.waiting += [(target, True) for target in everything_in(whole)]

    def result(self) -> Reach:
        """All that was reached."""
        own = {f"{module}:{name}": _code(module, name) for module, name in self.seen}
        found = {key: code for key, code in own.items() if code}
        read = [read_definition(*target) for target in self.seen]
        texts = Texts.of(of for one in read for of in (one.mentions, *(field.mentions for field in one.fields)))
        settings = {target for target in self.seen if is_settings(target)}
        made = _with_nested(self.makes)
        return Reach(found, files_named(texts), changed_defaults(settings, made, self.words))


@functools.cache
def _code(module: str, name: str) -> str:
    """The digest of a definition's code, fields of settings aside, and of what its names stand for."""
    definition = read_definition(module, name)
    bare = is_settings((module, name))
    code = definition.bare_code if bare else definition.code
    if not code:
        return ""
    every = [definition.mentions, *(field.mentions for field in definition.fields if not bare)]
    stand_for = sorted({told for mentions in every for told in _bindings(module, mentions)})
    return hashlib.sha256(json.dumps([code, stand_for]).encode()).hexdigest()


def _bindings(module: str, mentions: Mentions) -> Iterator[str]:
    for chain in mentions.strong | mentions.weak:
        for bound, rest in _bound(module, mentions, chain):
            ends = [f"{end[0]}:{end[1]}" for end in _resolve(bound, rest)]
            yield f"{chain[0]} {bound.module} {bound.name} {ends}"


def targets_of(module: str, mentions: Mentions, chains: set[Chain]) -> Iterator[Target]:
    """The definitions of this project that the chains name."""
    statements = read_module(module).statements
    for chain in chains:
        if chain[0] in statements:
            yield module, chain[0]
        for bound, rest in _bound(module, mentions, chain):
            yield from _resolve(bound, rest)


def _bound(module: str, mentions: Mentions, chain: Chain) -> Iterator[tuple[Import, Chain]]:
    """What imports bind the chain's first name to, and the rest of the chain."""
    for imports in (mentions.imports, read_module(module).imports):
        if chain[0] in imports:
            yield imports[chain[0]], chain[1:]


def _resolve(bound: Import, rest: Chain) -> list[Target]:
    """The definition that an import and the attributes after it name; all of a module that is named alone."""
    if bound.module.split(".")[0] not in OURS or _is_machinery(bound.module):
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


def _wholes(module: str, mentions: Mentions) -> Iterator[str]:
    """Modules of which any name may be used."""
    yield from (name for name in (*mentions.stars, *read_module(module).stars) if name.split(".")[0] in OURS)
    if mentions.dynamic:
        yield module
    for beginning in mentions.imports_any:
        room = beginning.split(".")[0]
        if not beginning:
            yield from OURS
        elif room in OURS:
            yield room


@functools.cache
def everything_in(module: str) -> list[Target]:
    """All definitions of a module, of the modules in it where it is a package, and of all that they import."""
    found: list[Target] = []
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen or _is_machinery(name) or name.split(".")[0] not in OURS:
            continue
        seen.add(name)
        if is_package(name):
            folder = modules.ROOT.joinpath(*name.split("."))
            inner = [path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()]
            waiting += [f"{name}.{part}" for part in inner if part.isidentifier() and part != "__init__"]
        its_module = read_module(name)
        found += [(name, defined) for defined in its_module.statements]
        bound = list(its_module.imports.values())
        waiting += [*its_module.stars, *(f"{one.module}.{one.name}" for one in bound if one.name)]
        waiting += [one.module for one in bound if not is_package(one.module)]
    return found


@functools.cache
def is_settings(target: Target) -> bool:
    """Whether the definition is a class of settings: a frozen value, whose fields go into names by their values."""
    definition = read_definition(*target)
    mentions = definition.mentions
    parents = [parent for base in definition.bases for parent in targets_of(target[0], mentions, {base})]
    return any(parent == FROZEN or is_settings(parent) for parent in parents)


def _with_nested(classes: set[Target]) -> set[Target]:
    """The classes of settings, those that they inherit from, and those that their fields may hold."""
    seen: set[Target] = set()
    waiting = list(classes)
    while waiting:
        target = waiting.pop()
        definition: Definition = read_definition(*target)
        if target in seen or not (is_settings(target) or definition.is_value):
            continue
        seen.add(target)
        for mentions in (definition.mentions, *(field.mentions for field in definition.fields)):
            if definition.is_value or mentions is not definition.mentions:
                waiting += targets_of(target[0], mentions, mentions.strong | mentions.weak)
        bases = set(definition.bases)
        waiting += targets_of(target[0], definition.mentions, bases)
    return {target for target in seen if is_settings(target)}

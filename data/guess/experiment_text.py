"""The experiment file of a guess, with comments that say why."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from data.guess.column_groups import FoundGroups
from data.guess.column_profiles import GivenTable
from data.guess.column_roles import Choice
from data.guess.layout_guess import GuessedTable, LayoutGuess

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_NO_TABLE = GuessedTable(GivenTable("", "", "", {}), {})
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def experiment_text(guess: LayoutGuess, found: FoundGroups, folder: Path) -> str:
    """The YAML text of an experiment on these logs: the layout, the columns, the arms and their questions.

    folder: where the file will be, from which relative paths start.
    """
    lines = [
        "# Written by `ebr init` from what the files look like. Correct what is wrong; `ebr check` reads the logs.",
        "#",
    ]
    lines += [f"# {reason}" for reason in guess.reasons]
    doubts = [*guess.doubts, *_doubts(guess)]
    lines += ["#", "# Unsure:", *(f"#   {doubt}" for doubt in doubts)] if doubts else []
    lines += ["logs:", f"  layout: {guess.layout}"]
    for name, table in guess.tables.items():
        lines.append(f"  {name}: {_scalar(_relative(table.given.path, folder))}")
    if guess.actions:
        weights = ", ".join(f"{_scalar(action)}: {weight:g}" for action, weight in guess.actions.weights.items())
        lines.append(f"  actions: {{{weights}}}  # what each action counts for, in training and in nDCG")
    lines += _columns(guess)
    lines += ["", *_arms(guess, found), *_questions(guess, found)]
    return "\n".join(lines) + "\n"


def _doubts(guess: LayoutGuess) -> list[str]:
    return [
        f"{name}.{role} is {choice.column}: {choice.why}"
        for name, table in guess.tables.items()
        for role, choice in table.roles.items()
        if not choice.is_sure
    ]


def _relative(path: str, folder: Path) -> str:
    """The path from the folder of the file if both are below the working directory, else the full path."""
    if "://" in path:
        return path
    full, here = os.path.abspath(path), os.getcwd()
    if os.path.commonpath([full, here]) == here and os.path.commonpath([str(folder.absolute()), here]) == here:
        return os.path.relpath(full, folder)
    return full


def _columns(guess: LayoutGuess) -> list[str]:
    """The lines of `columns`: a name that all tables share once, any other below its table."""
    names: dict[str, dict[str, Choice]] = {}
    for table, guessed in guess.tables.items():
        for role, choice in guessed.roles.items():
            names.setdefault(role, {})[table] = choice
    shared: dict[str, Choice] = {}
    own: dict[str, dict[str, Choice]] = {}
    for role, choices in names.items():
        columns = {choice.column for choice in choices.values()}
        if len(columns) == 1:
            if columns != {role}:
                shared[role] = next(iter(choices.values()))
            continue
        for table, choice in choices.items():
            if choice.column != role:
                own.setdefault(table, {})[role] = choice
    if not shared and not own:
        return []
    lines = ["  columns:  # the layout's name: the name in your files"]
    lines += [f"    {role}: {_scalar(choice.column)}  # {choice.why}" for role, choice in shared.items()]
    for table, roles in own.items():
        lines.append(f"    {table}:")
        lines += [f"      {role}: {_scalar(choice.column)}  # {choice.why}" for role, choice in roles.items()]
    return lines


def _arms(guess: LayoutGuess, found: FoundGroups) -> list[str]:
    lines = [
        "arms:",
        "  base: {loss: {kind: softmax}, negatives: {random: 1000, in_batch: all}}  # what the arms share",
        "  softmax: {}  # the text alone, with random and in-batch negatives",
    ]
    if found.groups:
        lines += ["  columns:  # the same, and these columns", "    groups:"]
        lines += [f"      {group.name}: {_flow(group.settings)}  # {group.why}" for group in found.groups]
    else:
        lines.append("  # no other column of the files looks like something to read, so there is no arm with columns")
    if "body" in guess.tables.get("documents", _NO_TABLE).roles:
        lines.append(
            "  # BM25 reads the documents' body, too. For an arm that does, at some cost: {text: {body: true}}"
        )
    lines += _arms_of_actions(guess)
    if found.left_out:
        lines.append("  # Left out of the columns:")
        lines += [f"  #   {column}: {reason}" for column, reason in found.left_out.items()]
    lines.append(
        "  hard: {negatives: {offline_hard: 2}, mine_from: softmax, mining: {window: [11, 100]}}  "
        "# and hard negatives: what softmax ranks 11th to 100th"
    )
    return lines


def _compared_actions(guess: LayoutGuess) -> tuple[str, str] | None:
    """The actions with the smallest and the largest weight, whose positives may be compared; None if all weigh the
    same."""
    if guess.actions is None:
        return None
    weights = guess.actions.weights
    light, heavy = min(weights, key=lambda name: weights[name]), max(weights, key=lambda name: weights[name])
    return (light, heavy) if weights[light] < weights[heavy] and _only(light) != _only(heavy) else None


def _only(action: str) -> str:
    """The name of the arm that learns from one action alone."""
    return "only-" + re.sub(r"[^a-z0-9_.-]+", "-", action.lower())


def _arms_of_actions(guess: LayoutGuess) -> list[str]:
    """The lines of the arms that learn from one action alone; none unless actions differ in weight."""
    if (actions := _compared_actions(guess)) is None:
        return []
    light, heavy = actions
    return [
        "  # softmax learns from every action, by its weight; these from one alone",
        f"  {_only(light)}: {{positives: {{actions: [{_scalar(light)}]}}}}",
        f"  {_only(heavy)}: {{positives: {{actions: [{_scalar(heavy)}]}}}}  # fewer pairs, and surer ones",
    ]


def _questions(guess: LayoutGuess, found: FoundGroups) -> list[str]:
    lines = ["questions:  # every arm is also compared with BM25"]
    if found.groups:
        lines.append("  columns: {title: columns beside the text, baseline: softmax, arms: [columns]}")
    lines.append("  hard: {title: hard negatives beside random ones, baseline: softmax, arms: [hard]}")
    if actions := _compared_actions(guess):
        title, (light, heavy) = _scalar(f"{actions[1]} as positives against {actions[0]}"), map(_only, actions)
        lines.append(f"  actions: {{title: {title}, baseline: {light}, arms: [{heavy}, softmax]}}")
    return lines


def _flow(settings: dict[str, object]) -> str:
    parts = []
    for key, value in settings.items():
        text = f"[{', '.join(map(_scalar, value))}]" if isinstance(value, list) else _scalar(str(value))
        parts.append(f"{key}: {text}")
    return "{" + ", ".join(parts) + "}"


def _scalar(text: str) -> str:
    """A text as YAML: plain if that is safe, in double quotes otherwise."""
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)


def table_stem(guess: LayoutGuess) -> str:
    """A name for the experiment, after the file or the folder of its log."""
    table: GivenTable = next(iter(guess.tables.values())).given
    path = Path(table.path)
    name = path.parent.name if set(path.name) & set("*?[") else path.name.split(".")[0]
    return re.sub(r"[^a-z0-9_.-]+", "-", name.lower()).strip("-._") or "mine"

"""Every parameter of a world is named in docs/world.md and has a source."""

from __future__ import annotations

from pathlib import Path

from data.world.world_config import Clicking, Forms, Misspelling, Wants, World

DOCUMENT = Path(__file__).parents[3] / "docs" / "world.md"
SIZES = {"searches", "documents", "days", "seed", "start", "shuffled"}


def test_every_parameter_is_documented_with_its_source() -> None:
    text = DOCUMENT.read_text()
    for prefix, section in (
        ("wants.", Wants),
        ("forms.", Forms),
        ("misspelling.", Misspelling),
        ("clicking.", Clicking),
    ):
        for name in section.model_fields:
            assert f"`{prefix}{name}`" in text
    for name, field in World.model_fields.items():
        assert f"`{name}`" in text or name in ("wants", "forms", "misspelling", "clicking")
        if field.description and name not in SIZES:
            assert "assumed" in field.description or "[" in field.description, name
    for section in (Wants, Forms, Misspelling, Clicking):
        for name, field in section.model_fields.items():
            assert field.description, name
            assert "assumed" in field.description or "[" in field.description, name

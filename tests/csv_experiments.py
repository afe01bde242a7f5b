"""An experiment file over tables in CSV files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import yaml


def write_csv_experiment(
    folder: Path, rows: dict[str, list[dict[str, Any]]], split: dict[str, str], logs: dict[str, Any], sections: Any
) -> Path:
    """shop.yaml in the folder, over a CSV file for each table of rows; logs: settings beside the files."""
    for name, lines in rows.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8") as file:
            writer = csv.DictWriter(file, lines[0])
            writer.writeheader()
            writer.writerows(lines)
    files = {"layout": "tables"} | logs | {name: f"{name}.csv" for name in rows}
    (folder / "shop.yaml").write_text(yaml.safe_dump({"logs": files, "split": split} | sections))
    return folder / "shop.yaml"

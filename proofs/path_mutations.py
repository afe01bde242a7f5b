"""Strange paths in place of that of a file."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pyarrow as pa

from proofs.byte_mutations import flipped
from proofs.small_logs import Rng, write


def strange_path(path: Path, rng: Rng) -> str:
    """A path to name in place of `path`: a folder, a dangling link, a pipe, a glob over mixed files …"""
    substitute, data = path.with_name(f"other{path.suffix}"), path.read_bytes()
    match int(rng.integers(12)):
        case 0:
            return str(path.parent)
        case 1:
            substitute.mkdir()
        case 2:
            substitute.symlink_to(path.parent / "nowhere")
        case 3:
            substitute.symlink_to(substitute)
        case 4:
            os.mkfifo(substitute)
        case 5:  # a glob over files of different columns
            write(pa.table({"different": [1, 2]}), path.with_name(f"{path.stem}-2{path.suffix}"))
            return str(path.with_name(f"{path.stem}*{path.suffix}"))
        case 6:  # a glob over a sound and a broken file
            path.with_name(f"{path.stem}-2{path.suffix}").write_bytes(flipped(data, rng)[: len(data) // 2])
            return str(path.with_name(f"{path.stem}*{path.suffix}"))
        case 7:  # a name with the ending of another kind
            substitute = path.with_name(("o.csv", "o.parquet", "o.ndjson", "o.txt", "o", "o.csv.gz")[rng.integers(6)])
            substitute.write_bytes(data)
        case 8:
            substitute = path.with_name(f"{path.name}.gz")
            packed = gzip.compress(data, mtime=0)
            substitute.write_bytes(packed if rng.random() < 0.3 else flipped(packed, rng))
        case 9:
            names = (
                "o'; DROP TABLE x; --",
                "a b",
                "[x]",
                "st*r",
                "wh?t",
                "new\nline",
                "ü€",
                "$name",
                '"',
                "%41",
                "{a,b}",
            )
            substitute = path.with_name(names[rng.integers(len(names))] + path.suffix)
            substitute.write_bytes(data)
        case 10:
            return ("", "\0", "x" * 5000 + path.suffix, "~", "**", "/dev/null", "file://" + str(path), "[", "/")[
                rng.integers(9)
            ]
        case _:
            return str(path.with_name("missing" + path.suffix))
    return str(substitute)

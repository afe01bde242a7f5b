"""Changes to the bytes of a file."""

from __future__ import annotations

from collections.abc import Callable

from proofs.small_logs import Rng


def flipped(data: bytes, rng: Rng) -> bytes:
    """The file with some bytes changed."""
    changed = bytearray(data)
    for position in rng.integers(len(data), size=int(rng.choice([1, 1, 1, 4, 64]))):
        changed[position] ^= int(rng.integers(1, 256))
    return bytes(changed)


def footer(data: bytes, rng: Rng) -> bytes:
    """The file with one of its last 2,000 bytes changed; Parquet keeps its index of columns there."""
    changed, position = bytearray(data), -int(rng.integers(1, min(2000, len(data)) + 1))
    changed[position] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256))]))
    return bytes(changed)


def cut(data: bytes, rng: Rng) -> bytes:
    """The file without its end, its beginning or a stretch, or empty."""
    low, high = sorted(rng.integers(len(data) + 1, size=2).tolist())
    return (data[:low], data[low:], data[:low] + data[high:], b"", data[:4], data[:-1])[rng.integers(6)]


def moved(data: bytes, rng: Rng) -> bytes:
    """The file with two stretches swapped, one zeroed or repeated, or the whole file repeated."""
    a, b, c = sorted(rng.integers(len(data) + 1, size=3).tolist())
    return (
        data[:a] + data[b:c] + data[a:b] + data[c:],
        data[:a] + bytes(b - a) + data[b:],
        data[:b] + data[a:],
        data + data,
    )[rng.integers(4)]


def inserted(data: bytes, rng: Rng) -> bytes:
    """The file with inserted bytes: not UTF-8, zero, a byte-order mark, another line end, or random."""
    position = int(rng.integers(len(data) + 1))
    strange_bytes = (
        b"\xff\xfe",
        b"\0",
        b"\xc3",
        b"\r",
        b"\r\n",
        b"\n\n\n",
        b'"',
        b"\xed\xa0\x80",
        b"\x1a",
        rng.bytes(50),
    )
    if rng.random() < 0.2:
        return b"\xef\xbb\xbf" + data
    if rng.random() < 0.1:
        return data.replace(b"\n", b"\r\n" if rng.random() < 0.5 else b"\r")
    return data[:position] + strange_bytes[rng.integers(len(strange_bytes))] + data[position:]


def odd_json(data: bytes, rng: Rng) -> bytes:
    """The file with a line that is no record, deeply nested or of another shape, or with several records on a line."""
    lines = data.splitlines()
    row = int(rng.integers(len(lines)))
    depth = int(rng.choice([50, 2_000, 200_000]))
    odd_lines = (
        *(
            b"[]",
            b"null",
            b"1",
            b'"text"',
            b"{}",
            b"{",
            b"",
            b"[{}]",
            b"//",
            b"nan",
            lines[row][:-1] + b",}",
            b"{'a': 1}",
        ),
        *(lines[row] + lines[row], lines[row][:-1] + b', "more": ' + b"[" * depth + b"]" * depth + b"}"),
        *(
            b'{"a":' * depth + b"1" + b"}" * depth,
            b'{"' + b"k" * 100_000 + b'": 1}',
            lines[row].replace(b": ", b": [", 1),
        ),
        *(
            lines[row].replace(b'"', b"'"),
            lines[row][:-1] + b', "x": 1e999999, "y": -0, "z": 123456789012345678901234}',
        ),
        *(lines[row][:-1] + b', "bad": "\\ud800"}', lines[row][:-1] + b', "nul": "\\u0000"}', b"[" * depth),
        b'{"long": "' + b"x" * 17_000_000 + b'"}',
    )
    match int(rng.integers(8)):
        case 0:
            return b"[" + b",\n".join(lines) + b"]"
        case 1:
            return b"".join(lines)
        case 2:
            return b"[" + data + b"]"
        case _:
            lines[row] = odd_lines[rng.integers(len(odd_lines))]
            return b"\n".join(lines) + b"\n"


BYTE_MUTATIONS: tuple[Callable[[bytes, Rng], bytes], ...] = (flipped, footer, cut, moved, inserted)

"""Changes to the bytes of a file."""

from __future__ import annotations

from collections.abc import Callable

from proofs.small_logs import Rng


def flipped(data: bytes, rng: Rng) -> bytes:
    """Some bytes are others."""
    changed = bytearray(data)
    for at in rng.integers(len(data), size=int(rng.choice([1, 1, 1, 4, 64]))):
        changed[at] ^= int(rng.integers(1, 256))
    return bytes(changed)


def footer(data: bytes, rng: Rng) -> bytes:
    """A byte of the last 2,000, where Parquet says what lies where, is another."""
    changed, at = bytearray(data), -int(rng.integers(1, min(2000, len(data)) + 1))
    changed[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256))]))
    return bytes(changed)


def cut(data: bytes, rng: Rng) -> bytes:
    """The file ends early, begins late, lacks a stretch, or is empty."""
    low, high = sorted(rng.integers(len(data) + 1, size=2).tolist())
    return (data[:low], data[low:], data[:low] + data[high:], b"", data[:4], data[:-1])[rng.integers(6)]


def moved(data: bytes, rng: Rng) -> bytes:
    """Two stretches are swapped, one is zero or stands twice, or the file follows itself."""
    a, b, c = sorted(rng.integers(len(data) + 1, size=3).tolist())
    return (
        data[:a] + data[b:c] + data[a:b] + data[c:],
        data[:a] + bytes(b - a) + data[b:],
        data[:b] + data[a:],
        data + data,
    )[rng.integers(4)]


def inserted(data: bytes, rng: Rng) -> bytes:
    """Bytes that are not UTF-8, zero, a byte-order mark, another line end, or random stand in between."""
    at = int(rng.integers(len(data) + 1))
    what = (b"\xff\xfe", b"\0", b"\xc3", b"\r", b"\r\n", b"\n\n\n", b'"', b"\xed\xa0\x80", b"\x1a", rng.bytes(50))
    if rng.random() < 0.2:
        return b"\xef\xbb\xbf" + data
    if rng.random() < 0.1:
        return data.replace(b"\n", b"\r\n" if rng.random() < 0.5 else b"\r")
    return data[:at] + what[rng.integers(len(what))] + data[at:]


def odd_json(data: bytes, rng: Rng) -> bytes:
    """A line is no record, nested without end, of another shape, or another's neighbour on its line."""
    lines = data.splitlines()
    at = int(rng.integers(len(lines)))
    deep = int(rng.choice([50, 2_000, 200_000]))
    odd = (
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
            lines[at][:-1] + b",}",
            b"{'a': 1}",
        ),
        *(lines[at] + lines[at], lines[at][:-1] + b', "more": ' + b"[" * deep + b"]" * deep + b"}"),
        *(b'{"a":' * deep + b"1" + b"}" * deep, b'{"' + b"k" * 100_000 + b'": 1}', lines[at].replace(b": ", b": [", 1)),
        *(lines[at].replace(b'"', b"'"), lines[at][:-1] + b', "x": 1e999999, "y": -0, "z": 123456789012345678901234}'),
        *(lines[at][:-1] + b', "bad": "\\ud800"}', lines[at][:-1] + b', "nul": "\\u0000"}', b"[" * deep),
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
            lines[at] = odd[rng.integers(len(odd))]
            return b"\n".join(lines) + b"\n"


OF_BYTES: tuple[Callable[[bytes, Rng], bytes], ...] = (flipped, footer, cut, moved, inserted)

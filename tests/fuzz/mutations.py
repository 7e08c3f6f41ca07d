"""Good input made bad: JSON trees with odd values, and bytes with odd bytes."""

from __future__ import annotations

import json
from copy import deepcopy
from random import Random

ODD_VALUES: tuple[object, ...] = (
    *(None, True, False, 0, -1, 1e308, -0.0, 2**63, 10**40, "", " ", "0", "null", [], {}, [[]]),
    *([None], {"": None}, {"resourceType": "Patient"}, {"reference": "#"}, [{}], "\ud800", "\x00"),
    *(
        "2026-02-30",
        "9999-12-31",
        "0001-01-01",
        "2026-03-01T24:00:00Z",
        "2026-03-01T00:00:00+99:99",
    ),
    *(
        "2026",
        "2026-13",
        "-2026-01-01",
        "Patient/",
        "urn:uuid:",
        "http://[",
        "a" * 70_000,
        "\u202e",
    ),
    *("1e400", "NaN", "9" * 400, {"value": "1"}, {"coding": {}}, {"coding": [None, 1, "x"]}),
    *({"start": "2026-01-01", "end": "2020-01-01"}, {"extension": [{"url": 1}]}, "١٢٣"),
)


def mutated(tree: object, random: Random, *, times: int) -> object:
    """Return a copy of a JSON *tree* with that many odd places."""
    copy: object = json.loads(json.dumps(tree))
    for _ in range(times):
        _spoil(copy, random)
    return copy


def _spoil(tree: object, random: Random) -> None:
    """Change one place somewhere below *tree*."""
    node = tree
    while True:
        places = _places(node)
        if not places:
            return
        place = random.choice(places)
        below = node[place]  # type: ignore[index]
        if not _places(below) or random.random() < 0.25:
            break
        node = below
    _change(node, place, random)


def _places(node: object) -> list[object]:
    if isinstance(node, dict):
        return list(node)
    return list(range(len(node))) if isinstance(node, list) else []


def _change(node: object, place: object, random: Random) -> None:
    if isinstance(node, dict):
        match random.randrange(4):
            case 0:
                del node[place]
            case 1:
                node[random.choice([*node, "extension", "_birthDate", ""])] = deepcopy(node[place])
            case _:
                node[place] = deepcopy(random.choice(ODD_VALUES))
    elif isinstance(node, list) and isinstance(place, int):
        match random.randrange(4):
            case 0:
                del node[place]
            case 1:
                node.extend(deepcopy(node[place]) for _ in range(random.choice((1, 2, 50))))
            case _:
                node[place] = deepcopy(random.choice(ODD_VALUES))


def garbled(raw: bytes, random: Random, *, times: int) -> bytes:
    """Return *raw* with that many bytes changed, cut out, doubled or put in."""
    found = bytearray(raw)
    for _ in range(times):
        place = random.randrange(len(found) + 1)
        match random.randrange(4):
            case 0:
                found[place : place + random.choice((1, 2, 40))] = b""
            case 1:
                found[place:place] = found[max(0, place - 30) : place]
            case 2:
                found[place : place + 1] = bytes([random.randrange(256)])
            case _:
                found[place:place] = random.choice(
                    (b'"', b"{", b"]", b"\\u0000", b"\xff", b"\xed\xa0\x80", b"1e999", b"NaN", b",")
                )
    return bytes(found)

"""Values that are not believed, whatever the engine would make of them: counts and sizes."""

from __future__ import annotations

import re

from gridflock.field.opendss._tokens import Token
from gridflock.field.opendss._vocabulary import COUNTS, MOST_WOUND_PHASES, WOUND

LARGEST = 1e15
"""Nothing on a feeder is larger, in any unit used."""
NAMES = (
    "bus1", "bus2", "buses", "vbus", "linecode", "geometry", "spacing", "wire", "wires", "cncable",
    "cncables", "tscable", "tscables", "xfmrcode", "bank", "subname", "transformer", "capacitor", "element",
    "like", "daily", "yearly", "duty", "growth", "spectrum", "cvrcurve", "effcurve", "p-tcurve", "tdaily",
    "tyearly", "tduty", "rcurve", "lcurve", "object", "phase",
)  # fmt: skip
"""Properties whose value is a name: ``inf`` may be the bus that never sags."""
_SHORTEST_CUT = 3
_CURIOUS = re.compile(r"(?<![\w.])[+-]?(?:nan|inf(?:inity)?)(?![\w.])|\d{16}|\d\.?e\+?\d{2}", re.IGNORECASE)
_BETWEEN = re.compile(r"[\s,|=()\[\]{}\"']+")


def disbelieved(kind: str, name: str, word: Token) -> str:
    """Why a value is not believed; empty if it is.

    Args:
        kind: class of its element; empty for an option.
        name: its property, lower case, which may be cut short; empty where its place has none.
        word: the value.
    """
    return _too_many(kind, name, word) or _no_number(name, word)


def _too_many(kind: str, name: str, word: Token) -> str:
    """Why a count is not believed; empty if it is, or if the property is none."""
    most = min((COUNTS[n] for n in COUNTS if name and n.startswith(name)), default=None)
    if most is None:
        return ""
    if kind in WOUND and "phases".startswith(name):
        most = MOST_WOUND_PHASES
    try:
        value = float(word.value)
    except ValueError:
        return f"{word.raw!r}: a plain number is expected"
    return "" if 1 <= value <= most else f"{word.value} is not in 1..{most}"


def _no_number(name: str, word: Token) -> str:
    """Which of the numbers of a value is not finite or larger than anything; empty if none is."""
    if not _CURIOUS.search(word.raw) or _is_name(name):
        return ""
    for piece in _BETWEEN.split(word.raw):
        try:
            value = float(piece)
        except ValueError:
            continue
        if not abs(value) <= LARGEST:
            return f"{piece[:40]} is no number that can be"
    return ""


def _is_name(name: str) -> bool:
    cut = len(name) >= _SHORTEST_CUT
    return name in NAMES or (cut and any(known.startswith(name) for known in NAMES))

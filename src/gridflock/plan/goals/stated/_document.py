"""A document of goals, untrusted: every field checked for what it is, every fault named at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gridflock.model import Rejected
from gridflock.plan.goals.bounds import Need, Stage
from gridflock.plan.goals.stated._sought import DEMAND, MONEY
from gridflock.plan.goals.stated._stated import SPANNED, Profile, Stated, StatedGoal
from gridflock.units import unix_s

MOST_GOALS, MOST_NAMES, MOST_POINTS = 100, 2_000, 2_000
LARGEST = 1e9
"""Numbers beyond it are a mistake."""
DEAREST = 1e6
"""Money per kWh or kW beyond it would drown all else in the solver's digits."""
_LONGEST_NAME = 100
Reading = Callable[[object], object]


class _Wrong(ValueError):  # noqa: N818 - bad input, told as a value by who catches it
    """A value that breaks a rule."""


# ---- values ------------------------------------------------------------------------------------------


def _number(lo: float = -LARGEST, hi: float = LARGEST) -> Reading:
    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not lo <= value <= hi:
            raise _Wrong(f"{_short(value)} is not a number from {lo:g} to {hi:g}")
        return float(value)

    return read


def _whole(lo: int, hi: int) -> Reading:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not lo <= value <= hi:
            raise _Wrong(f"{_short(value)} is not a whole number from {lo} to {hi}")
        return value

    return read


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Wrong(f"{_short(value)} is neither true nor false")
    return value


def _one_of(*words: str) -> Reading:
    def read(value: object) -> str:
        if value not in words:
            raise _Wrong(f"{_short(value)} is not one of {', '.join(words)}")
        return str(value)

    return read


def _name(value: object) -> str:
    if (
        not isinstance(value, str)
        or not value.strip()
        or len(value) > _LONGEST_NAME
        or not value.isprintable()
    ):
        raise _Wrong(f"{_short(value)} is not a name of 1 to {_LONGEST_NAME} printable characters")
    return value


def _moment(value: object) -> int:
    try:
        return unix_s(str(value)) if isinstance(value, str) else _not_a_moment(value)
    except (ValueError, OverflowError) as error:
        raise _Wrong(f"{_short(value)} is not a moment in ISO 8601") from error


def _not_a_moment(value: object) -> int:
    raise _Wrong(f"{_short(value)} is not a moment in ISO 8601")


def _listed(value: object, most: int, what: str) -> Sequence[object]:
    if not isinstance(value, list | tuple) or not value:
        raise _Wrong(f"{_short(value)} is not a list of {what}")
    if len(value) > most:
        raise _Wrong(f"{len(value)} {what}, at most {most}")
    return value


def _mapped(value: object, of: Reading, what: str) -> dict[str, object]:
    if not isinstance(value, Mapping) or not value:
        raise _Wrong(f"{_short(value)} is not an object of {what} by name")
    if len(value) > MOST_NAMES:
        raise _Wrong(f"{len(value)} names, at most {MOST_NAMES}")
    return {_name(name): of(each) for name, each in value.items()}


def _members(value: object) -> tuple[str, ...] | dict[str, object]:
    """Names, or names with the part of their power that counts."""
    if isinstance(value, Mapping):
        return _mapped(value, _number(1e-9, 1.0), "parts from 0 to 1")
    return tuple(_name(each) for each in _listed(value, MOST_NAMES, "names"))


def _by_name(lo: float, hi: float) -> Reading:
    return lambda value: _mapped(value, _number(lo, hi), "numbers")


def _participants(value: object) -> dict[str, object]:
    return _mapped(value, _members, "names")


def _profile(lo: float = -LARGEST, hi: float = LARGEST) -> Reading:
    """One number, or pairs of a moment and the number from then on."""
    number = _number(lo, hi)

    def read(value: object) -> object:
        if not isinstance(value, list):
            return number(value)
        points = [_pair(point) for point in _listed(value, MOST_POINTS, "points")]
        moments, numbers = [_moment(at) for at, _ in points], [number(each) for _, each in points]
        if any(one >= other for one, other in pairwise(moments)):
            raise _Wrong("moments must ascend")
        return Profile(tuple(moments), tuple(numbers))  # type: ignore[arg-type]  # floats, as read

    return read


def _pair(value: object) -> tuple[object, object]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise _Wrong(f"{_short(value)} is not a pair")
    return value[0], value[1]


def _windows(value: object) -> tuple[tuple[float, float], ...]:
    found = []
    for each in _listed(value, MOST_POINTS, "windows"):
        start, end = (_moment(at) for at in _pair(each))
        if start >= end:
            raise _Wrong(f"{_short(each)} ends before it begins")
        found.append((float(start), float(end)))
    return tuple(found)


def _stages(value: object) -> tuple[Stage, ...]:
    rise = _number(0.0)
    pairs = [_pair(each) for each in _listed(value, MOST_POINTS, "stages")]
    return tuple(Stage(float(_moment(at)), float(rise(kw))) for at, kw in pairs)  # type: ignore[arg-type]  # a float, as read


def _needs(value: object) -> tuple[Need, ...]:
    kwh, found = _number(0.0), []
    for each in _listed(value, MOST_NAMES, "needs"):
        if not isinstance(each, Mapping) or each.keys() != {"resource", "by", "kwh"}:
            raise _Wrong(f"{_short(each)} is not an object of resource, by and kwh")
        found.append(Need(_name(each["resource"]), float(_moment(each["by"])), float(kwh(each["kwh"]))))  # type: ignore[arg-type]  # a float, as read
    return tuple(found)


def _short(value: object) -> str:
    """A value in few words, whatever it is."""
    if isinstance(value, list | tuple | Mapping):
        return f"a {'mapping' if isinstance(value, Mapping) else 'list'} of {len(value)}"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]} …"


# ---- kinds -------------------------------------------------------------------------------------------

_PRICE = _number(0.0, DEAREST)
_OF_SUM: Mapping[str, Reading] = {"members": _members, "beside_kw": _profile(), "price": _PRICE}

KINDS: Mapping[str, tuple[tuple[str, ...], Mapping[str, Reading]]] = {
    "power limit": ((), {"import_kw": _profile(0.0), "export_kw": _profile(0.0), **_OF_SUM}),
    "ramp limit": (("kw_per_min",), {"kw_per_min": _number(0.0), **_OF_SUM}),
    "load shape": (
        ("target_kw",),
        {"target_kw": _profile(), "band": _number(0.0, 1.0), "response": _number(0.01, 1.0), **_OF_SUM},
    ),
    "event": (
        ("from", "until", "stages"),
        {
            "stages": _stages,
            "members": _members,
            "opted_out": _members,
            "notice_s": _number(0.0),
            "rebound_kw": _number(0.0),
            "rebound_s": _number(0.0),
            "price": _PRICE,
            "rebound_price": _PRICE,
        },
    ),
    "reserve": (("kwh",), {"kwh": _by_name(0.0, LARGEST)}),
    "departures": (("needs",), {"needs": _needs}),
    "demand charge": (
        ("price",),
        {"so_far_kw": _number(0.0), "windows": _windows, **_OF_SUM},
    ),
    "self-consumption": (("worth",), {"worth": _PRICE}),
    "carbon": (
        ("kg_per_kwh", "price"),
        {"kg_per_kwh": _profile(0.0), "price": _PRICE, "credited": _flag},
    ),
    "losses": (("factor", "price"), {"factor": _by_name(-1.0, 1.0), "price": _profile(0.0, DEAREST)}),
    "wear": (("price",), {"price": _by_name(0.0, DEAREST)}),
    "fair share": (
        ("participants", "direction", "alpha"),
        {
            "participants": _participants,
            "direction": _one_of("drawing", "injecting"),
            "alpha": _number(0.0, 16.0),
            "requested_kwh": _by_name(1e-9, LARGEST),
            "weight": _by_name(1e-9, LARGEST),
            "worth": _PRICE,
            "segments": _whole(1, 1000),
        },
    ),
}
"""By kind: the fields it cannot do without, and how each is read; the span and the name beside them."""


def read(document: object) -> tuple[Stated, tuple[Rejected, ...]]:
    """Goals of a document, and everything in it that breaks a rule; with any fault nothing of it holds.

    Args:
        document: an object with ``goals``, a list of objects with ``kind`` and the kind's fields, and
            perhaps ``order``, names or lists of names by rank.
    """
    if not isinstance(document, Mapping):
        return Stated(), (Rejected("goals", "document", (), f"{_short(document)} is not an object"),)
    found = [
        Rejected("goals", _key(key), (), "unknown field; known are goals and order")
        for key in document
        if key not in {"goals", "order"}
    ]
    listed = document.get("goals")
    if not isinstance(listed, list | tuple) or len(listed) > MOST_GOALS:
        return Stated(), (*found, Rejected("goals", "goals", (), f"not a list of at most {MOST_GOALS} goals"))
    goals = []
    for number, each in enumerate(listed, 1):
        goal, faults = _goal(each, number)
        found += faults
        goals += [] if goal is None else [goal]
    found += _names_twice(goals)
    order, faults = _order(document.get("order"), [goal.name for goal in goals])
    found += faults
    return (Stated() if found else Stated(tuple(goals), order, dict(document))), tuple(found)


def _goal(said: object, number: int) -> tuple[StatedGoal | None, list[Rejected]]:
    if not isinstance(said, Mapping):
        return None, [Rejected("goal", "goal", (), f"{_short(said)} is not an object", row=number)]
    kind = said.get("kind")
    known = KINDS.get(kind) if isinstance(kind, str) else None
    if known is None:
        reason = f"{_short(kind)} is not one of {', '.join(KINDS)}"
        return None, [Rejected("goal", "kind", (), reason, row=number)]
    needed, readings = known
    readings = {"kind": str, "name": _name, **readings}
    if kind in SPANNED:
        readings |= {"from": _moment, "until": _moment}
    values, wrong = _read(said, readings)
    wrong = [(field, "missing") for field in needed if field not in said] + wrong
    span = {"from_s": float(values.pop("from", -np.inf)), "until_s": float(values.pop("until", np.inf))}
    if not span["from_s"] < span["until_s"]:
        wrong.append(("until", "not after from"))
    if wrong:
        who = _key(said.get("name", kind))
        return None, [Rejected("goal", _key(field), (who,), reason, row=number) for field, reason in wrong]
    values.pop("kind")
    return _stated(str(kind), values.pop("name", str(kind)), values, span), []


def _read(
    said: Mapping[object, object], readings: Mapping[str, Reading]
) -> tuple[dict[str, Any], list[tuple[object, str]]]:
    """The fields that are what they should be, and what is wrong with the others."""
    values, wrong = dict[str, Any](), list[tuple[object, str]]()
    for field, value in said.items():
        if not isinstance(field, str) or field not in readings:
            wrong.append((field, "unknown field of this kind"))
            continue
        try:
            values[field] = readings[field](value)
        except _Wrong as fault:
            wrong.append((field, str(fault)))
    return values, wrong


def _stated(kind: str, name: str, values: dict[str, Any], span: dict[str, float]) -> StatedGoal:
    """The goal, with its span where its class takes it and the time over which it matters."""
    names = tuple(dict.fromkeys(_spoken(values)))
    start_s, end_s = span["from_s"], span["until_s"]
    if kind == "event":
        # After its end the rebound is still bounded.
        values |= {"start_s": start_s, "end_s": end_s}
        end_s += values.get("rebound_s", 0.0)
    elif kind in SPANNED and kind != "power limit":
        values |= span
    elif "windows" in values:
        start_s, end_s = min(w[0] for w in values["windows"]), max(w[1] for w in values["windows"])
    elif "needs" in values:
        end_s = max(need.by_s for need in values["needs"])
    return StatedGoal(kind, name, values, names, start_s, end_s)


def _spoken(values: Mapping[str, Any]) -> Iterator[str]:
    """Groups and resources that a goal names."""
    yield from values.get("members", ())
    yield from values.get("opted_out", ())
    for who, members in values.get("participants", {}).items():
        yield from members or (who,)
    for field in ("kwh", "factor", "price"):
        named = values.get(field)
        yield from named if isinstance(named, Mapping) else ()
    yield from (need.group for need in values.get("needs", ()))


def _names_twice(goals: Sequence[StatedGoal]) -> list[Rejected]:
    """Names that several goals have, or the system's own."""
    count = Counter(goal.name for goal in goals)
    found = [
        Rejected("goal", "name", (n,), "given to several goals", count=k) for n, k in count.items() if k > 1
    ]
    own = [name for name in count if name in {MONEY, DEMAND}]
    return found + [Rejected("goal", "name", (name,), "is the system's own; give another") for name in own]


def _order(said: object, names: Sequence[str]) -> tuple[tuple[tuple[str, ...], ...], list[Rejected]]:
    """Ranks by name; the system's own goals may be ranked among them."""
    if said is None:
        return (), []
    if not isinstance(said, list | tuple) or len(said) > MOST_GOALS:
        return (), [Rejected("goals", "order", (), f"not a list of at most {MOST_GOALS} ranks")]
    tiers = [tuple(map(_key, tier if isinstance(tier, list | tuple) else (tier,))) for tier in said]
    flat = [name for tier in tiers for name in tier]
    known = {*names, MONEY, DEMAND}
    found = [Rejected("goals", "order", (name,), "names no goal") for name in flat if name not in known]
    found += [
        Rejected("goals", "order", (name,), "ranked twice") for name, k in Counter(flat).items() if k > 1
    ]
    return (() if found else tuple(tier for tier in tiers if tier)), found


def _key(value: object) -> str:
    """A key as it can be shown."""
    text = value if isinstance(value, str) else _short(value)
    return "".join(c if c.isprintable() else "?" for c in text[:_LONGEST_NAME])

"""Whether the fields of a goal are of the kind they are declared as: goals may come from afar."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass

import numpy as np

from gridflock.model import Rejected
from gridflock.plan.goals._part import Goal, floats


def mistyped(goal: Goal) -> tuple[Rejected, ...]:
    """Fields of a goal, if it is a dataclass, that are not what they are declared as.

    After that the rules of ``faults`` can rely on numbers being numbers and mappings mappings.
    """
    if not is_dataclass(goal):
        return ()
    found = []
    for entry in fields(goal):
        value = getattr(goal, entry.name)
        if not _is_a(str(entry.type), value):
            reason = f"is of type {type(value).__name__}, expected {entry.type}"
            found.append(Rejected("goal", entry.name, (str(goal.name),), reason))
    return tuple(found)


def _is_a(kind: str, value: object) -> bool:
    """Whether a value is what an annotation says; unknown ones are names of classes."""
    for begins, test in _TESTS.items():
        if kind.startswith(begins):
            return test(kind, value)
    return type(value).__name__ == kind


def _are(kind: str, values: Iterable[object]) -> bool:
    return all(_is_a(kind, value) for value in values)


def _number(_: str, value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _text(_: str, value: object) -> bool:
    return isinstance(value, str)


def _numbers(_: str, value: object) -> bool:
    return floats(value) is not None and not isinstance(value, str | bool)


def _members(_: str, value: object) -> bool:
    if not isinstance(value, Mapping | tuple | list) or not _are("str", value):
        return False
    return not isinstance(value, Mapping) or _are("float", value.values())


def _mapping(kind: str, value: object) -> bool:
    inner = kind.removeprefix("Mapping[str, ").removesuffix("]")
    return isinstance(value, Mapping) and _are("str", value) and _are(inner, value.values())


def _pair(_: str, value: object) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and _are("float", value)


def _tuple(kind: str, value: object) -> bool:
    inner = kind.removeprefix("tuple[").removesuffix(", ...]")
    return isinstance(value, tuple | list) and _are(inner, value)


_TESTS: Mapping[str, Callable[[str, object], bool]] = {
    "float": _number,
    "int": _number,
    "str": _text,
    "Literal": _text,
    "Members": _members,
    "Mapping[": _mapping,
    "tuple[float, float]": _pair,
    "tuple[": _tuple,
    "Kw |": _numbers,
    "Money |": _numbers,
    "NDArray": _numbers,
}
"""By how an annotation begins; the first that fits."""

"""Directives and standings as JSON objects, and back; nothing comes in that breaks a rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gridflock.model import Allowance, Directive, Json, Rejected, Standing
from gridflock.units import TimeGrid

MOST_STEPS = 2_000
"""Longer grids are refused."""
_NAME = 200
_LARGEST = 1e9
"""Larger numbers are a mistake; endless bounds are null."""
T = TypeVar("T")
Document = Mapping[str, Any]


class _Wrong(ValueError):  # noqa: N818 - what is wrong, by field
    """A field and the rule it breaks."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


def directive_said(of: Directive) -> dict[str, Json]:
    """A directive as a JSON object."""
    return {
        "child": of.child,
        "epoch": of.epoch,
        "number": of.number,
        "accept_until_s": of.accept_until_s,
        "allowance": _bounds_said(of.allowance),
        "want_kw": _numbers_said(of.want_kw),
        "price": _numbers_said(of.price),
    }


def directive_from(document: Document) -> Directive | Rejected:
    """The inverse of ``directive_said``; what breaks a rule is named by field."""

    def read() -> Directive:
        allowance = _bounds(document)
        steps = allowance.grid.n
        return Directive(
            child=_name(document, "child"),
            epoch=_whole(document, "epoch"),
            number=_whole(document, "number"),
            accept_until_s=_whole(document, "accept_until_s"),
            allowance=allowance,
            want_kw=_numbers(document, "want_kw", steps, np.nan),
            price=_numbers(document, "price", steps, 0.0),
        )

    return _checked("directive", document, read)


def standing_said(of: Standing) -> dict[str, Json]:
    """A standing as a JSON object."""
    return {
        "child": of.child,
        "at_s": of.at_s,
        "epoch": of.epoch,
        "number": of.number,
        "kept": _bounds_said(of.kept),
        "p_kw": _number_said(of.p_kw),
        "able_kw": [_number_said(each) for each in of.able_kw],
        "plan_kw": _numbers_said(of.plan_kw),
        "cost": _number_said(of.cost),
        "bound": _number_said(of.bound),
    }


def standing_from(document: Document) -> Standing | Rejected:
    """The inverse of ``standing_said``; what breaks a rule is named by field."""

    def read() -> Standing:
        kept = _bounds(document, "kept")
        return Standing(
            child=_name(document, "child"),
            at_s=_whole(document, "at_s"),
            epoch=_whole(document, "epoch", -1),
            number=_whole(document, "number", -1),
            kept=kept,
            p_kw=_number(document.get("p_kw"), "p_kw", np.nan),
            able_kw=_pair(document, "able_kw"),
            plan_kw=_numbers(document, "plan_kw", kept.grid.n, np.nan),
            cost=_number(document.get("cost"), "cost", np.nan),
            bound=_number(document.get("bound"), "bound", np.nan),
        )

    return _checked("standing", document, read)


def _checked(component: str, document: Document, read: Callable[[], T]) -> T | Rejected:
    try:
        return read()
    except _Wrong as wrong:
        child = document.get("child")
        named = (child[:_NAME],) if isinstance(child, str) else ()
        return Rejected(component, wrong.field, named, str(wrong))


# ---- out ---------------------------------------------------------------------------------------------


def _number_said(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _numbers_said(values: NDArray[Any]) -> list[Json]:
    return [_number_said(value) for value in values.tolist()]


def _bounds_said(of: Allowance) -> dict[str, Json]:
    return {
        "edges_s": of.grid.edges_s.tolist(),
        "lo_kw": _numbers_said(of.lo_kw),
        "hi_kw": _numbers_said(of.hi_kw),
        "default_kw": [float(each) for each in of.default_kw],
    }


# ---- in ----------------------------------------------------------------------------------------------


def _bounds(document: Document, name: str = "allowance") -> Allowance:
    of = document.get(name)
    if not isinstance(of, Mapping):
        raise _Wrong(name, "is missing, or no object (rule: edges_s, lo_kw, hi_kw, default_kw)")
    edges = of.get("edges_s")
    if not isinstance(edges, list) or not 2 <= len(edges) <= MOST_STEPS + 1:
        raise _Wrong(f"{name}.edges_s", f"is no list of 2 to {MOST_STEPS + 1} moments")
    moments = [_whole({"edges_s": edge}, "edges_s") for edge in edges]
    if any(b <= a for a, b in pairwise(moments)):
        raise _Wrong(f"{name}.edges_s", "does not ascend")
    grid = TimeGrid(np.array(moments, dtype=np.int64))
    low, high = _numbers(of, "lo_kw", grid.n, -np.inf), _numbers(of, "hi_kw", grid.n, np.inf)
    if not (low <= high).all():
        raise _Wrong(f"{name}.lo_kw", f"is above hi_kw in step {int(np.argmin(low <= high))}")
    return Allowance(grid, low, high, _pair(of, "default_kw"))


def _name(document: Document, field: str) -> str:
    value = document.get(field)
    if not isinstance(value, str) or not 0 < len(value) <= _NAME or not value.isprintable():
        raise _Wrong(field, f"is no text of 1 to {_NAME} printable characters")
    return value


def _whole(document: Document, field: str, least: int = 0) -> int:
    value = document.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**53:
        raise _Wrong(field, f"is no whole number from {least} on")
    return value


def _number(value: object, field: str, absent: float) -> float:
    if value is None:
        return absent
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= _LARGEST:
        raise _Wrong(field, f"holds {value!r:.40} (rule: a number up to {_LARGEST:g} in size, or null)")
    return float(value)


def _numbers(document: Document, field: str, steps: int, absent: float) -> NDArray[np.float64]:
    values = document.get(field)
    if not isinstance(values, list) or len(values) != steps:
        raise _Wrong(field, f"is no list of {steps} numbers, one for each step")
    return np.array([_number(value, field, absent) for value in values])


def _pair(document: Document, field: str) -> tuple[float, float]:
    values = _numbers(document, field, 2, np.nan)
    if not values[0] <= values[1]:
        raise _Wrong(field, "is no lowest and highest power")
    return float(values[0]), float(values[1])

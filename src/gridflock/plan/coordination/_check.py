"""Bad problems, named as values: which field of which limit breaks which rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gridflock.model import Rejected
from gridflock.plan.coordination._problem import LARGEST, Limits, Peaks, Problem, Ramps
from gridflock.plan.devices import Oracle
from gridflock.plan.devices._compiled import Array
from gridflock.units import Mask

TOO_LARGE = f"must be at most {LARGEST:g} in size"
SHOWN = 20
"""Names told of one fault."""


def check(problem: Problem, oracles: Sequence[Oracle] | None = None) -> tuple[Rejected, ...]:
    """Everything in a problem that breaks a rule; empty when it can be coordinated.

    A limit below the unavoidable load is no fault: it gives way at its price and the plan names it.

    Args:
        problem: what couples the groups.
        oracles: who answers, if known already.
    """
    found = list(_whole(problem, oracles))
    if found:
        return tuple(found)
    for kind, of in (("limit", problem.limits), ("ramp", problem.ramps), ("peak", problem.peaks)):
        if of is not None:
            found += _shapes(kind, of, problem)
            if not any(fault.component == kind for fault in found):
                found += _values(kind, of, problem.groups)
    return tuple(found)


def _whole(problem: Problem, oracles: Sequence[Oracle] | None) -> Iterator[Rejected]:
    """Horizon, prices and groups."""
    steps = len(problem.hours)
    if steps < 1:
        yield Rejected("problem", "hours", (), "an empty horizon: at least one step is needed")
    elif not (np.isfinite(problem.hours) & (np.asarray(problem.hours) > 0.0)).all():
        yield Rejected("problem", "hours", (), "must be finite and > 0")
    elif (np.asarray(problem.hours) > LARGEST).any():
        yield Rejected("problem", "hours", (), TOO_LARGE)
    if problem.groups < 1:
        yield Rejected("problem", "groups", (), f"{problem.groups}: at least one group is needed")
    if oracles is not None and sum(oracle.groups for oracle in oracles) != problem.groups:
        answering = sum(oracle.groups for oracle in oracles)
        yield Rejected("problem", "groups", (), f"{problem.groups}, but the oracles answer for {answering}")
    yield from _prices("price", problem.price, (steps,))
    if problem.premium is not None:
        yield from _prices("premium", problem.premium, (problem.groups, steps))


def _prices(field: str, values: Array, shape: tuple[int, ...]) -> Iterator[Rejected]:
    """A price may be negative, but it must be a number."""
    if np.shape(values) != shape:
        yield Rejected("problem", field, (), f"shape {np.shape(values)}, expected {shape}")
        return
    bad = ~np.isfinite(values)
    if bad.any():
        at = ", ".join(f"step {np.atleast_1d(cell)[-1]}" for cell in np.argwhere(bad)[:3])
        yield Rejected("problem", field, (), f"must be finite, is not at {at}", count=int(bad.sum()))
    elif (large := np.abs(values) > LARGEST).any():
        yield Rejected("problem", field, (), TOO_LARGE, count=int(large.sum()))


def _shapes(kind: str, of: Limits | Ramps | Peaks, problem: Problem) -> Iterator[Rejected]:
    """One entry per name, one column per step."""
    many, steps = len(of.names), len(problem.hours)
    for field in ("groups", "coefficient"):
        values = of.groups if field == "groups" else of.coefficient
        if values is not None and len(values) != many:
            yield Rejected(kind, field, (), f"{len(values)} for {many} names")
    numbers = [each for each in of.__slots__ if each not in {"names", "groups", "coefficient"}]
    for field in (each for each in numbers if getattr(of, each) is not None):
        shape = (many,) if field in {"slack_price", "price", "paid_kw", "before_kw"} else (many, steps)
        got = np.shape(getattr(of, field))
        if got != shape:
            yield Rejected(kind, field, (), f"shape {got}, expected {shape}")


def _values(kind: str, of: Limits | Ramps | Peaks, groups: int) -> Iterator[Rejected]:
    """What each name's numbers must be."""
    for field, rule, bad in _rules(of, groups):
        if bad.any():
            names = tuple(name for name, broken in zip(of.names, bad, strict=True) if broken)
            yield Rejected(kind, field, names[:SHOWN], rule, row=int(np.argmax(bad)) + 1, count=len(names))


def _rules(of: Limits | Ramps | Peaks, groups: int) -> Iterator[tuple[str, str, Mask]]:
    """Field, rule, and which of the names (R,) break it."""
    outside = [((g < 0) | (g >= groups)).any() or len(np.unique(g)) < len(g) for g in of.groups]
    yield "groups", f"must be rows below {groups}, each once", np.array(outside, dtype=np.bool_)
    yield "fixed_kw", "must be finite", _anywhere(~np.isfinite(of.fixed_kw))
    price = of.price if isinstance(of, Peaks) else of.slack_price
    field = "price" if isinstance(of, Peaks) else "slack_price"
    yield field, "must be finite and >= 0", ~(np.isfinite(price) & (price >= 0.0))
    yield field, TOO_LARGE, _large(price)
    yield "fixed_kw", TOO_LARGE, _anywhere(_large(of.fixed_kw))
    yield from _rules_of_coefficients(of)
    if isinstance(of, Limits):
        yield from _rules_of_limits(of)
    elif isinstance(of, Ramps):
        yield "most_kw", "must be >= 0", _anywhere(~(of.most_kw >= 0.0))
        yield "before_kw", "must be finite, or NaN for a free first step", np.isinf(of.before_kw)
        yield "before_kw", TOO_LARGE, _large(of.before_kw)
    else:
        yield "paid_kw", "must be finite and >= 0", ~(np.isfinite(of.paid_kw) & (of.paid_kw >= 0.0))
        yield "paid_kw", TOO_LARGE, _large(of.paid_kw)


def _rules_of_limits(of: Limits) -> Iterator[tuple[str, str, Mask]]:
    floor, ceiling = of.floor_kw, of.ceiling_kw
    yield "floor_kw", "must be a number below +inf", _anywhere(~(floor < np.inf))
    yield "ceiling_kw", "must be a number above -inf", _anywhere(~(ceiling > -np.inf))
    yield "floor_kw", "must be <= ceiling_kw", _anywhere(floor > ceiling)
    yield "floor_kw", f"must be at most {LARGEST:g}", _anywhere(_large(floor) & (floor > 0.0))
    yield "ceiling_kw", f"must be at least {-LARGEST:g}", _anywhere(_large(ceiling) & (ceiling < 0.0))


def _rules_of_coefficients(of: Limits | Ramps | Peaks) -> Iterator[tuple[str, str, Mask]]:
    """Only a limit's may differ from step to step."""
    if of.coefficient is None:
        return
    steps = of.fixed_kw.shape[1]
    by_step = isinstance(of, Limits)
    odd = [
        np.shape(c) not in ({(len(g),), (len(g), steps)} if by_step else {(len(g),)})
        or not np.isfinite(c).all()
        for c, g in zip(of.coefficient, of.groups, strict=True)
    ]
    rule = "must be finite, one for each group" + (", or one for each group and step" if by_step else "")
    yield "coefficient", rule, np.array(odd, dtype=np.bool_)
    large = [bool(_large(np.asarray(c)).any()) for c in of.coefficient]
    yield "coefficient", TOO_LARGE, np.array(large, dtype=np.bool_)


def _large(values: Array) -> Mask:
    """Which are numbers beyond what anything here can be; endless ones have rules of their own."""
    found: Mask = np.isfinite(values) & (np.abs(values) > LARGEST)
    return found


def _anywhere(bad: Mask) -> Mask:
    """(R,) rows (R, T) with a bad step."""
    found: Mask = np.asarray(bad.any(axis=1))
    return found

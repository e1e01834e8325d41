"""What was asked of the plan, as wishes that can be held or let go, cell by cell."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from gridflock.model import Flexibility
from gridflock.plan._reason import HEAD
from gridflock.plan._terms import Band, Ramp, Terms
from gridflock.plan.direct import Floats, GroupRows, Indices, Model, Placed, band_penalty, build
from gridflock.units import Kw

_FREE_KWH = 1e-9
_OF_ENERGY = ("band", "more by the end")


@dataclass(frozen=True, slots=True, eq=False)
class Wish:
    """One thing that somebody asked for, over some steps; each step of it is a cell.

    Attributes:
        name: whose wish, in words.
        verb: what it says of ``asked``: ``"at most"``, ``"at least"``, ``"change by at most"``,
            ``"more by the end"``; ``"band"`` says nothing of it.
        steps: (n,) steps of the grid.
        asked: (n,) kW or kWh.
        slack: (m, n) columns of the program by which the wish gives way, -1 for none.
        penalty: (n,) money per kW over the step, or per kWh, that the plan pays for giving way.
    """

    name: str
    verb: str
    steps: Indices
    asked: Floats
    slack: Indices
    penalty: Floats

    @property
    def energy(self) -> bool:
        """True where ``asked`` is kWh in store at the end of a step, False for kW over it."""
        return self.verb in _OF_ENERGY


def wished(
    flexibility: Flexibility, fixed_kw: Kw, terms: Terms, yielding: Collection[str]
) -> tuple[Model, tuple[Wish, ...]]:
    """The plan's program with a slack for every wish, and the wishes.

    The plan itself never trades energy that a store owes against a limit; here it may give, so that
    a need and a limit that cannot both be met are seen as the two sides of a conflict. The least level
    of a store over the horizon counts as physics (empty), what is asked above it as a wish. What is
    full is physics too. Of the groups in ``yielding`` (comfort) and of those that cannot keep their
    band by themselves the rest of the band is a wish as well.

    Args:
        flexibility: sound.
        fixed_kw: (T,) sound.
        terms: sound.
        yielding: groups whose whole band may give.
    """
    model = build(flexibility, fixed_kw, terms)
    found = [*_head(model, flexibility, terms)]
    for block in model.group_rows:
        found += _bounds(block, flexibility, terms)
    for placed in model.blocks:
        found += [w for w in _goal(placed) if _kept_at_a_price(w, flexibility, terms)]
    penalty = np.full(flexibility.grid.n, band_penalty(terms))
    for m, g in enumerate(model.strained):
        found += _strained(model, flexibility, int(m), int(g), penalty)
    for k, g in enumerate(model.stores):
        if g not in model.strained:
            found += _owed(model, flexibility, int(k), int(g), penalty, yielding)
    return model, tuple(found)


def _head(model: Model, flexibility: Flexibility, terms: Terms) -> Iterator[Wish]:
    """The limits of the feeder head."""
    limits = (terms.import_limit_kw, terms.export_limit_kw)
    for name, limit, beyond in zip(HEAD, limits, model.beyond, strict=True):
        steps = np.flatnonzero(beyond >= 0)
        if steps.size:
            penalty = terms.limit_penalty * flexibility.grid.hours[steps]
            yield Wish(name, "at most", steps, limit[steps], beyond[None, steps], penalty)


def _bounds(block: GroupRows, flexibility: Flexibility, terms: Terms) -> Iterator[Wish]:
    """Both sides of an envelope."""
    limit, penalty = block.limit, terms.limit_penalty * flexibility.grid.hours[block.steps]
    name = f"{limit.source} (limit of {limit.group})"
    sides = (("at least", limit.p_lo_kw, block.under), ("at most", limit.p_hi_kw, block.over))
    for verb, bound, columns in sides:
        if np.isfinite(bound):
            asked = np.full(len(block.steps), bound)
            yield Wish(name, verb, block.steps, asked, columns[None], penalty)


def _goal(placed: Placed) -> Iterator[Wish]:
    """Rows of a goal that may give way: bands and ramps; peaks and shares are money."""
    block, steps = placed.block, placed.steps
    if isinstance(block, Ramp):
        cost = placed.cost.reshape(2, -1)[0]
        yield Wish(block.name, "change by at most", steps, block.limits_kw[steps], placed.slack, cost)
    if isinstance(block, Band):
        below = int(np.isfinite(block.lo_kw).sum())
        for verb, bound, part in (
            ("at least", block.lo_kw, slice(None, below)),
            ("at most", block.hi_kw, slice(below, None)),
        ):
            where = steps[part]
            if where.size:
                yield Wish(block.name, verb, where, bound[where], placed.slack[:, part], placed.cost[part])


def _kept_at_a_price(wish: Wish, flexibility: Flexibility, terms: Terms) -> bool:
    """Whether breaking it is dearer than energy; what is cheaper is a preference, meant to be traded."""
    per_kwh = wish.penalty / flexibility.grid.hours[wish.steps]
    return bool(per_kwh.max() > np.abs(terms.import_price).max())


def _strained(model: Model, f: Flexibility, m: int, g: int, penalty: Floats) -> Iterator[Wish]:
    """The band of a store that cannot keep it by itself: what is owed, and the rest of it."""
    lo, group, slack = f.x_lo_kwh[g, 1:], f.groups[g], model.band_slack[:, m]
    owed = _above_the_floor(f, g)
    if owed.size:
        yield _levels(group, owed, lo, slack[0, owed], penalty)
    rest = slack.copy()
    rest[0, owed] = -1
    yield Wish(f"energy band of {group}", "band", np.arange(f.grid.n), lo, rest, penalty)


def _levels(group: str, steps: Indices, lo: Floats, slack: Indices, penalty: Floats) -> Wish:
    """What is owed, one cell per level: to hold what was reached is no wish of its own."""
    rises = np.flatnonzero((np.diff(steps) > 1) | (np.diff(lo[steps]) != 0)) + 1
    first = np.append(0, rises)
    sizes = np.diff(np.append(first, len(steps)))
    columns = np.full((int(sizes.max()), len(first)), -1, dtype=np.int64)
    columns[np.arange(len(steps)) - np.repeat(first, sizes), np.repeat(np.arange(len(first)), sizes)] = slack
    by = steps[first]
    return Wish(f"energy owed to {group}", "more by the end", by, lo[by], columns, penalty[by])


def _above_the_floor(f: Flexibility, g: int) -> Indices:
    """Steps at whose end more is asked for than the least that is ever asked: a wish, no physics."""
    lo, floor = f.x_lo_kwh[g, 1:], float(f.x_lo_kwh[g].min())
    return np.flatnonzero(lo > floor + _FREE_KWH if np.isfinite(floor) else np.isfinite(lo))


def _owed(
    model: Model, f: Flexibility, k: int, g: int, penalty: Floats, yielding: Collection[str]
) -> Iterator[Wish]:
    """The part of a store's band that is a wish, with rows and slack of its own."""
    program = model.program
    lo, hi = f.x_lo_kwh[g, 1:], f.x_hi_kwh[g, 1:]
    if f.groups[g] in yielding:
        program.bound(model.level[k], -np.inf, np.inf)
        steps = np.arange(f.grid.n)
        rows = program.rows(lo, hi)
        slack = program.columns(np.stack([penalty, penalty]), 0.0, np.inf)
        program.put(rows, model.level[k], 1.0)
        program.put(rows, slack, np.array([[1.0], [-1.0]]))
        yield Wish(f"energy band of {f.groups[g]}", "band", steps, lo, slack, penalty)
        return
    steps = _above_the_floor(f, g)
    if not steps.size:
        return
    program.bound(model.level[k, steps], float(f.x_lo_kwh[g].min()), None)
    rows = program.rows(lo[steps], np.full(len(steps), np.inf))
    slack = program.columns(penalty[steps][None], 0.0, np.inf)
    program.put(rows, model.level[k, steps], 1.0)
    program.put(rows, slack, 1.0)
    yield _levels(f.groups[g], steps, lo, slack[0], penalty)

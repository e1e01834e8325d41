"""What a system above allows and asks: its bounds in a tick and in a plan, its wish, its prices.

A system that stands under another one has a name and a default (``Settings.name``, ``Settings.default_kw``):
between those powers it stays while nothing is said. What is said is a ``Directive``; it narrows what the
feeder's own limits leave, and never widens it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch.hierarchy import WANT_S, Child
from gridflock.fleet import Image
from gridflock.model import Allowance, Directive, Entry, Envelope, Json, Priority, Proposal
from gridflock.runtime._kept import KeptBroken, from_bytes, to_bytes
from gridflock.runtime._settings import Settings
from gridflock.schema import Kind
from gridflock.units import Kw, Money, Rows, TimeGrid

KIND = "directive"
"""Kind of ledger entries that keep what a system above said, at either end."""
AUTHOR = "above"
"""Who asks as a system above, where code in the same process speaks for it."""
SOURCE = "allowance of the system above"
SKEW_S = 5
"""By how much the clocks of two systems may differ."""
_STALE_S = 300
"""An older reading of the feeder head says nothing of this moment."""
_LARGEST_SHOWN = 1e9


# ---- kept --------------------------------------------------------------------------------------------


def entry_of(child: Child, now_s: int, author: str = "") -> Entry:
    """What the ledger keeps of a directive before it is adopted, or said to be kept: it, and all that holds.

    Args:
        child: the lower end of the border, as it is from then on.
        now_s: moment, unix seconds.
        author: who said the directive; empty where the child says that it keeps it.
    """
    directive = child.adopted
    assert directive is not None, "a child that has heard a directive has one"
    low, high = directive.allowance.at(now_s)
    said = f"allowance of {author}" if author else "keeps its allowance"
    head: dict[str, Json] = {
        "text": f"{said}: {_power(low)} to {_power(high)} kW now",
        "author": author or directive.author,
        "epoch": directive.epoch,
        "number": directive.number,
    }
    return Entry(KIND, now_s, head, {"child": np.frombuffer(to_bytes(child), dtype=np.uint8)})


def remembered(entries: Iterable[Entry], name: str, default_kw: tuple[float, float] | None) -> Child | None:
    """The lower end of the border as the newest entry tells it; None where it was of another agreement."""
    newest: Entry | None = None
    for entry in entries:
        newest = entry if "child" in entry.columns else newest
    if newest is None or default_kw is None:
        return None
    try:
        child = from_bytes(newest.columns["child"].tobytes())
    except KeptBroken:
        return None  # of another version
    agreed = isinstance(child, Child) and (child.name, child.kept.default_kw) == (name, default_kw)
    return child if agreed else None


def _power(kw: float) -> str:
    return f"{kw:.1f}" if abs(kw) < _LARGEST_SHOWN else "no bound"


def id_of(author: str) -> str:
    """What is asked as a system above by an author is known, approved and booked by: of nobody else."""
    return f"{AUTHOR}:{author}" if author else AUTHOR


# ---- in a tick ---------------------------------------------------------------------------------------


def allowance_of(directive: Directive | None, settings: Settings) -> Allowance | None:
    """What holds: the newest directive's allowance, or the default; None for a system that stands alone."""
    if settings.default_kw is None:
        return None
    if directive is not None:
        return directive.allowance
    grid = TimeGrid(np.array([0, 1], dtype=np.int64))
    low, high = (np.array([bound]) for bound in settings.default_kw)
    return Allowance(grid, low, high, settings.default_kw)


def narrowed(own: Envelope, directive: Directive | None, settings: Settings, now_s: int) -> Envelope:
    """The feeder's limits of this moment within what is allowed.

    Within two ticks of the edge of two steps the bounds of both hold: orders take a tick to come about. Of
    what a credential from outside says all that lets less pass the head, either way, holds at once; what
    forces power through it is told by ``forced``.

    Args:
        own: limits of the feeder's own.
        directive: the newest one; None before the first.
        settings: of the system.
        now_s: moment, unix seconds.
    """
    allowance = allowance_of(directive, settings)
    if allowance is None:
        return own
    low, high = allowance.at(now_s, max(SKEW_S, 2 * settings.tick_s))
    if directive is not None and settings.policy.guard.outside(directive.author):
        low, high = min(low, 0.0), max(high, 0.0)
    tighter = [
        side for side, binds in (("import", low > own.p_lo_kw), ("export", high < own.p_hi_kw)) if binds
    ]
    if not tighter:
        return own
    source = SOURCE if len(tighter) > 1 else f"{tighter[0]}: {SOURCE}; else {own.source}"
    return replace(own, p_lo_kw=max(low, own.p_lo_kw), p_hi_kw=min(high, own.p_hi_kw), source=source)


def forced(
    envelopes: Sequence[Envelope], directive: Directive | None, settings: Settings, now_s: int
) -> tuple[Envelope, ...]:
    """The limits of a tick with a flow that an outside credential forces through the head; else none.

    It goes no further than the feeder's own limits.

    Args:
        envelopes: as ``narrowed`` leaves that of the head.
        directive: the newest one; None before the first.
        settings: of the system.
        now_s: moment, unix seconds.
    """
    if directive is None or not settings.policy.guard.outside(directive.author):
        return ()
    low, high = directive.allowance.at(now_s, max(SKEW_S, 2 * settings.tick_s))
    if low <= 0.0 <= high:
        return ()
    return tuple(
        replace(
            one,
            p_lo_kw=max(one.p_lo_kw, min(low, one.p_hi_kw)),
            p_hi_kw=min(one.p_hi_kw, max(high, one.p_lo_kw)),
            source=SOURCE,
        )
        if one.group == settings.policy.head_group
        else one
        for one in envelopes
    )


def asks_more(directive: Directive) -> bool:
    """Whether a directive asks for anything but to let less pass the head."""
    bounds = directive.allowance
    forces = (bounds.lo_kw > 0.0).any() or (bounds.hi_kw < 0.0).any()
    prices = np.nan_to_num(directive.price).any()
    return bool(forces or prices or np.isfinite(directive.want_kw).any())


def measured_kw(image: Image) -> float:
    """Injection at the feeder head where it is measured now; NaN where it is not."""
    head = np.flatnonzero(image.kind == Kind.FEEDER_HEAD)
    if len(head) == 0 or image.silent(_STALE_S)[head].any():
        return float("nan")
    return float(image.p_kw[head].sum(dtype=np.float64))


def asked(directive: Directive | None, image: Image, rows: Rows, head_group: str) -> tuple[Proposal, ...]:
    """The wish of a directive at this moment, turned from the feeder's net into the sum of resources.

    While the head is not measured nothing can be wished of it; what is not said again is wished no longer.

    Args:
        directive: the newest one; None before the first.
        image: the process image.
        rows: of the resources that move the feeder's net.
        head_group: their group.
    """
    now_s = image.now_s
    k = -1 if directive is None else directive.allowance.grid.step_at(now_s)
    if directive is None or k < 0 or not np.isfinite(directive.want_kw[k]):
        return ()
    until_s = min(int(directive.allowance.grid.edges_s[k + 1]), directive.accept_until_s + WANT_S)
    if now_s >= until_s:
        return ()
    outside_kw = measured_kw(image) - float(np.nansum(image.p_kw[rows], dtype=np.float64))
    if not np.isfinite(outside_kw):
        return ()
    return (
        Proposal(
            id=id_of(directive.author),
            group=head_group,
            priority=Priority.MARKET,
            author=directive.author or AUTHOR,
            why=f"wanted at the head by the system above: {directive.want_kw[k]:.1f} kW",
            start_s=now_s,
            until_s=until_s,
            p_kw=float(directive.want_kw[k]) - outside_kw,
        ),
    )


# ---- in a plan ---------------------------------------------------------------------------------------


def head_limits(
    own: Envelope, directive: Directive | None, settings: Settings, grid: TimeGrid
) -> tuple[Kw, Kw]:
    """(T,) largest import and (T,) largest export of a plan, both >= 0.

    Args:
        own: limits of the feeder's own, taken to last.
        directive: the newest one; None before the first.
        settings: of the system.
        grid: T steps of the plan.
    """
    low, high = np.full(grid.n, own.p_lo_kw), np.full(grid.n, own.p_hi_kw)
    allowance = allowance_of(directive, settings)
    if allowance is not None:
        least, most = allowance.within(grid)
        low, high = np.maximum(low, least), np.minimum(high, most)
    return np.maximum(0.0, -low), np.maximum(0.0, high)


def price_shift(directive: Directive | None, grid: TimeGrid) -> Money:
    """(T,) by how much a kWh at the head is worth more than the tariff says; 0 where nothing is said."""
    if directive is None:
        return np.zeros(grid.n)
    return np.nan_to_num(mean_over(directive.allowance.grid, directive.price, grid))


def mean_over(of: TimeGrid, values: Kw | Money, grid: TimeGrid) -> NDArray[np.float64]:
    """(T',) mean of a course within each step of another grid, weighted by time; NaN where it says nothing.

    Args:
        of: T steps.
        values: (T,) NaN where absent.
        grid: T' steps.
    """
    starts = np.maximum(of.edges_s[None, :-1], grid.edges_s[:-1, None])
    ends = np.minimum(of.edges_s[None, 1:], grid.edges_s[1:, None])
    weight = np.maximum(ends - starts, 0) * np.isfinite(values)
    whole = weight.sum(axis=1)
    none = np.full(grid.n, np.nan)
    mean: NDArray[np.float64] = np.divide(weight @ np.nan_to_num(values), whole, out=none, where=whole > 0)
    return mean

"""Columns of devices that break a rule, named by field and device before anybody plans with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gridflock.model import Rejected
from gridflock.plan.devices._compiled import Array, Indices
from gridflock.units import Mask, Money

Rule = tuple[str, str, Mask]
"""Field, rule in words, and (m,) or (m, ...) where it is kept."""
SHOWN = 20
"""So many ids stand in one refusal."""


def unanswered(price: Array, cost: Money) -> Money:
    """Own costs (n,), NaN where the prices asked at (n, T) are no numbers: nothing is best at those."""
    told: Money = np.where(np.isfinite(price).all(axis=1), cost, np.nan)
    return told


def misshapen(of: object, wanted: Mapping[str, tuple[int, ...]]) -> tuple[Rejected, ...]:
    """Columns of another shape than the others need.

    Args:
        of: a set of devices.
        wanted: field -> shape.
    """
    shapes = {field: np.shape(getattr(of, field)) for field in wanted}
    return tuple(
        Rejected("device", field, (), f"shape {shapes[field]}, expected {shape}")
        for field, shape in wanted.items()
        if shapes[field] != shape
    )


def between(lo: Array | Indices | float, values: Array | Indices, hi: Array | float) -> Mask:
    """Where values lie between two bounds; a NaN does not."""
    kept: Mask = (lo <= values) & (values <= hi)
    return kept


def misgrouped(start: Indices, count: int) -> tuple[Rejected, ...]:
    """Groups that do not share out ``count`` devices, each to one of them."""
    edges = np.asarray(start)
    if (
        edges.ndim == 1
        and edges.size
        and edges[0] == 0
        and edges[-1] == count
        and (np.diff(edges) >= 0).all()
    ):
        return ()
    return (Rejected("device", "start", (), f"must rise from 0 to {count}"),)


def broken(names: Sequence[str], rules: Sequence[Rule]) -> tuple[Rejected, ...]:
    """One refusal for each rule that any device breaks.

    Args:
        names: m ids.
        rules: what is kept where; a comparison with NaN is not.
    """
    found = []
    for field, rule, kept in rules:
        bad = np.flatnonzero(~np.all(kept, axis=tuple(range(1, np.ndim(kept)))))
        if len(bad):
            ids = tuple(names[k] for k in bad[:SHOWN])
            found.append(Rejected("device", field, ids, rule, count=len(bad)))
    return tuple(found)

"""What stands against a promise about futures before any is looked at, in words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gridflock.model import Flexibility
from gridflock.plan._reason import HEAD
from gridflock.plan._terms import Band, Terms
from gridflock.plan.scenario._paths import Paths

FEWEST = 2
"""One path to learn the errors from, and one to count with."""


def path_faults(f: Flexibility, paths: Paths) -> tuple[str, ...]:
    """Paths that no limit can be held against: too few, of another shape, or with unknown power.

    Args:
        f: G groups over T steps.
        paths: of as many groups and steps.
    """
    count = len(paths.weight)
    if count < FEWEST:
        return (f"paths: {count} (rule: at least {FEWEST}, half to learn from and half to count)",)
    wanted = {"fixed_kw": (paths.fixed_kw, (count, f.grid.n)), "weight": (paths.weight, (count,))}
    if paths.base_kw is not None:
        wanted["base_kw"] = (paths.base_kw, (count, len(f.groups), f.grid.n))
    found = []
    for name, (values, shape) in wanted.items():
        if np.shape(values) != shape:
            found.append(f"paths: {name} has shape {np.shape(values)}, expected {shape}")
        elif not np.isfinite(values).all():
            unknown = int((~np.isfinite(values)).sum())
            found.append(f"paths: {name} is not finite in {unknown} cells (rule: every cell is known)")
    if not found and not (paths.weight > 0).all():
        found.append("paths: weight is not above 0 everywhere (rule: each can happen)")
    return tuple(found)


def limit_faults(terms: Terms) -> tuple[str, ...]:
    """Limits that are no numbers, and that nothing can be put in place of.

    Args:
        terms: of any number of steps.
    """
    return tuple(f"{name}: no number to hold (rule: {rule})" for name, rule in _unknown(terms))


def _unknown(terms: Terms) -> Iterator[tuple[str, str]]:
    for name, limit in zip(HEAD, (terms.import_limit_kw, terms.export_limit_kw), strict=True):
        if not (np.asarray(limit) >= 0).any():
            yield name, "0 kW or more in a step at least"
    for envelope in terms.group_limits:
        if np.isnan(envelope.p_lo_kw) or np.isnan(envelope.p_hi_kw):
            yield f"{envelope.source} (limit of {envelope.group})", "both bounds are numbers or endless"
    for block in terms.blocks:
        if isinstance(block, Band) and (np.isnan(block.lo_kw).any() or np.isnan(block.hi_kw).any()):
            yield block.name, "every bound is a number or endless"

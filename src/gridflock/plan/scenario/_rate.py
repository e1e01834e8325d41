"""How often limits break under a schedule, and what it costs on the way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from gridflock.model import Flexibility
from gridflock.plan._reason import HEAD
from gridflock.plan._terms import Band, Terms, default_end_value, premiums
from gridflock.plan.scenario._paths import Floats, Paths
from gridflock.units import Kw, Mask

_BROKEN_KW = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A limit that a path may break.

    Attributes:
        name: in words.
        planned_kw: (T,) its flow under the schedule if all goes as expected.
        error_kw: (K, T) how much more injection a path brings there.
        lo_kw: (T,) or -inf.
        hi_kw: (T,) or +inf.
    """

    name: str
    planned_kw: Kw
    error_kw: Kw
    lo_kw: Kw
    hi_kw: Kw

    def beyond_kw(self) -> Kw:
        """(K, T) by how much each path breaks it; 0 where it holds, endless where its flow is unknown."""
        flow = self.planned_kw + self.error_kw
        beyond: Kw = np.maximum(np.maximum(self.lo_kw - flow, flow - self.hi_kw), 0.0)
        return np.where(np.isnan(flow), np.inf, np.where(beyond > _BROKEN_KW, beyond, 0.0))


def rows_of(f: Flexibility, fixed_kw: Kw, terms: Terms, paths: Paths, p_kw: Kw) -> tuple[Row, ...]:
    """Every limit of the terms with its flow under a schedule (G, T) and the errors of the paths.

    What was asked of a group is moved on top of what it does unasked, whatever that turns out to be.
    """
    moved = (
        np.zeros((paths.n, len(f.groups), f.grid.n)) if paths.base_kw is None else paths.base_kw - f.base_kw
    )
    head_error = paths.fixed_kw - fixed_kw + moved.sum(axis=1)
    net, endless = fixed_kw + p_kw.sum(axis=0), np.full(f.grid.n, np.inf)
    rows = [
        Row(HEAD[0], net, head_error, -np.asarray(terms.import_limit_kw), endless),
        Row(HEAD[1], net, head_error, -endless, np.asarray(terms.export_limit_kw)),
    ]
    for limit in terms.group_limits:
        names = set(terms.members.get(limit.group, (limit.group,)))
        of = np.flatnonzero([group in names for group in f.groups])
        valid = f.grid.starts_s < limit.until_s
        lo, hi = np.where(valid, limit.p_lo_kw, -np.inf), np.where(valid, limit.p_hi_kw, np.inf)
        name = f"{limit.source} (limit of {limit.group})"
        rows.append(Row(name, p_kw[of].sum(axis=0), moved[:, of].sum(axis=1), lo, hi))
    for block in terms.blocks:
        if isinstance(block, Band):
            of, share = block.flow.rows_of(f)
            error = np.einsum("g,kgt->kt", share, moved[:, of])
            rows.append(Row(block.name, block.flow.power_kw(f, p_kw), error, block.lo_kw, block.hi_kw))
    return tuple(rows)


def broken(rows: tuple[Row, ...], steps: int) -> Mask:
    """(K,) paths that break any limit in the first ``steps`` steps."""
    found: Mask = np.any([row.beyond_kw()[:, :steps].any(axis=1) for row in rows], axis=0)
    return found


def upper_bound(count: int, of: int, confidence: float) -> float:
    """The rate that ``count`` cases of ``of`` leave possible: Clopper and Pearson, Biometrika 26, 1934."""
    return 1.0 if count >= of else float(betaincinv(count + 1, of - count, confidence))


def chance_above(target: float, unseen: int, count: int, of: int) -> float:
    """Chance that more than the target's share of unseen futures break, after ``count`` of ``of`` did.

    The beta-binomial distribution over Clopper and Pearson's own; for endless futures it is their bound.
    """
    from scipy.stats import betabinom  # noqa: PLC0415 -- a second of import that few ask for

    allowed = int(np.floor(target * unseen + 1e-9))
    return 1.0 if count >= of else float(betabinom.sf(allowed, unseen, count + 1, of - count))


def expected_cost(f: Flexibility, terms: Terms, paths: Paths, p_kw: Kw) -> float:
    """Money of a schedule over the paths: energy, peak and own costs less what is left; no penalties."""
    base = 0.0 if paths.base_kw is None else (paths.base_kw - f.base_kw).sum(axis=1)
    net = paths.fixed_kw + base + p_kw.sum(axis=0)
    hours = f.grid.hours
    bought, sold = np.maximum(-net, 0.0), np.maximum(net, 0.0)
    peak = np.maximum(bought.max(axis=1) - terms.peak_so_far_kw, 0.0)
    per_path = (bought * terms.import_price - sold * terms.export_price) @ hours + terms.peak_price * peak
    return float(paths.weight @ per_path) + _own(f, terms, p_kw, hours)


def _own(f: Flexibility, terms: Terms, p_kw: Kw, hours: Floats) -> float:
    """Money of the groups' own costs, less what is left in store and what premiums earn."""
    moved = p_kw - f.base_kw
    up, down = np.maximum(moved, 0.0) * hours, np.maximum(-moved, 0.0) * hours
    end = default_end_value(f, terms)
    for g, group in enumerate(f.groups):
        end[g] = terms.end_value.get(group, end[g])
    stores = (np.isfinite(f.x_lo_kwh[:, 1:]) | np.isfinite(f.x_hi_kwh[:, 1:])).any(axis=1)
    left = f.gain_up * up.sum(axis=1) + f.gain_down * down.sum(axis=1)
    own = f.cost_up @ up.sum(axis=1) + f.cost_down @ down.sum(axis=1)
    earned = float((premiums(f, terms) * moved * hours).sum())
    return float(own - np.where(stores, end, 0.0) @ left) - earned


@dataclass(frozen=True, slots=True)
class Violations:
    """What a schedule comes to on some futures.

    Attributes:
        rate: share of futures with any limit broken.
        rate_at_most: upper confidence bound of the true share.
        worst_kw: largest break.
        by_row: share of futures that break each limit, by name, only those that do.
        cost: expected money without penalties.
    """

    rate: float
    rate_at_most: float
    worst_kw: float
    by_row: tuple[tuple[str, float], ...]
    cost: float


def violations(
    flexibility: Flexibility,
    fixed: Kw,
    terms: Terms,
    paths: Paths,
    p_kw: Kw,
    *,
    steps: int | None = None,
    confidence: float = 0.99,
) -> Violations:
    """How a schedule fares on futures, against the true limits.

    Args:
        flexibility: G groups over T steps.
        fixed: (T,) expected kW of everything that takes no orders.
        terms: the true limits and prices.
        paths: futures.
        p_kw: (G, T) the schedule.
        steps: how many of the first steps count; all where None.
        confidence: of ``rate_at_most``.
    """
    until = flexibility.grid.n if steps is None else steps
    rows = rows_of(flexibility, fixed, terms, paths, p_kw)
    bad = broken(rows, until)
    shares = [(row.name, float((row.beyond_kw()[:, :until] > 0).any(axis=1).mean())) for row in rows]
    return Violations(
        rate=float(bad.mean()),
        rate_at_most=upper_bound(int(bad.sum()), paths.n, confidence),
        worst_kw=float(max(row.beyond_kw()[:, :until].max() for row in rows)),
        by_row=tuple((name, share) for name, share in shares if share > 0),
        cost=expected_cost(flexibility, terms, paths, p_kw),
    )

"""Readings that are missing, stand still, lie outside the nameplate or have the wrong sign."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet._columns import Fleet, Image
from gridflock.fleet.doctor._evidence import Thresholds, Trace
from gridflock.fleet.doctor._rules import Findings
from gridflock.schema import TELEMETRY, Enrolment, Family, Kind
from gridflock.units import NEVER_S, Mask

_SLACK, _SLACK_KW = 0.1, 0.2
"""So much beyond a nameplate, as a share and at least, is measurement."""
_WRONG_TIMES = 12
_MOVING_SHARE, _FEWEST_PEERS = 0.5, 4
_ENERGY_AGREES = 0.5
_CONSUMERS = (Family.THERMAL, Family.SHED)
_Array = NDArray[np.float64]


def check_present(fleet: Fleet, image: Image, service: Mask, limits: Thresholds, found: Findings) -> None:
    """What the newest readings and their arrival say.

    Args:
        fleet: n resources.
        image: their present.
        service: bool (n,) rows that count.
        limits: from where on.
        found: takes what is wrong.
    """
    heard = image.heard_s != NEVER_S
    if not heard.any():
        found.skip("nothing was heard of anybody", "never-heard", "dead", "clock-wrong")
        return
    enrolled = service & (fleet.columns["enrolment"] == Enrolment.ENROLLED)
    found.add("never-heard", enrolled & ~heard)
    found.add("dead", enrolled & heard & image.silent(limits.dead_s))
    quality = fleet.reading_quality(image.now_s, stale_s=limits.dead_s)
    for field, count in (("behind", quality.behind), ("ahead", quality.ahead)):
        found.add("clock-wrong", service & (count >= _WRONG_TIMES), f"its clock is {field}", "time_s")
    for code in range(8):
        standing = service & (quality.standing >> code & 1 == 1)
        found.add("stuck", standing, field=TELEMETRY[code].name)


def check_levels(
    fleet: Fleet, image: Image, service: Mask, trace: Trace | None, limits: Thresholds, found: Findings
) -> None:
    """Signs and sizes of readings against the nameplates, now and over the trace.

    Args:
        fleet: n resources.
        image: their present.
        service: bool (n,) rows that count.
        trace: readings over time.
        limits: from where on.
        found: takes what is wrong.
    """
    turned = np.zeros(len(fleet.ids), dtype=bool)
    if trace is None or trace.p_kw is None:
        found.skip("no power over time is given", "sign-suspect")
    else:
        turned[trace.rows] = _turned(fleet, trace, trace.p_kw, limits.fewest)
        found.add("sign-suspect", service & turned)
    for field, low, high in (("p_kw", *_power_kw(fleet)), ("e_kwh", *_energy_kwh(fleet))):
        now = getattr(image, field)
        off = (now < low) | (now > high)
        values = None if trace is None else getattr(trace, field)
        if trace is not None and values is not None:
            beyond = (values < low[trace.rows]) | (values > high[trace.rows])
            heard = np.count_nonzero(~np.isnan(values), axis=0)
            often = np.count_nonzero(beyond, axis=0) > limits.off_scale * heard
            off[trace.rows] |= often & (heard >= limits.fewest)
        found.add("outside-nameplate", service & off & ~turned, field=field)


def check_standstill(
    fleet: Fleet, service: Mask, trace: Trace | None, limits: Thresholds, found: Findings
) -> None:
    """Readings that repeat themselves over the whole trace, while most of those of the same kind move.

    Args:
        fleet: n resources.
        service: bool (n,) rows that count.
        trace: readings over time.
        limits: from where on.
        found: takes what is wrong.
    """
    kind = fleet.columns["kind"] if trace is None else fleet.columns["kind"][trace.rows]
    for field in ("p_kw", "v_pu"):
        values = None if trace is None else getattr(trace, field)
        if trace is None or values is None:
            continue
        known = ~np.isnan(values)
        heard = known.sum(axis=0) >= limits.fewest
        top = np.where(known, values, -np.inf).max(axis=0)
        moves = heard & (top > np.where(known, values, np.inf).min(axis=0))
        peers, movers = (np.bincount(kind[mask], minlength=len(Kind)) for mask in (heard, moves))
        lively = ((peers >= _FEWEST_PEERS) & (movers >= _MOVING_SHARE * peers))[kind]
        # A device at rest repeats its zero.
        stands = np.zeros(len(fleet.ids), dtype=bool)
        stands[trace.rows] = heard & ~moves & lively & (top != 0.0)
        found.add("stuck", service & stands, field=field)


def _slack_kw(fleet: Fleet) -> _Array:
    size = np.maximum(fleet.columns["p_max_kw"], -fleet.columns["p_min_kw"]).astype(np.float64)
    slack: _Array = np.maximum(_SLACK * size, _SLACK_KW)
    return slack


def _power_kw(fleet: Fleet) -> tuple[_Array, _Array]:
    """Lowest and highest power that a reading may show; of a process its flexible part says nothing."""
    slack, family = _slack_kw(fleet), fleet.family
    low, high = fleet.columns["p_min_kw"] - slack, fleet.columns["p_max_kw"] + slack
    low[np.isin(family, (Family.SHED, Family.NONE))] = -np.inf
    high[family == Family.NONE] = np.inf
    return low, high


def _energy_kwh(fleet: Fleet) -> tuple[_Array, _Array]:
    """Lowest and highest content of batteries and vehicles; thermal stores may leave their comfort band."""
    full = fleet.columns["e_max_kwh"].astype(np.float64)
    slack = np.maximum(_SLACK * full, _SLACK_KW)
    free = ~np.isin(fleet.family, (Family.STORAGE, Family.VEHICLE)) | ~(full > 0)
    return np.where(free, -np.inf, -slack), np.where(free, np.inf, full + slack)


def _turned(fleet: Fleet, trace: Trace, p_kw: NDArray[np.floating[Any]], fewest: int) -> Mask:
    """Resources of a trace whose power has the wrong sign, bool (m,)."""
    rows = trace.rows
    family, slack = fleet.family[rows], _slack_kw(fleet)[rows]
    heard = np.count_nonzero(~np.isnan(p_kw), axis=0) >= fewest
    top = np.where(np.isnan(p_kw), -np.inf, p_kw).max(axis=0)
    bottom = np.where(np.isnan(p_kw), np.inf, p_kw).min(axis=0)
    produces = np.isin(family, (Family.RENEWABLE, Family.GENERATOR))
    consumes = np.isin(family, _CONSUMERS) | np.isin(fleet.columns["kind"][rows], (Kind.LOAD, Kind.EV_V1G))
    turned: Mask = produces & (top <= slack) & (bottom < -slack)
    turned |= consumes & (bottom >= -slack) & (top > slack)
    if trace.e_kwh is not None:
        turned |= (family == Family.STORAGE) & _fills_while_injecting(p_kw, trace.e_kwh, fewest)
    turned &= heard
    return turned


def _fills_while_injecting(
    p_kw: NDArray[np.floating[Any]], e_kwh: NDArray[np.floating[Any]], fewest: int
) -> Mask:
    """Stores whose content rises with their injection: correlation of power and growth, step by step."""
    mean = 0.5 * (p_kw[1:] + p_kw[:-1]).astype(np.float64)
    growth = np.diff(e_kwh.astype(np.float64), axis=0)
    known = ~np.isnan(mean + growth)
    count = known.sum(axis=0)
    mean, growth = (np.where(known, values, 0.0) for values in (mean, growth))
    product = (mean * growth).sum(axis=0)
    spread = np.sqrt((mean**2).sum(axis=0) * (growth**2).sum(axis=0))
    rises: Mask = (count >= fewest) & (spread > 0) & (product > _ENERGY_AGREES * spread)
    return rises

"""Groups in twelve parameters: what is, what can be ordered, what is installed (5.5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet._capability import present_kw
from gridflock.fleet._columns import Image
from gridflock.fleet._reactive import REACTIVE_SHARE, reactive_room
from gridflock.fleet.groups import Groups
from gridflock.model import Capability, Parameter, ParameterForecast, ParameterStatus
from gridflock.schema import INVERTERS, Family
from gridflock.units import NEVER_S

FAST_S = 10.0
"""A fast regulation signal (high-pass filtered) asks for what members can move within so long, s."""
SLOW_S = 300.0
"""A slow regulation signal (low-pass filtered): the same, s."""
EVERY = tuple(Parameter)
_POWERS = EVERY[:4]

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Present:
    """What the functions of groups need to know of a moment.

    Attributes:
        image: of the fleet.
        capability: of each of its rows.
        forecast: of groups, where there is one.
    """

    image: Image
    capability: Capability
    forecast: ParameterForecast | None = None


class Ranges(NamedTuple):
    """One parameter of all groups, (G,) each: now, least and most on order, least and most by nameplate."""

    nominal: _Array
    lowest: _Array
    highest: _Array
    installed_lo: _Array
    installed_hi: _Array


def parameter_status(
    groups: Groups, present: Present, names: Sequence[str], parameters: Iterable[Parameter] = EVERY
) -> ParameterStatus:
    """Status of groups; sums over members count each member once.

    Powers: what is now, and the sums of what members can be ordered to. Apparent power: from the sums of
    active and reactive power; its most is that of the corners of both ranges, or the sum of the members'
    ratings where that is less. Voltage: mean, least and most of the members that report one. Ramp rates:
    how fast the sum can be moved over the next second; nominal from where the members are, most from
    the best place. Regulation: how far it can be moved within ``FAST_S`` (high filter) or ``SLOW_S``
    (low filter), no member further than its bounds; in both directions alike: the lesser of the two.

    Args:
        groups: over the rows of the image.
        present: image and capability.
        names: G groups.
        parameters: P of them.

    Raises:
        KeyError: no such group.
    """
    wanted, at = tuple(parameters), [groups.at(name) for name in names]
    found: dict[Parameter, Ranges] = {}
    if any(p in _POWERS for p in wanted):
        found |= _powers(groups, present)
    if any(p not in _POWERS for p in wanted):
        found |= _speeds(groups, present)
    heard = present.image.heard_s
    newest = groups.aggregate(np.where(heard >= 0, heard, np.nan), "max")[at]
    return ParameterStatus(
        tuple(names),
        wanted,
        np.where(np.isnan(newest), NEVER_S, newest).astype(np.int64),
        *(
            np.array([getattr(found[p], part)[at] for p in wanted]).reshape(len(wanted), len(at)).T
            for part in Ranges._fields
        ),
    )


def of_groups(status: ParameterStatus, names: Iterable[str]) -> ParameterStatus:
    """The same for some of its groups."""
    at = [status.groups.index(name) for name in names]
    arrays = (
        status.nominal,
        status.lowest,
        status.highest,
        status.installed_lo,
        status.installed_hi,
    )
    kept = tuple(status.groups[k] for k in at)
    return ParameterStatus(kept, status.parameters, status.time_s[at], *(array[at] for array in arrays))


def _powers(groups: Groups, present: Present) -> dict[Parameter, Ranges]:
    """Active, reactive and apparent power, and voltage."""
    image, able = present.image, present.capability
    column = {name: image.columns[name].astype(np.float64) for name in ("p_min_kw", "p_max_kw", "s_max_kva")}
    inverter = np.isin(image.kind, tuple(INVERTERS))
    rated_q = np.where(inverter, REACTIVE_SHARE * column["s_max_kva"], 0.0)
    rating = np.maximum(column["s_max_kva"], np.maximum(column["p_max_kw"], -column["p_min_kw"]))
    reach = np.maximum(rating, np.maximum(np.abs(able.p_lo_kw), np.abs(able.p_hi_kw)))
    sums = groups.aggregate(
        [
            image.p_kw,
            able.p_lo_kw,
            able.p_hi_kw,
            column["p_min_kw"],
            column["p_max_kw"],
            image.q_kvar,
            reactive_room(image),
            rated_q,
            rating,
            reach,
        ]
    )
    p, p_lo, p_hi, p_min, p_max, q, room, q_rated, s_rated, s_reach = sums
    heard_p, heard_q = groups.sums.heard([image.p_kw, image.q_kvar])
    p, q = np.where(heard_p > 0, p, np.nan), np.where(heard_q > 0, q, np.nan)
    nearest = np.maximum(np.maximum(p_lo, -p_hi), 0.0)
    corner = np.hypot(np.maximum(np.abs(p_lo), np.abs(p_hi)), room)
    v = [groups.aggregate(image.v_pu, how) for how in ("mean", "min", "max")]
    unknown = np.full(len(p), np.nan)
    return {
        Parameter.ACTIVE_POWER: Ranges(p, p_lo, p_hi, p_min, p_max),
        Parameter.REACTIVE_POWER: Ranges(q, -room, room, -q_rated, q_rated),
        Parameter.APPARENT_POWER: Ranges(
            np.hypot(p, q), nearest, np.minimum(corner, s_reach), np.zeros(len(p)), s_rated
        ),
        Parameter.VOLTAGE: Ranges(v[0], v[1], v[2], unknown, unknown),
    }


def _speeds(groups: Groups, present: Present) -> dict[Parameter, Ranges]:
    """Ramp rates and regulation."""
    image, able = present.image, present.capability
    lo, hi = (bound.astype(np.float64) for bound in (able.p_lo_kw, able.p_hi_kw))
    now = np.clip(present_kw(image, slice(0, image.n)), lo, hi)
    ramp = image.columns["ramp_kw_s"].astype(np.float64)
    takes = image.family != Family.NONE
    plate = np.where(takes, image.columns["p_max_kw"].astype(np.float64) - image.columns["p_min_kw"], 0.0)
    columns = [
        np.minimum(room, ramp * within_s)
        for within_s in (1.0, FAST_S, SLOW_S)
        for room in (hi - now, now - lo, hi - lo, plate)
    ]
    up, down, most, rated = groups.aggregate(columns).reshape(3, 4, -1).transpose(1, 0, 2)
    zero = np.zeros(up.shape[1])
    found = {
        Parameter.INCREASING_RAMP_RATE: Ranges(up[0], zero, most[0], zero, rated[0]),
        Parameter.DECREASING_RAMP_RATE: Ranges(down[0], zero, most[0], zero, rated[0]),
    }
    for k, (both, upward, downward) in enumerate((_HIGH, _LOW), start=1):
        found[upward] = Ranges(up[k], zero, most[k], zero, rated[k])
        found[downward] = Ranges(down[k], zero, most[k], zero, rated[k])
        alike = np.minimum(up[k], down[k])
        found[both] = Ranges(alike, zero, most[k] / 2.0, zero, rated[k] / 2.0)
    return found


_HIGH = (
    Parameter.HIGH_FILTER_BIDIRECTIONAL,
    Parameter.HIGH_FILTER_UP,
    Parameter.HIGH_FILTER_DOWN,
)
_LOW = (
    Parameter.LOW_FILTER_BIDIRECTIONAL,
    Parameter.LOW_FILTER_UP,
    Parameter.LOW_FILTER_DOWN,
)

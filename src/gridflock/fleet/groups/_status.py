"""The face of a group upwards: what it does, can do and holds, in the columns of a resource."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet._capability import STALE_S, span_kw
from gridflock.fleet._columns import Image
from gridflock.fleet._reactive import reactive_room
from gridflock.fleet.groups._groups import Groups
from gridflock.fleet.groups._kernels import Table
from gridflock.model import BoundSource, Capability
from gridflock.schema import Family
from gridflock.units import NEVER_S, Kvar, Kw, Kwh, Pu, Seconds


@dataclass(frozen=True, slots=True, eq=False)
class GroupStatus:
    """All groups at one moment, G rows in the order of ``ids``.

    Attributes:
        ids: groups.
        p_kw: active power, injection positive; silent members count with their last value.
        q_kvar: reactive power.
        v_pu: mean voltage of the members that report one; NaN where none does.
        p_lo_kw: lowest sum that can be ordered.
        p_hi_kw: highest.
        e_kwh: energy within reach: stores, and vehicles that are plugged in.
        e_max_kwh: the same stores when full.
        members: int64, resources in the group.
        online: int64, those heard lately.
        capability: the bounds with their sources, as of a resource; the source of a bound is
            that of the largest share of the members by size.
        now_s: moment of all this, unix seconds.
        heard_s: int64, moment of the newest reading of a member; -1 where nothing was heard.
        v_min_pu: lowest voltage of the members that report one; NaN where none does.
        v_max_pu: highest.
        q_lo_kvar: lowest reactive power that can be ordered: what inverters can give, negative.
        q_hi_kvar: highest.
        soc_pu: filling of the stores within reach, ``e_kwh`` over ``e_max_kwh``; NaN without any.
        soc_min_pu: lowest filling of a single store.
        soc_max_pu: highest.
    """

    ids: tuple[str, ...]
    p_kw: Kw
    q_kvar: Kvar
    v_pu: Pu
    p_lo_kw: Kw
    p_hi_kw: Kw
    e_kwh: Kwh
    e_max_kwh: Kwh
    members: NDArray[np.int64]
    online: NDArray[np.int64]
    capability: Capability
    now_s: int
    heard_s: Seconds
    v_min_pu: Pu
    v_max_pu: Pu
    q_lo_kvar: Kvar
    q_hi_kvar: Kvar
    soc_pu: Pu
    soc_min_pu: Pu
    soc_max_pu: Pu


def group_status(groups: Groups, image: Image, capability: Capability, stale_s: int = STALE_S) -> GroupStatus:
    """Status and capability of every group.

    Args:
        groups: over the rows of the image.
        image: the process image, n rows.
        capability: of each row.
        stale_s: a member not heard for so long is not online.
    """
    sums = groups.sums
    unplugged = (image.family == Family.VEHICLE) & (image.ready == 0)
    reach = ~np.isnan(image.e_kwh) & ~unplugged
    e_kwh = np.where(reach, image.e_kwh, np.float32(0))
    full = np.where(reach, image.columns["e_max_kwh"], np.float32(0))
    filling = np.divide(e_kwh, full, out=np.full_like(e_kwh, np.nan), where=full > 0)
    p, q, v, e, e_max = sums.sums([image.p_kw, image.q_kvar, image.v_pu, e_kwh, full])
    lo, hi, room = sums.sums([capability.p_lo_kw, capability.p_hi_kw, reactive_room(image)])
    heard_v = sums.heard([image.v_pu])[0]
    v_min, soc_min = sums.lowest([image.v_pu, filling])
    v_max, soc_max = sums.highest([image.v_pu, filling])
    # Moments are whole numbers well below 2⁵³.
    newest = sums.highest([np.where(image.heard_s >= 0, image.heard_s, np.nan)])[0]
    # A device of no size still has a say where all are like it.
    size = span_kw(image) + 1e-9
    first, last = (
        sums.keyed(size, source, len(BoundSource)).argmax(axis=0).astype(np.uint8)
        for source in (capability.lo_source, capability.hi_source)
    )
    return GroupStatus(
        ids=groups.ids,
        p_kw=p,
        q_kvar=q,
        v_pu=_ratio(v, heard_v),
        p_lo_kw=lo,
        p_hi_kw=hi,
        e_kwh=e,
        e_max_kwh=e_max,
        members=sums.members,
        online=sums.sums([~image.silent(stale_s)])[0].astype(np.int64),
        capability=Capability(lo, hi, first, last),
        now_s=image.now_s,
        heard_s=np.where(np.isnan(newest), NEVER_S, newest).astype(np.int64),
        v_min_pu=v_min,
        v_max_pu=v_max,
        q_lo_kvar=-room,
        q_hi_kvar=room,
        soc_pu=_ratio(e, e_max),
        soc_min_pu=soc_min,
        soc_max_pu=soc_max,
    )


def _ratio(part: Table, whole: Table) -> Table:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)

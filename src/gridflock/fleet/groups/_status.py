"""The face of a group upwards: what it does, can do and holds, in the columns of a resource."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet._capability import STALE_S, span_kw
from gridflock.fleet._columns import Image
from gridflock.fleet.groups._groups import Groups
from gridflock.model import BoundSource, Capability
from gridflock.schema import Family
from gridflock.units import Kvar, Kw, Kwh, Pu

_SOURCES = np.arange(len(BoundSource), dtype=np.uint8)


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


def group_status(groups: Groups, image: Image, capability: Capability, stale_s: int = STALE_S) -> GroupStatus:
    """Status and capability of every group by one sparse product.

    Args:
        groups: over the rows of the image.
        image: the process image, n rows.
        capability: of each row.
        stale_s: a member not heard for so long is not online.
    """
    unplugged = (image.family == Family.VEHICLE) & (image.ready == 0)
    reach = ~np.isnan(image.e_kwh) & ~unplugged
    # A device of no size still has a say where all are like it.
    size = span_kw(image) + 1e-9
    heard_v = ~np.isnan(image.v_pu)
    plain: list[NDArray[Any]] = [
        image.p_kw,
        image.q_kvar,
        np.where(heard_v, image.v_pu, 0.0),
        heard_v,
        capability.p_lo_kw,
        capability.p_hi_kw,
        np.where(reach, image.e_kwh, 0.0),
        np.where(reach, image.columns["e_max_kwh"], 0.0),
        np.ones(image.n),
        ~image.silent(stale_s),
    ]
    shares = [
        np.where(source[None, :] == _SOURCES[:, None], size, 0.0)
        for source in (capability.lo_source, capability.hi_source)
    ]
    sums = groups.aggregate(np.concatenate([np.stack(plain), *shares]))
    p, q, v, v_heard, lo, hi, e, e_max, members, online = sums[: len(plain)]
    first, last = sums[len(plain) :].reshape(2, len(_SOURCES), -1).argmax(axis=1).astype(np.uint8)
    return GroupStatus(
        ids=groups.ids,
        p_kw=p,
        q_kvar=q,
        v_pu=np.divide(v, v_heard, out=np.full_like(v, np.nan), where=v_heard > 0),
        p_lo_kw=lo,
        p_hi_kw=hi,
        e_kwh=e,
        e_max_kwh=e_max,
        members=members.astype(np.int64),
        online=online.astype(np.int64),
        capability=Capability(lo, hi, first, last),
    )

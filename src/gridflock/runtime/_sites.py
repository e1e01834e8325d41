"""Connection points whose bill has a demand charge: what management must not make dearer.

A site is a bus and a customer class, as on the bill. What it usually draws at its peak is learnt
from the days before; in a share of that, and no more, its batteries and chargers may draw on top
of everything else there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from gridflock.fleet import Fleet, Groups, Image
from gridflock.fleet.groups import Rule
from gridflock.market import Tariff
from gridflock.model import Envelope, Flexibility
from gridflock.schema import CUSTOMER_CLASSES, Family
from gridflock.units import Codes, Kw, Rows

KEEP = 0.85
"""Share of the usual peak that orders may bring a site to."""
_DAY = 96
_MOVABLE = (Family.STORAGE, Family.VEHICLE)


def add_sites(groups: Groups, fleet: Fleet, tariffs: Mapping[str, Tariff]) -> tuple[str, ...]:
    """Make a group ``site/<bus>/<customer>`` of every site with a demand charge and something to order."""
    columns, names = fleet.columns, []
    charged = [c for c, name in enumerate(CUSTOMER_CLASSES) if tariffs[name].demand_charge > 0]
    key = columns["bus"].astype(np.int64) * len(CUSTOMER_CLASSES) + columns["customer"]
    movable = np.isin(fleet.family, _MOVABLE)
    for code in np.unique(key[movable & np.isin(columns["customer"], charged)]):
        bus, customer = divmod(int(code), len(CUSTOMER_CLASSES))
        words = fleet.labels["bus"][bus], CUSTOMER_CLASSES[customer]
        name = f"site/{words[0]}/{words[1]}"
        bus_text = words[0].replace("'", "''")
        rule = Rule(f"bus = '{bus_text}' and customer = {words[1]}")
        faults = groups.add(name, f"{words[1]} customers at bus {words[0]}", rule=rule)
        assert not faults, faults
        names.append(name)
    if names:
        faults = groups.add("sites", "Sites with a demand charge", parents=("all",), children=names)
        assert not faults, faults
    return tuple(names)


@dataclass(slots=True, eq=False)
class Sites:
    """Sites with a demand charge, k of them, and what they usually draw.

    Attributes:
        names: group ids.
        rows: members of each.
        own: CSR (k, n) 1 for each member that is neither store nor vehicle.
        usual_kw: (k,) usual daily import peak, 15-minute mean; inf until something is known.
        mean_kw: (k,) usual mean import.
    """

    names: tuple[str, ...]
    rows: tuple[Rows, ...]
    own: sparse.csr_array
    usual_kw: Kw
    mean_kw: Kw

    @classmethod
    def of(cls, names: tuple[str, ...], groups: Groups, family: Codes) -> Sites:
        """Nothing known yet; ``family`` (n,) of every row."""
        k, rows = len(names), tuple(groups.rows(name) for name in names)
        fixed = [members[~np.isin(family[members], _MOVABLE)] for members in rows]
        site = np.repeat(np.arange(k), [len(members) for members in fixed])
        column = np.concatenate(fixed) if fixed else np.empty(0, dtype=np.int32)
        own = sparse.csr_array((np.ones(len(column)), (site, column)), shape=(k, len(family)))
        return cls(names, rows, own, np.full(k, np.inf), np.zeros(k))

    def learn(self, p_kw: Kw) -> None:
        """Take the days before: (n, T) quarter-hour means of every row, whole days; NaN where not heard.

        A step in which a member is not heard counts for nothing, a day of which half is not known alike.
        """
        days = p_kw.shape[1] // _DAY
        if days == 0:
            return
        for k, rows in enumerate(self.rows):
            total = -p_kw[rows, -days * _DAY :].sum(axis=0).reshape(days, _DAY)
            known = np.isfinite(total).sum(axis=1) * 2 > _DAY
            draw = np.maximum(total[known], 0.0)
            if len(draw):
                self.usual_kw[k] = float(np.median(np.nanmax(draw, axis=1)))
                self.mean_kw[k] = float(np.nanmean(draw))

    def envelopes(self, image: Image, until_s: int) -> tuple[Envelope, ...]:
        """What each site may draw now: never less than it draws without anything that takes orders."""
        own_kw = self.own @ np.nan_to_num(image.p_kw.astype(np.float64))
        floor_kw = np.minimum(-KEEP * self.usual_kw, own_kw)
        return tuple(
            Envelope(
                name,
                floor,
                math.inf,
                f"usual demand peak of {name.removeprefix('site/')}, {usual:.0f} kW",
                until_s,
            )
            for name, floor, usual in zip(self.names, floor_kw.tolist(), self.usual_kw.tolist(), strict=True)
            if math.isfinite(usual)
        )

    def narrow(self, able: Flexibility, rows_of: Mapping[str, Rows], image: Image) -> None:
        """Take from plan groups of stores and vehicles what their sites' demand does not leave them."""
        room = np.full(len(image.ids), np.inf)
        for k, rows in enumerate(self.rows):
            mine = rows[np.isin(image.family[rows], _MOVABLE)]
            most = float(-image.columns["p_min_kw"][mine].sum())
            left = max(0.0, KEEP * self.usual_kw[k] - self.mean_kw[k])
            room[mine] = -image.columns["p_min_kw"][mine] * min(1.0, left / max(most, 1e-9))
        for g, group in enumerate(able.groups):
            mine = rows_of[group]
            if len(mine) and image.family[mine[0]] == Family.STORAGE and np.isfinite(room[mine]).all():
                np.minimum(able.down_kw[g], room[mine].sum(), out=able.down_kw[g])

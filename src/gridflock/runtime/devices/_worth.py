"""What the plan in force says of prices, and what room it leaves for energy that devices ask for."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from gridflock.field.ieee2030_5._granting import Room
from gridflock.field.ieee2030_5._pricing import Prices
from gridflock.runtime._planning import Planned
from gridflock.runtime._system import System
from gridflock.schema import Family
from gridflock.units import Kw, Seconds

_TARIFF = "plan"
_ASKING = (Family.VEHICLE, Family.STORAGE)
"""Who may ask for energy: what is planned for them is room for what they ask."""


def priced(planned: Planned, now_s: int, currency: int, randomize_s: int) -> Prices:
    """The prices that a plan was made with, from now on.

    Args:
        planned: the plan.
        now_s: the moment.
        currency: ISO 4217, by number.
        randomize_s: devices shift each start by chance, up to so many seconds.
    """
    edges, first = _since(planned, now_s)
    terms = planned.terms
    return Prices(
        _TARIFF, edges, terms.import_price[first:], terms.export_price[first:], currency, randomize_s
    )


def room(planned: Planned, system: System, names: Collection[str], now_s: int) -> Room:
    """What the limits at the head leave beside all that is planned, and what is planned for who may ask.

    Args:
        planned: the plan.
        system: network, fleet and groups.
        names: resources that may ask.
        now_s: the moment.
    """
    fleet, schedule, terms = system.fleet, planned.schedule, planned.terms
    edges, first = _since(planned, now_s)
    rows = sorted(fleet.row_of[name] for name in names if fleet.family[fleet.row_of[name]] in _ASKING)
    mine: dict[str, Kw] = {}
    net_kw = np.asarray(schedule.net_kw, dtype=np.float64)[first:]
    if schedule.shares is not None:
        at = {int(row): k for k, row in enumerate(schedule.shares.rows)}
        p_kw = np.asarray(schedule.shares.p_kw, dtype=np.float64)[:, first:]
        mine = {fleet.ids[row]: p_kw[at[row]] for row in rows if row in at}
    return Room(
        edges,
        terms.import_limit_kw[first:] + net_kw,
        terms.export_limit_kw[first:] - net_kw,
        terms.import_price[first:],
        mine,
    )


def _since(planned: Planned, now_s: int) -> tuple[Seconds, int]:
    """Edges of the steps that are not over, and the number of the first of them."""
    edges = planned.schedule.grid.edges_s
    first = int(np.clip(np.searchsorted(edges, now_s, side="right") - 1, 0, len(edges) - 2))
    return edges[first:], first

"""Price tiers: how much dearer a higher goal must be for the order to hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gridflock.plan._terms import Band, Block, Peak, Ramp, Share
from gridflock.plan.goals._part import Part, Setting

_DEAREST = 1e7
"""Money per kWh beyond which the solver's digits run out."""


def factors_of(
    parts: Sequence[Part], ranks: Sequence[int], at: Setting, ratio: float, money: int
) -> list[float] | None:
    """By which factor each part's prices are raised; None where prices cannot stand that far apart.

    Per tier the least and the most a kWh moved in one step can be worth to it; the least of a tier must
    be ``ratio`` times the most of all tiers below together. A kWh that has to be shifted through a store
    costs several, which the ratio covers.

    Args:
        parts: at their own prices.
        ranks: tier of each, 0 first.
        at: the problem.
        ratio: >= 1.
        money: the tier of energy cost, -1 for none: its prices stay as they are, and the owners' costs
            belong to it.
    """
    f = at.flexibility
    own = float(max(np.max(np.abs(f.cost_up), initial=0.0), np.max(np.abs(f.cost_down), initial=0.0)))
    below, factor = (0.0 if money >= 0 else own), dict[int, float]()
    for rank in sorted(set(ranks), reverse=True):
        worth = [_worth(part, at) for part, its in zip(parts, ranks, strict=True) if its == rank]
        least = min((low for low, _ in worth if low > 0), default=0.0)
        wanted = ratio * below / least if least > 0 else 1.0
        most = sum(high for _, high in worth)
        factor[rank] = max(1.0, wanted)
        if factor[rank] * most > _DEAREST:
            return None
        if rank == money:
            # What stands below is made cheaper instead, so that money stays money.
            scale = factor[rank]
            factor = {its: value / scale for its, value in factor.items()}
            below = below / scale + own
        below += factor[rank] * most
    return [factor[rank] for rank in ranks]


def dearest_of(parts: Sequence[Part], at: Setting) -> float:
    """Most money a kWh moved in one step is worth to any of the parts."""
    return max((_worth(part, at)[1] for part in parts), default=0.0)


def _worth(part: Part, at: Setting) -> tuple[float, float]:
    """Least and most money a kWh moved in one step is worth to a part; 0 where it has no price."""
    prices = np.concatenate([part.import_price, part.export_price])
    pieces = [_of_prices(prices), _of_prices(part.premium), _of_prices(part.cost_up + part.cost_down)]
    pieces += [_of_block(block, at) for block in part.blocks]
    return min((low for low, _ in pieces if low > 0), default=0.0), max(
        (high for _, high in pieces), default=0.0
    )


def _of_prices(prices: np.ndarray) -> tuple[float, float]:
    """A tenth of the spread counts as worth having; of a flat price a tenth of itself."""
    if not prices.any():
        return 0.0, 0.0
    spread, most = float(np.ptp(prices)), float(np.abs(prices).max())
    return 0.1 * (spread if spread > 0 else most), most


def _of_block(block: Block, at: Setting) -> tuple[float, float]:
    hours = at.flexibility.grid.hours
    reach = block.flow.moves * min(block.flow.share.values(), default=1.0)
    match block:
        case Band():
            prices = [price for price in (block.under_price, block.over_price) if price > 0]
            return reach * min(prices, default=0.0), max(prices, default=0.0)
        case Peak():
            # To lower a peak by 1 kW may take every step of it.
            return reach * block.price / hours[block.steps].sum(), block.price / hours.min()
        case Ramp():
            return reach * block.price / hours.sum(), 2.0 * block.price / hours.min()
        case Share():
            return reach * float(block.slope.min()), float(block.slope.max())

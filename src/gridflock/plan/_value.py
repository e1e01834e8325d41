"""What a schedule comes to, counted from its powers alone: the same for every way it was found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gridflock.model import Flexibility
from gridflock.plan._terms import Band, Block, Peak, Ramp, Share, Terms, default_end_value, premiums
from gridflock.units import Kw, Kwh, Money


@dataclass(frozen=True, slots=True)
class Value:
    """Money, and what is none.

    Attributes:
        money: energy, new peaks, calm, own costs, less the worth of what is left in store; of owners' tariffs
            only what is moved.
        penalty: what limits that gave way are charged, less what shares are worth.
    """

    money: float
    penalty: float

    @property
    def whole(self) -> float:
        """What the optimisation makes as small as it can."""
        return self.money + self.penalty


def end_values(flexibility: Flexibility, terms: Terms) -> Money:
    """(G,) money per kWh left in store: as asked, or by default."""
    worth = default_end_value(flexibility, terms)
    for g, group in enumerate(flexibility.groups):
        worth[g] = terms.end_value.get(group, worth[g])
    return worth


def content(flexibility: Flexibility, p_kw: Kw) -> Kwh:
    """(G, T + 1) what the stores hold when the groups do ``p_kw`` (G, T), never up and down at once."""
    f = flexibility
    moved = p_kw - f.base_kw
    change = f.gain_up[:, None] * np.maximum(moved, 0.0) + f.gain_down[:, None] * np.maximum(-moved, 0.0)
    held = np.zeros((len(f.groups), f.grid.n + 1))
    np.cumsum(change * f.grid.hours, axis=1, out=held[:, 1:])
    return held


def valued(flexibility: Flexibility, p_kw: Kw, fixed_kw: Kw, terms: Terms) -> Value:
    """What groups doing ``p_kw`` come to under sound terms.

    Args:
        flexibility: G groups over T steps.
        p_kw: (G, T) what they do.
        fixed_kw: (T,) what takes no orders.
        terms: prices and limits, of these groups.
    """
    f, hours = flexibility, flexibility.grid.hours
    moved = p_kw - f.base_kw
    net = fixed_kw + p_kw.sum(axis=0)
    drawn, given = np.maximum(-net, 0.0), np.maximum(net, 0.0)
    money = float((terms.import_price * drawn - terms.export_price * given) @ hours)
    money += terms.peak_price * max(float(drawn.max(initial=0.0)) - terms.peak_so_far_kw, 0.0)
    money += terms.ramp_penalty * float(np.abs(np.diff(net)).sum())
    money -= float((premiums(f, terms) * moved).sum(axis=0) @ hours)
    own = f.cost_up[:, None] * np.maximum(moved, 0.0) + f.cost_down[:, None] * np.maximum(-moved, 0.0)
    money += float(own.sum(axis=0) @ hours)
    money -= float(end_values(f, terms) @ content(f, p_kw)[:, -1])
    beyond = np.maximum(drawn - terms.import_limit_kw, 0.0) + np.maximum(given - terms.export_limit_kw, 0.0)
    row = {group: g for g, group in enumerate(f.groups)}
    for limit in terms.group_limits:
        inside = [row[g] for g in terms.members.get(limit.group, (limit.group,)) if g in row]
        power = p_kw[inside].sum(axis=0)
        over = np.maximum(limit.p_lo_kw - power, 0.0) + np.maximum(power - limit.p_hi_kw, 0.0)
        beyond = beyond + np.where(f.grid.starts_s < limit.until_s, over, 0.0)
    goals = charged(f, p_kw, terms.blocks)
    return Value(money + goals.money, terms.limit_penalty * float(beyond @ hours) + goals.penalty)


def charged(f: Flexibility, p_kw: Kw, blocks: Iterable[Block]) -> Value:
    """What goals are charged where the groups do ``p_kw`` (G, T): peaks are money, all else is none."""
    money = penalty = 0.0
    for block in blocks:
        flow = block.flow.power_kw(f, p_kw)
        match block:
            case Band():
                under, over = np.maximum(block.lo_kw - flow, 0.0), np.maximum(flow - block.hi_kw, 0.0)
                penalty += float((block.under_price * under + block.over_price * over) @ f.grid.hours)
            case Peak():
                drawn = -flow[block.steps] - block.so_far_kw
                money += block.price * float(drawn.max(initial=0.0))
            case Ramp():
                beyond = np.maximum(np.abs(block.change_kw(flow)) - block.limits_kw, 0.0)
                penalty += block.price * float(beyond.sum())
            case Share():
                penalty -= _worth(block, float((block.sign * flow) @ f.grid.hours))
    return Value(money, penalty)


def _worth(share: Share, kwh: float) -> float:
    """Worth of an energy, segment by segment."""
    before = np.cumsum(share.width_kwh) - share.width_kwh
    filled = np.clip(kwh - before, 0.0, share.width_kwh)
    return float(filled @ share.slope) + min(kwh, 0.0) * float(share.slope[0])

"""Random units that are on or off, and every schedule that one of them has."""

import itertools

import numpy as np

from gridflock.plan.devices.whole import Units


def units(rng, m, steps, levels, places, even=False):
    """Random units: some with tanks and heat, starts, times, ramps, any state now."""
    level = np.sort(rng.uniform(2.0, 10.0, (m, levels)), axis=1)
    hot = rng.random(m) < 0.6
    boiler = rng.uniform(0.03, 0.12, m)
    tank = rng.uniform(1.0, 8.0, m) * (places > 1)
    return Units(
        hours=np.full(steps, 0.5) if even else rng.choice([0.25, 0.5, 1.0], steps),
        start=np.arange(m + 1),
        level_kw=level,
        burn=rng.uniform(0.0, 0.3, (m, 1)) + level * rng.uniform(0.02, 0.12, (m, 1)) + 0.002 * level**2,
        start_cost=rng.choice([0.0, 0.1, 1.0], m),
        min_on_h=rng.choice([0.0, 0.5, 1.0, 1.75, 9.0], m, p=[0.2, 0.25, 0.25, 0.2, 0.1]),
        min_off_h=rng.choice([0.0, 0.5, 1.0, 1.75, 9.0], m, p=[0.2, 0.25, 0.25, 0.2, 0.1]),
        ramp_kw_h=rng.choice([2.0, 6.0, 15.0, np.inf], m),
        on=(rng.random(m) < 0.5).astype(np.uint8),
        since_h=rng.choice([0.0, 0.25, 1.0, 24.0], m),
        now_kw=rng.uniform(level[:, 0], level[:, -1]),
        heat_kw=level * 1.4 * hot[:, None],
        heat_need_kw=rng.uniform(0.0, 12.0, (m, steps)) * hot[:, None],
        tank_kwh=tank,
        tank_now_kwh=tank * rng.random(m),
        boiler_price=boiler,
        dump_price=rng.choice([0.0, 0.01, 0.2], m),
        heat_value=boiler * rng.choice([0.0, 0.7, 1.0], m),
        tank_places=places,
    )


def allowed(of, k, chosen):
    """Which of all level sequences (S, T), -1 for off, keep times and ramps; and how often each starts."""
    fit, starts = np.ones(len(chosen), bool), np.zeros(len(chosen))
    was, since = np.full(len(chosen), bool(of.on[k])), np.full(len(chosen), of.since_h[k])
    at = np.full(len(chosen), of.now_kw[k])
    first_gap = np.abs(of.level_kw[k] - of.now_kw[k]).min()
    for t, hours in enumerate(of.hours):
        now, reach = chosen[:, t] >= 0, of.ramp_kw_h[k] * hours
        kw = np.where(now, of.level_kw[k][chosen[:, t]], 0.0)
        edge = max(of.level_kw[k, 0], reach) + 1e-9
        moved = np.abs(kw - at) <= (max(reach, first_gap) if t == 0 else reach) + 1e-9
        fit &= np.where(now & was, moved, np.where(now, kw <= edge, ~was | (at <= edge)))
        least = np.where(was, of.min_on_h[k], of.min_off_h[k])
        fit &= (now == was) | (since >= least - 1e-9)
        starts += now & ~was
        since = np.where(now == was, since + hours, hours)
        was, at = now, kw
    return fit, starts


def heat_paid(of, k, chosen):
    """(S,) least cost of boiler and dump over all contents on the grid, less what is left."""
    content = of.tank_kwh[k] * np.linspace(0.0, 1.0, of.tank_places) if of.tank_places > 1 else np.zeros(1)
    held = np.full((len(chosen), 1), of.tank_now_kwh[k])
    paid = np.zeros((len(chosen), 1))
    for t, hours in enumerate(of.hours):
        made = np.where(chosen[:, t] >= 0, of.heat_kw[k][chosen[:, t]], 0.0)
        before = held + ((made - of.heat_need_kw[k, t]) * hours)[:, None]
        lack = content[None, None] - before[:, :, None]
        steps = np.where(lack > 0, lack * of.boiler_price[k], -lack * of.dump_price[k])
        paid = (paid[:, :, None] + steps).min(axis=1)
        held = np.broadcast_to(content, paid.shape)
    return (paid - of.heat_value[k] * content).min(axis=1)


def everything(of, k, price, pull=0.0, target=0.0):
    """All schedules (S, T) and what each costs less its worth, plus a pull to a target."""
    levels = of.level_kw.shape[1]
    chosen = np.array(list(itertools.product(range(-1, levels), repeat=len(of.hours))))
    fit, starts = allowed(of, k, chosen)
    chosen, starts = chosen[fit], starts[fit]
    kw = np.where(chosen >= 0, of.level_kw[k][chosen], 0.0)
    burnt = np.where(chosen >= 0, of.burn[k][chosen], 0.0) @ of.hours
    away = 0.5 * pull * ((kw - target) ** 2).sum(axis=1)
    return kw, burnt + starts * of.start_cost[k] - kw @ (price * of.hours) + away + heat_paid(of, k, chosen)

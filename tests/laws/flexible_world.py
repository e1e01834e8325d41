"""Mixed fleets for the laws of flexibility, and what their devices do when a schedule is followed."""

import numpy as np

from gridflock.fleet import Fleet
from gridflock.model import Readings
from gridflock.schema import QUANTITY, Family, Kind
from gridflock.units import HOUR_S, TimeGrid

NOW_S = 1_700_000_000
KINDS = (
    Kind.PV_ROOFTOP,
    Kind.BATTERY_HOME,
    Kind.BATTERY_COMMERCIAL,
    Kind.EV_V1G,
    Kind.EV_V2G,
    Kind.GENSET,
    Kind.CHP,
    Kind.CURTAILABLE,
    Kind.HEAT_PUMP,
    Kind.WATER_HEATER,
)


def _plate(rng, kind):
    """Nameplate of one device, and its readings."""
    power, ready = float(rng.uniform(1, 8)), {"ready": 1.0}
    eff = {"eff_charge": float(rng.uniform(0.85, 1)), "eff_discharge": float(rng.uniform(0.85, 1))}
    size = float(rng.uniform(0.5, 4) * power)
    held = ready | {"e_kwh": float(rng.uniform(0, size)), "p_kw": 0.0}
    if kind == Kind.PV_ROOFTOP:
        return {"p_max_kw": power}, ready | {"p_kw": 0.5 * power}
    if kind in (Kind.BATTERY_HOME, Kind.BATTERY_COMMERCIAL):
        plate = {"p_max_kw": power, "p_min_kw": -float(rng.uniform(1, 8)), "e_max_kwh": size}
        plate |= {"e_reserve_kwh": float(rng.uniform(0, 0.3) * size)}
        return plate | (eff if kind == Kind.BATTERY_HOME else {}), held
    if kind in (Kind.EV_V1G, Kind.EV_V2G):
        plate = {"p_min_kw": -power, "e_max_kwh": 4 * size} | eff
        plate |= {"p_max_kw": power} if kind == Kind.EV_V2G else {}
        wants = {"e_target_kwh": float(rng.uniform(0, 4) * size)}
        leaves = {"depart_s": float(NOW_S + rng.integers(1, 16 * HOUR_S))}
        return plate, held | wants | (leaves if rng.random() < 0.8 else {})
    if kind in (Kind.GENSET, Kind.CHP):
        plate = {
            "p_max_kw": power,
            "p_floor_kw": 0.4 * power,
            "ramp_kw_s": float(rng.choice([1e6, power / 3600])),
        }
        level = float(rng.uniform(0.4, 1) * power) if rng.random() < 0.7 else 0.0
        return plate | {"e_max_kwh": 8 * size}, ready | {"p_kw": level, "e_kwh": 4 * size}
    switched = {
        "on_off": int(rng.random() < 0.6),
        "min_on_s": 600.0,
        "min_off_s": float(rng.choice([300, 3000])),
    }
    if kind == Kind.CURTAILABLE:
        demand = {"p_kw": -1.5 * power, "p_avail_kw": -1.5 * power, "locked_s": float(rng.choice([0, 500]))}
        return {"p_min_kw": -power} | switched, ready | demand
    warm = {"e_kwh": float(rng.uniform(0.3, 0.7) * 4 * size), "p_kw": float(rng.choice([0, -power]))}
    warm |= {"p_avail_kw": -float(rng.uniform(0.1, 0.6) * power), "locked_s": float(rng.choice([0, 200]))}
    return {"p_min_kw": -power, "e_max_kwh": 4 * size} | switched, ready | warm


def mixed(rng, n, kinds=KINDS):
    """An image of ``n`` random devices."""
    rows, readings = [], []
    for i in range(n):
        kind = kinds[rng.integers(len(kinds))]
        plate, said = _plate(rng, kind)
        rows.append({"id": f"r{i}", "kind": kind.name, "bus": "b", "phases": "a"} | plate)
        readings += [(i, QUANTITY[name], value) for name, value in said.items()]
    fleet, rejected = Fleet.from_rows(rows, {"b": 7})
    assert rejected == ()
    index, quantity, value = (np.array(column) for column in zip(*readings, strict=True))
    batch = Readings(
        tuple(row["id"] for row in rows),
        index.astype(np.int32),
        quantity.astype(np.uint8),
        value.astype(np.float64),
        np.full(len(index), NOW_S),
        np.zeros(len(index), dtype=np.uint8),
    )
    assert fleet.ingest(batch, NOW_S) == ()
    return fleet.image(NOW_S)


def uneven(rng, steps):
    """A grid of so many steps that starts now, some of them longer."""
    lengths = rng.choice([900, 900, 1800, 3600], steps)
    return TimeGrid(NOW_S + np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def by_row(schedules, rows):
    """(n, T) power of each row of the fleet."""
    total = np.zeros((len(rows), schedules.p_kw.shape[1]))
    np.add.at(total, np.searchsorted(rows, schedules.rows), schedules.p_kw)
    return total


def broken(image, rows, grid, p_kw, tolerance=1e-6):
    """Names of the limits that devices break which follow (n, T) powers; empty if none does.

    Written from what each device is, not from how its flexibility is modelled.
    """
    found = []
    for family, rule in _RULES.items():
        some = np.flatnonzero(image.family[rows] == family)
        for i in some:
            found += [
                f"{image.ids[rows[i]]}: {text}"
                for text in rule(_Device(image, rows[i], grid), p_kw[i], tolerance)
            ]
    return found


class _Device:
    def __init__(self, image, row, grid):
        self.image, self.row, self.hours = image, row, grid.hours
        self.edges_h = (grid.edges_s - grid.start_s) / HOUR_S
        self.kind = image.kind[row]

    def __getattr__(self, name):
        image = self.__dict__["image"]
        column = image.columns[name] if name in image.columns else getattr(image, name)
        return float(column[self.row])

    def contents(self, p):
        """Stored energy at each edge, true to both efficiencies."""
        flow = np.where(p > 0, p / self.eff_discharge, p * self.eff_charge)
        return self.e_kwh - np.concatenate([[0], np.cumsum(flow * self.hours)])

    def unasked(self):
        return self.p_kw if np.isnan(self.p_avail_kw) else self.p_avail_kw


def _inside(name, values, low, high, tolerance):
    if np.any(values < low - tolerance) or np.any(values > high + tolerance):
        worst = max(np.max(low - values), np.max(values - high))
        yield f"{name} by {worst:.3g}"


def _renewable(d, p, tol):
    yield from _inside("power", p, 0, d.p_kw, tol)


def _storage(d, p, tol):
    yield from _inside("power", p, d.p_min_kw, d.p_max_kw, tol)
    low, high = min(d.e_reserve_kwh, d.e_kwh), max(d.e_max_kwh, d.e_kwh)
    yield from _inside("energy", d.contents(p), low, high, tol)


def _vehicle(d, p, tol):
    stay_h = 8.0 if d.depart_s < 0 else (d.depart_s - NOW_S) / HOUR_S
    here = np.clip((stay_h - d.edges_h[:-1]) / d.hours, 0, 1)
    yield from _inside(
        "power", p, d.p_min_kw * here, (d.p_max_kw if d.kind == Kind.EV_V2G else 0) * here, tol
    )
    content = d.contents(p)
    yield from _inside("energy", content, min(0.0, d.e_kwh), d.e_max_kwh, tol)
    if stay_h <= d.edges_h[-1]:
        reached = d.e_kwh - d.p_min_kw * d.eff_charge * stay_h
        yield from _inside("departure", content[-1:], min(d.e_target_kwh, d.e_max_kwh, reached), np.inf, tol)


def _generator(d, p, tol):
    runs = d.p_kw > 0
    yield from _inside("power", p, d.p_floor_kw if runs else 0, d.p_max_kw if runs else 0, tol)
    change = np.abs(np.diff(np.concatenate([[d.p_kw], p])))
    most = d.ramp_kw_s * HOUR_S * np.minimum(d.hours, np.concatenate([d.hours[:1], d.hours[:-1]]))
    yield from _inside("ramp", change, 0, most, tol)
    if d.kind == Kind.CHP and runs:
        tank = d.e_kwh + np.concatenate([[0], np.cumsum((p - d.p_kw) * d.hours)])
        yield from _inside("tank", tank, 0, d.e_max_kwh, tol)


def _shed(d, p, tol):
    demand = d.unasked()
    yield from _inside("power", p, demand, demand - d.p_min_kw, tol)
    if not d.on_off:
        yield from _inside("calls", ((p - demand) * d.hours).sum(), 0, 4.0 * -d.p_min_kw, tol)
        return
    paused = p > demand - 0.5 * d.p_min_kw
    levels = np.where(paused, demand - d.p_min_kw, demand)
    yield from _inside("level", p, levels, levels, tol)
    turns = np.flatnonzero(np.diff(np.concatenate([[False], paused])))
    starts_s = d.edges_h[turns] * HOUR_S
    if len(turns) and starts_s[0] < d.locked_s:
        yield "locked"
    for begin, end, turn in zip(starts_s[:-1], starts_s[1:], turns[:-1], strict=True):
        least = d.min_off_s if paused[turn] else d.min_on_s
        if end - begin < least:
            yield "minimum time"


def _thermal(d, p, tol):
    usual = min(-d.unasked(), -d.p_min_kw)
    yield from _inside("power", p, d.p_min_kw, 0, tol)
    if d.on_off:
        yield from _switching(d, p, usual)
    else:
        content = d.e_kwh + np.concatenate([[0], np.cumsum((-p - usual) * d.hours)])
        yield from _inside("comfort", content, 0, d.e_max_kwh, tol)


def _switching(d, p, usual):
    """Follow the mean power by switching, and see what becomes of the comfort."""
    rated, slice_h = -d.p_min_kw, 1 / 120
    shortest_h = max(d.min_on_s, d.min_off_s) / HOUR_S
    on, since_h, ahead, content = d.p_kw < -0.5 * rated, shortest_h - d.locked_s / HOUR_S, 0.0, d.e_kwh
    for drawn, hours in zip(-p, d.hours, strict=True):
        for _ in range(round(hours / slice_h)):
            late = since_h >= shortest_h - 1e-9
            if late and (ahead >= 0.5 * rated * shortest_h if on else ahead <= -0.5 * rated * shortest_h):
                on, since_h = not on, 0.0
            ahead += (rated * on - drawn) * slice_h
            content += (rated * on - usual) * slice_h
            since_h += slice_h
            if not -rated * slice_h <= content <= d.e_max_kwh + rated * slice_h:
                yield f"comfort when switching: {content:.3g}"
                return


_RULES = {
    Family.RENEWABLE: _renewable,
    Family.STORAGE: _storage,
    Family.VEHICLE: _vehicle,
    Family.GENERATOR: _generator,
    Family.SHED: _shed,
    Family.THERMAL: _thermal,
}


def corners(group, rng, count, steps):
    """Vertices for prices of many shapes: noise, a day's wave, hard alternation, few steps only."""
    wave = np.sin(np.arange(steps) * rng.uniform(0.3, 2) + rng.uniform(0, 6))
    alternating = np.where(np.arange(steps) % 2, 1.0, -1.0)
    for k in range(count):
        noise = rng.normal(size=steps)
        yield group.best(
            [noise, wave + 0.3 * noise, alternating + 0.1 * noise, noise * (rng.random(steps) < 0.3)][k % 4]
        )


def trajectories(group, rng, steps):
    """Trajectories inside a set: corners, points of edges, of faces, of the inside, and jagged ones."""
    found = list(corners(group, rng, 8, steps))
    yield from found[:4]
    for _ in range(12):
        one, other = rng.choice(len(found), 2, replace=False)
        yield rng.uniform() * (found[one] - found[other]) + found[other]
    for _ in range(4):
        price = rng.normal(size=steps)
        near = [group.best(price + 1e-2 * rng.normal(size=steps)) for _ in range(3)]
        yield rng.dirichlet(np.ones(3)) @ np.array(near)
    for _ in range(20):
        yield rng.dirichlet(np.full(len(found), rng.choice([0.3, 1.0, 5.0]))) @ np.array(found)
    up, down = group.best(np.ones(steps)), group.best(-np.ones(steps))
    jagged = group.best(np.where(np.arange(steps) % 2, 1.0, -1.0))
    for _ in range(10):
        yield rng.dirichlet([1, 1, 4]) @ np.array([up, down, jagged])

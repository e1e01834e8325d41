"""Random moments for the laws of dispatch: a fleet of every kind, in trouble, amid a conversation."""

import dataclasses
import importlib
import math
import sys
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from gridflock.dispatch import Response
from gridflock.fleet import capability
from gridflock.fleet._health import Health
from gridflock.model import Envelope, Priority
from gridflock.schema import Kind

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("dispatch_world")
NOW_S, want, decide = world.NOW_S, world.want, world.decide

COUNTS = {
    Kind.PV_ROOFTOP: 6,
    Kind.WIND: 1,
    Kind.BATTERY_HOME: 5,
    Kind.EV_V1G: 4,
    Kind.EV_V2G: 3,
    Kind.CHP: 2,
    Kind.GENSET: 1,
    Kind.CURTAILABLE: 2,
    Kind.THERMOSTAT: 6,
    Kind.HEAT_PUMP: 3,
    Kind.WATER_HEATER: 3,
    Kind.LOAD: 3,
}
FLEET, GROUPS = world.fleet_of(COUNTS)
NAMES = [name for name in GROUPS.ids if name != "demand"]
ROWS = world.rows_of(GROUPS)
SMOOTH = {Kind.BATTERY_HOME: 12, Kind.LOAD: 3}
PRIORITIES = [Priority.OPERATOR, Priority.EVENT, Priority.MARKET, Priority.SCHEDULE]


def image_of(seed, trouble=True, now_s=NOW_S):
    """A random moment; with trouble: some silent, unready, locked, or without some of their readings."""
    rng = np.random.default_rng(seed)
    values = world.ordinary(FLEET, rng)
    n = len(FLEET.ids)
    if trouble:
        values["ready"][rng.random(n) < 0.15] = 0
        values["locked_s"] = np.where(rng.random(n) < 0.1, 300.0, 0.0)
        for name in ("p_kw", "p_avail_kw", "e_kwh", "e_target_kwh"):
            values[name][rng.random(n) < 0.08] = np.nan
        mute = rng.random(n) < 0.1
        for column in values.values():
            column[mute] = np.nan
    fleet, _ = world.fleet_of(COUNTS)
    return world.tell(fleet, values, now_s)


def wish_of(rng, name, priority=None, bounds=True):
    """A random want, bounds, or both, on a random group."""
    group = NAMES[rng.integers(len(NAMES))]
    size = max(10.0, 5.0 * len(ROWS[group]))
    p, a, b = rng.normal(0, size, 3)
    kind = rng.integers(4) if bounds else 0
    priority = PRIORITIES[rng.integers(len(PRIORITIES))] if priority is None else priority
    return want(
        name,
        group,
        float(p) if kind != 1 else None,
        priority,
        lo=min(a, b) if kind in (1, 2) else -math.inf,
        hi=max(a, b) if kind in (1, 2) else math.inf,
        start_s=NOW_S - int(rng.integers(0, 300)),
    )


class Situation(tuple):
    """An image, a plan, envelopes, proposals, a conversation under way; printed as the seed it came from."""

    __slots__ = ()

    def __repr__(self):
        """What rebuilds it."""
        return f"situation{self[5:]}"


def situation(seed, *, bounds):
    """A random moment with plan, envelopes, proposals and a conversation, or without any of these."""
    rng = np.random.default_rng(seed)
    image = image_of(rng.integers(2**32))
    proposals = [wish_of(rng, f"w{k}", bounds=bounds) for k in range(rng.integers(6))]
    envelopes, schedule, response = [], None, Response.empty(image.n)
    if bounds and rng.random() < 0.5:
        level = float(np.nansum(image.p_kw[image.kind == Kind.FEEDER_HEAD]))
        lo, hi = np.sort(level + rng.normal(0, 60, 2))
        envelopes.append(Envelope("all", float(lo), float(hi), "feeder head", NOW_S + 900))
        envelopes.append(Envelope("section/south", -1e3, float(rng.normal(0, 50)), "line 7", NOW_S + 900))
    if rng.random() < 0.5:
        plan = [name for name in GROUPS.ids if name.startswith("plan/")]
        peak = float(rng.uniform(0, 200)) if bounds else 1e6
        schedule = world.schedule_of(plan, rng.normal(0, 20, len(plan)), peak_kw=peak)
    if rng.random() < 0.5:
        response = response_of(rng, image)
    return Situation((image, schedule, envelopes, proposals, response, seed, bounds))


def situations(bounds=True):
    """Situations by seed."""
    return st.integers(0, 2**32).map(lambda seed: situation(seed, bounds=bounds))


def response_of(rng, image):
    """A conversation some ticks old: orders in force, awaited, refused, missed, partly met."""
    n = image.n
    able = capability(image)
    ordered = np.where(
        rng.random(n) < 0.5, np.nan, able.p_lo_kw + rng.random(n) * (able.p_hi_kw - able.p_lo_kw)
    )
    knows = rng.random() < 0.5
    asked = rng.integers(-1, n, 4 * n).astype(np.int32), rng.integers(0, 5, 4 * n).astype(np.uint8)
    return dataclasses.replace(
        Response.empty(n, next_id=100, health=health_of(*asked) if knows else None),
        before_kw=np.where(rng.random(n) < 0.3, np.nan, np.nan_to_num(image.p_kw)),
        since_s=np.where(rng.random(n) < 0.5, -1, NOW_S - rng.integers(1, 400, n)),
        judged=rng.random(n) < 0.5,
        lost_s=np.where(rng.random(n) < 0.2, NOW_S - rng.integers(0, 300, n), -1),
        told_s=NOW_S - 60 if knows else -1,
        ordered_kw=ordered,
        order_id=np.where(np.isnan(ordered), -1, np.arange(n)),
        asked_s=np.full(n, NOW_S - 60),
        expires_s=np.where(np.isnan(ordered), -1, NOW_S + rng.integers(1, 300, n)),
        answered=rng.random(n) < 0.7,
        rests_until_s=np.where(rng.random(n) < 0.15, NOW_S + rng.integers(-60, 600, n), -1),
        misses=np.where(rng.random(n) < 0.15, rng.integers(1, 4, n), 0).astype(np.int16),
        short_side=rng.integers(-1, 2, n).astype(np.int8),
        short_until_s=np.where(rng.random(n) < 0.1, NOW_S + 300, -1),
    )


def health_of(rows, status):
    """What is known of the fleet after some outcomes."""
    health = Health(FLEET)
    health.learn(rows, status, NOW_S - 3_600)
    return health.evidence


def run(situation, **change):
    """The decision of a situation."""
    image, schedule, envelopes, proposals, response = situation[:5]
    proposals = change.pop("proposals", proposals)
    return decide(image, GROUPS, proposals, schedule, envelopes, change.pop("response", response), **change)


def same(a, b):
    """Whether two values (dataclasses of arrays included) are equal, NaN equal to NaN."""
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if dataclasses.is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b


def obeying(image, response, now_s):
    """A later moment, in which everybody does what it was ordered."""
    p_kw = np.where(np.isnan(response.ordered_kw), image.p_kw, response.ordered_kw).astype(np.float32)
    return dataclasses.replace(image, now_s=now_s, heard_s=np.full(image.n, now_s), p_kw=p_kw)


def now_kw(decision):
    """Targets, and what those that nobody asked are taken to do."""
    targets = decision.targets
    return np.where(np.isnan(targets.p_kw), targets.present_kw, targets.p_kw)

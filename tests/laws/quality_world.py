"""A small world of clean series to plant faults in: loads, a roof, its light, and a street with all of it."""

from functools import lru_cache

import numpy as np

from gridflock.forecast import Site
from gridflock.forecast.quality._daylight import daylight
from gridflock.model import History
from gridflock.units import DAY_S, TimeGrid, unix_s

SITES = (
    Site(50.4, -4.1, "Europe/London"),
    Site(40.4, -3.7, "Europe/Madrid"),
    Site(34.1, -117.4, "America/Los_Angeles"),
    Site(-37.8, 145.0, "Australia/Melbourne"),
    Site(59.3, 18.1, "Europe/Stockholm"),
)
STARTS = tuple(unix_s(day) for day in ("2021-01-20", "2021-04-10", "2021-08-01", "2021-10-15"))
KINDS = {"works": "load", "home": "load", "roof": "solar", "light": "irradiance", "street": "net"}


@lru_cache(maxsize=256)
def clean(place=0, season=1, step_s=1800, days=70, seed=0):
    """Clean series at a site from the beginning of a season on; the street hides four roofs."""
    rng = np.random.default_rng([seed, place, season])
    site, start_s = SITES[place], STARTS[season]
    n = days * DAY_S // step_s
    grid = TimeGrid.uniform(start_s, step_s, n)
    sun = daylight(site, start_s, step_s, n)
    hour = ((grid.starts_s - sun.sun_start_s) % DAY_S) / 3600
    weekend = (grid.starts_s // DAY_S + 3) % 7 >= 5
    cloud = clearness(rng, n, step_s)
    light = 1000 * sun.light * cloud
    roof = np.where(sun.elevation_deg > 0, 6 * sun.light * cloud * rng.uniform(0.97, 1.03, n), 0.0)
    shape = 1 + 0.5 * np.sin((hour - 9) / 24 * 2 * np.pi) + 0.2 * np.sin((hour - 4) / 12 * 2 * np.pi)
    works = -80 * shape * np.where(weekend, 0.8, 1.0) * (1 + 0.04 * slow(rng, n, 6))
    home = -(0.3 + 0.4 * shape * rng.lognormal(0, 0.6, n) + 3 * (rng.random(n) < 0.02))
    street = 0.5 * works + 40 * np.where(sun.elevation_deg > 0, sun.light * cloud, 0.0)
    return site, History(grid, tuple(KINDS), np.stack([works, home, roof, light, street]))


def clearness(rng, n, step_s):
    """Share of the clear sky's light: bright and dull days, with clouds in between."""
    per_day = DAY_S // step_s
    day = np.repeat(rng.beta(1.2, 0.9, n // per_day + 1), per_day)[:n]
    return np.clip(0.08 + 0.92 * day * (1 + 0.25 * slow(rng, n, max(1, 5400 // step_s))), 0.05, 1.05)


def slow(rng, n, memory):
    """Noise of unit size that remembers some steps."""
    return np.convolve(rng.standard_normal(n + memory), np.ones(memory) / np.sqrt(memory), "valid")[:n]


def with_row(history, name, row):
    """A history with one series replaced."""
    value = np.array(history.value_kw)
    value[history.series.index(name)] = row
    return History(history.grid, history.series, value)


def row_of(history, name):
    """One series of a history."""
    return np.array(history.value_kw[history.series.index(name)])

"""One day's sky and air over the feeder: sun, moving clouds, wind, temperature."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from gridflock.sim._scenario import Draw, draws
from gridflock.units import Seconds

_F8 = NDArray[np.float64]
_WAVES = 48


def local_midnight(day: date, timezone: str) -> int:
    """Unix seconds at which the calendar day begins in the zone."""
    return int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(timezone)).timestamp())


def local_hours(t_s: Seconds, timezone: str) -> _F8:
    """Wall-clock hour 0–24 of each moment; the offset is looked up per quarter-hour."""
    zone = ZoneInfo(timezone)
    quarters, place = np.unique(t_s // 900, return_inverse=True)
    offset_s = [datetime.fromtimestamp(int(q) * 900, tz=UTC).astimezone(zone).utcoffset() for q in quarters]
    seconds = np.array([int((offset or timedelta(0)).total_seconds()) for offset in offset_s])
    hours: _F8 = (t_s + seconds[place]) % 86_400 / 3600.0
    return hours


@dataclass(frozen=True, slots=True, eq=False)
class Weather:
    """A day on a grid of T equal steps; values hold from the step's start to its end.

    Attributes:
        t_s: (T,) start of each step.
        hour: (T,) local wall-clock hour.
        outdoor_c: (T,) air temperature, °C.
        zenith_deg: (T,) apparent solar zenith.
        azimuth_deg: (T,) solar azimuth, clockwise from north.
        ghi: (T,) clear-sky global horizontal irradiance, W/m².
        dni: (T,) clear-sky direct normal irradiance, W/m².
        dhi: (T,) clear-sky diffuse horizontal irradiance, W/m².
        clear_index: float32 (places, T), share of the clear-sky irradiance that reaches a place.
        wind_mps: (T,) wind at hub height, gusts of minutes included.
    """

    t_s: Seconds
    hour: _F8
    outdoor_c: _F8
    zenith_deg: _F8
    azimuth_deg: _F8
    ghi: _F8
    dni: _F8
    dhi: _F8
    clear_index: NDArray[np.float32]
    wind_mps: _F8


def weather(
    seed: int, day: date, step_s: int, timezone: str, site: tuple[float, float], place_km: _F8
) -> Weather:
    """Weather of one local day.

    Sun position by the NREL algorithm and the clear sky by the simplified Solis model, both as
    implemented in pvlib; clouds, wind and temperature are our own stochastic fields.

    Args:
        seed: of the world.
        day: local day.
        step_s: length of a step, seconds.
        timezone: IANA name.
        site: latitude and longitude, degrees.
        place_km: (places, 2) coordinates, km.
    """
    # pvlib takes seconds to import; who simulates no day does not wait for it.
    from pvlib.clearsky import simplified_solis  # noqa: PLC0415 -- see above
    from pvlib.spa import solar_position  # noqa: PLC0415 -- see above

    start_s = local_midnight(day, timezone)
    t_s = np.arange(start_s, local_midnight(day + timedelta(days=1), timezone), step_s, dtype=np.int64)
    rng = draws(seed, Draw.WEATHER, day.toordinal())
    hour = local_hours(t_s, timezone)
    # Middle of the step; pressure 1013 hPa, 20 °C, 67 s of delta T, refraction at the horizon.
    sun = solar_position(t_s + step_s / 2, site[0], site[1], 0.0, 1013.25, 20.0, 67.0, 0.5667)
    zenith, _, elevation, _, azimuth, _ = sun
    sky = simplified_solis(np.maximum(elevation, 0.0))
    up = elevation > 0.0
    season = np.cos(2 * np.pi * (day.timetuple().tm_yday - 200) / 365)
    mean_c = 13.5 + 11.5 * (season if site[0] >= 0 else -season) + rng.normal(0.0, 1.0)
    swing_c = rng.uniform(6.5, 8.0)
    return Weather(
        t_s=t_s,
        hour=hour,
        outdoor_c=mean_c + swing_c * np.cos(2 * np.pi * (hour - 16.0) / 24),
        zenith_deg=zenith,
        azimuth_deg=azimuth,
        ghi=np.where(up, sky["ghi"], 0.0),
        dni=np.where(up, sky["dni"], 0.0),
        dhi=np.where(up, sky["dhi"], 0.0),
        clear_index=_clouds(rng, t_s - start_s, place_km),
        wind_mps=_wind(rng, hour, step_s),
    )


def _clouds(rng: np.random.Generator, since_s: Seconds, place_km: _F8) -> NDArray[np.float32]:
    """Clear-sky index of a frozen field of cloud that the wind carries over the places.

    Sum of plane waves with lengths of 0.8–12 km (log-uniform), so near places see nearly the same
    sky and the same edge arrives later downwind; a slowly changing cover moves the threshold.
    """
    length_km = np.exp(rng.uniform(np.log(0.8), np.log(12.0), _WAVES))
    heading = rng.uniform(0, 2 * np.pi, _WAVES)
    wave = 2 * np.pi / length_km[:, None] * np.column_stack([np.cos(heading), np.sin(heading)])
    course, speed_km_s = rng.uniform(0, 2 * np.pi), rng.uniform(0.004, 0.012)
    drift = wave @ (speed_km_s * np.array([np.cos(course), np.sin(course)]))
    here = np.exp(1j * (place_km @ wave.T + rng.uniform(0, 2 * np.pi, _WAVES)))
    then = np.exp(-1j * np.outer(drift, since_s))
    field = (here @ then).real * np.sqrt(2 / _WAVES)
    knots = rng.beta(1.3, 2.6) + rng.normal(0, 0.12, 9)
    cover = np.interp(since_s / 86_400.0, np.linspace(0, 1, 9), np.clip(knots, 0.02, 0.95))
    shade = expit((field + ndtri(cover)) / 0.22)
    index: NDArray[np.float32] = (1.0 - rng.uniform(0.6, 0.8) * shade).astype(np.float32)
    return index


def _wind(rng: np.random.Generator, hour: _F8, step_s: int) -> _F8:
    """Ornstein–Uhlenbeck gusts (time constant 8 minutes) on a diurnal mean, m/s."""
    mean = rng.gamma(6.0, 0.95) * (1 + 0.25 * np.cos(2 * np.pi * (hour - 16) / 24))
    keep = np.exp(-step_s / 480)
    shocks = rng.normal(0, np.sqrt(1 - keep**2), len(hour))
    gust = np.empty_like(shocks)
    level = 0.0
    for k, shock in enumerate(shocks):
        level = keep * level + shock
        gust[k] = level
    speed: _F8 = np.maximum(mean * (1 + 0.22 * gust), 0.0)
    return speed

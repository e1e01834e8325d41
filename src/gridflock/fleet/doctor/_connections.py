"""Connection points that are missing, unknown, or somewhere else; names that are wrong or taken."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet._columns import Fleet
from gridflock.fleet.doctor._evidence import Facts
from gridflock.fleet.doctor._nameplates import plant_of
from gridflock.fleet.doctor._rules import Findings
from gridflock.fleet.registry.identities import FORMS, Directory, duplicates
from gridflock.schema import Enrolment, Kind
from gridflock.units import Mask, Rows

_KM_PER_DEGREE = 111.2
_FEWEST_NEIGHBOURS = 3
"""Of two places that differ nobody knows which one is wrong."""
_FACTS = "the network is not given"


def check_connections(fleet: Fleet, service: Mask, facts: Facts, found: Findings) -> None:
    """Bus, phases, feeder, transformer and groups.

    Args:
        fleet: n resources.
        service: bool (n,) rows that count.
        facts: of the network and the groups.
        found: takes what is wrong.
    """
    columns = fleet.columns
    found.add("phase-missing", service & (columns["phases"] == 0))
    found.add("bus-missing", service & _without(fleet, "bus"))
    needs = service & (columns["kind"] != Kind.FEEDER_HEAD)
    for name in ("transformer", "feeder"):
        missing = _without(fleet, name)
        if missing.all():
            found.skip(f"nobody has a {name}", f"{name}-missing")
        else:
            found.add(f"{name}-missing", needs & missing)
    if facts.bus_phases is None:
        found.skip(_FACTS, "bus-unknown", "phase-not-at-bus")
    else:
        there = np.array([facts.bus_phases.get(bus, -1) for bus in fleet.labels["bus"]], dtype=np.int16)
        at = there[columns["bus"]]
        found.add("bus-unknown", service & (at < 0) & ~_without(fleet, "bus"))
        found.add("phase-not-at-bus", service & (at >= 0) & (columns["phases"] & ~at != 0))
    if facts.grouped is None:
        found.skip("the groups are not given", "no-group")
    else:
        enrolled = columns["enrolment"] == Enrolment.ENROLLED
        found.add("no-group", plant_of(fleet, service) & enrolled & ~facts.grouped)


def _without(fleet: Fleet, name: str) -> Mask:
    """Rows whose text is empty."""
    empty = np.array([not word for word in fleet.labels[name]], dtype=bool)
    where: Mask = empty[fleet.columns[name]]
    return where


def check_places(fleet: Fleet, service: Mask, far_km: float, found: Findings) -> None:
    """Coordinates against those of the others at the same transformer.

    Args:
        fleet: n resources.
        service: bool (n,) rows that count.
        far_km: so far from the others' median is too far.
        found: takes what is wrong.
    """
    lat, lon = fleet.columns["lat_deg"], fleet.columns["lon_deg"]
    placed = service & ~np.isnan(lat) & ~np.isnan(lon)
    rows = np.flatnonzero(placed & ~_without(fleet, "transformer")).astype(np.int32)
    if not len(rows):
        found.skip("nobody has coordinates and a transformer", "place-far", "place-shared")
        return
    rows = _spread_out(fleet, rows, far_km)
    far = rows[_from_median_km(fleet, rows) > far_km]
    if not len(far):
        return
    spots = _spot(lat, lon, np.flatnonzero(placed))
    own = _spot(lat, lon, far)
    known, count = np.unique(spots[np.isin(spots, own)], return_counts=True)
    shared = count[np.searchsorted(known, own)] > 1
    found.add("place-far", far[~shared])
    found.add("place-shared", far[shared])


def _spot(lat: NDArray[Any], lon: NDArray[Any], rows: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """One number for each pair of coordinates, bit by bit."""
    high = lat[rows].astype(np.float32).view(np.int32).astype(np.int64) << 32
    low = lon[rows].astype(np.float32).view(np.uint32).astype(np.int64)
    spot: NDArray[np.int64] = high | low
    return spot


def _spread_out(fleet: Fleet, rows: Rows, far_km: float) -> Rows:
    """Rows at transformers with enough neighbours that do not all lie close together."""
    transformer = fleet.columns["transformer"][rows]
    order = np.argsort(transformer, kind="stable")
    start = np.flatnonzero(np.diff(transformer[order], prepend=-1))
    count = np.diff(start, append=len(rows))
    extent = np.zeros(len(start))
    for name in ("lat_deg", "lon_deg"):
        ordered = fleet.columns[name][rows[order]]
        reach = np.maximum.reduceat(ordered, start) - np.minimum.reduceat(ordered, start)
        extent = np.maximum(extent, reach.astype(np.float64) * _KM_PER_DEGREE)
    # In longitude this overstates the extent, and so looks at a few transformers in vain.
    wide = (extent > 0.5 * far_km) & (count >= _FEWEST_NEIGHBOURS)
    return rows[order[np.repeat(wide, count)]]


def _from_median_km(fleet: Fleet, rows: Rows) -> NDArray[np.float64]:
    """Distance of each row from the median of its transformer, km; rows are sorted by transformer."""
    transformer = fleet.columns["transformer"][rows]
    start = np.flatnonzero(np.diff(transformer, prepend=-1))
    count = np.diff(start, append=len(rows))
    away: dict[str, NDArray[np.float64]] = {}
    for name in ("lat_deg", "lon_deg"):
        value = fleet.columns[name][rows].astype(np.float64)
        ranked = value[np.lexsort((value, transformer))]
        away[name] = value - np.repeat(ranked[start + count // 2], count)
    east = (away["lon_deg"] + 180.0) % 360.0 - 180.0
    east *= np.cos(np.radians(fleet.columns["lat_deg"][rows].astype(np.float64)))
    distance: NDArray[np.float64] = _KM_PER_DEGREE * np.hypot(away["lat_deg"], east)
    return distance


def check_names(fleet: Fleet, service: Mask, found: Findings) -> None:
    """Names with others: their form, and who claims the same one.

    Args:
        fleet: n resources.
        service: bool (n,) rows that count.
        found: takes what is wrong.
    """
    registry = fleet.registry
    directory = Directory.of(registry)
    for name, wrong in directory.misfits.items():
        found.add("identity-form", wrong[service[wrong]], f"{name}: {FORMS[name].rule}", name)
    provider = registry.labels["provider"]
    cases = []
    for duplicate in duplicates(directory):
        speakers = [provider[code] for code in registry.columns["provider"][list(duplicate.rows)].tolist()]
        who = ", ".join(
            f"{registry.ids[row]} of {speaker}"
            for row, speaker in zip(duplicate.rows[:4], speakers, strict=False)
        )
        others = f" and {len(speakers) - 4} more" if len(speakers) > 4 else ""
        reason = f"{duplicate.name} {duplicate.text} is claimed by {who}{others}"
        cases.append((duplicate.rows, duplicate.name, reason))
    found.add_each("identity-twice", cases)

"""Whom the doctor is shown: a registry file, a data folder with its history, or a simulated day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet import Fleet, Image
from gridflock.fleet.doctor import Examination, Facts, Trace, examine
from gridflock.grid import Network
from gridflock.grid.build import from_document
from gridflock.model import Readings, Rejected
from gridflock.ports import Record
from gridflock.record import open_record
from gridflock.runtime._import import places_of, registry_of, scenario_of
from gridflock.runtime._registry import Progress, read_file
from gridflock.runtime._roll import KIND, present_s
from gridflock.runtime._system import System, phases_of_buses
from gridflock.schema import QUANTITY
from gridflock.sim import Scenario, World, feeder_document
from gridflock.units import DAY_S, Rows

_STEP_S = 300
_DAYS = 7
_TRACED = ("p_kw", "v_pu", "e_kwh")
_TOLD = ("p_kw", "q_kvar", "v_pu", "e_kwh")
_Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """What the doctor saw and said.

    Attributes:
        fleet: whom it saw.
        examination: what it found.
        rejected: rows that are no resources at all, and were not seen.
    """

    fleet: Fleet
    examination: Examination
    rejected: tuple[Rejected, ...] = ()


def see_file(path: Path, feeder: str | None = None, progress: Progress | None = None) -> Visit:
    """A registry file: nameplates, places and names; nothing was heard of anybody.

    Args:
        path: CSV, JSON, JSON lines or Parquet.
        feeder: packed feeder whose buses the rows name; None = buses are not looked at.
        progress: told rows read and the share of the file.

    Raises:
        FileRejected: the file as a whole cannot be read.
        UnknownFeeder: no feeder of that name.
    """
    facts = Facts(None if feeder is None else places_of(feeder))
    read = read_file(path, None, progress)
    fleet = Fleet(read.registry)
    return Visit(fleet, examine(fleet, fleet.image(0), facts=facts), read.rejected)


def see_folder(folder: Path) -> Visit:
    """A data folder: its registry, and the last week of its history as far as the registry was the same.

    The history holds what was known at each moment, so that silence shows as a standstill.

    Raises:
        RecordError: no ledger there, or a broken one.
    """
    registry, known = registry_of(folder)
    scenario = scenario_of(folder)
    network = None if scenario is None else from_document(feeder_document(scenario.feeder))
    fleet = Fleet(registry)
    if scenario is not None and network is not None and not known.changes:
        fleet, _ = Fleet.from_rows(World(scenario).registry, phases_of_buses(network))
    since_s = max((change.known_s for change in known.changes), default=0)
    record = open_record(folder, read_only=True)
    try:
        t_s, columns = _history(record, present_s(record), len(fleet.ids), since_s)
    finally:
        record.close()
    trace = None
    now_s = int(t_s[-1]) if len(t_s) else 0
    if len(t_s):
        _tell(fleet, t_s, columns)
        trace = _trace(fleet, t_s, columns)
    facts = Facts() if network is None else _facts(fleet, network)
    return Visit(fleet, examine(fleet, fleet.image(now_s), trace, facts))


def see_life(record: Record, system: System, image: Image) -> Examination:
    """A system that lives: its present, and the last week of its history.

    Args:
        record: its ledger and history.
        system: it.
        image: its present.
    """
    fleet = system.fleet
    since_s = max((entry.time_s for entry in record.entries(0, {KIND})), default=0)
    t_s, columns = _history(record, image.now_s, len(fleet.ids), since_s)
    trace = _trace(fleet, t_s, columns) if len(t_s) else None
    return examine(fleet, image, trace, _facts(fleet, system.network))


def see_demo(ders: int, seed: int) -> Visit:
    """A fleet that has lived a day on the simulated feeder, where some sit on other phases than registered.

    Args:
        ders: how many resources.
        seed: of every draw.
    """
    world = World(Scenario(ders=ders, seed=seed))
    network = from_document(feeder_document(world.scenario.feeder))
    fleet, rejected = Fleet.from_rows(world.registry, phases_of_buses(network))
    heard: dict[str, list[_Floats]] = {name: [] for name in _TRACED}
    image = fleet.image(world.start_s)
    for now_s in range(world.start_s + _STEP_S, world.end_s, _STEP_S):
        world.advance(now_s)
        fleet.ingest(world.read(now_s), now_s)
        image = fleet.image(now_s)
        for name, series in heard.items():
            series.append(np.where(fleet.moment_s(name) == now_s, getattr(image, name), np.nan))
    trace = Trace(_all(fleet), _STEP_S, *(np.array(heard[name]) for name in _TRACED))
    return Visit(fleet, examine(fleet, image, trace, _facts(fleet, network)), rejected)


def _all(fleet: Fleet) -> Rows:
    return np.arange(len(fleet.ids), dtype=np.int32)


def _facts(fleet: Fleet, network: Network) -> Facts:
    """Buses with their phases, and sections as the areas whose phases are compared."""
    row = {bus: k for k, bus in enumerate(network.buses)}
    section = np.append(network.bus_section, np.int32(-1)).astype(np.int32)
    of_bus = section[[row.get(bus, -1) for bus in fleet.labels["bus"]]]
    return Facts(phases_of_buses(network), area=of_bus[fleet.columns["bus"]])


def _trace(fleet: Fleet, t_s: NDArray[np.int64], columns: Mapping[str, _Floats]) -> Trace:
    # One moment has no length, and says nothing over time either.
    step_s = int(np.median(np.diff(t_s))) if len(t_s) > 1 else 1
    return Trace(_all(fleet), step_s, *(columns[name] for name in _TRACED))


def _history(
    record: Record, last_s: int, n: int, since_s: int
) -> tuple[NDArray[np.int64], Mapping[str, _Floats]]:
    """Moments (T,) and readings (T, n) of the days before a moment."""
    rows = record.history("resources", max(since_s, last_s - _DAYS * DAY_S), last_s + 1)
    if not rows:
        return np.empty(0, np.int64), {}
    t_s, at = np.unique(rows["t_s"], return_inverse=True)
    known = rows["row"] < n
    columns = {name: np.full((len(t_s), n), np.nan, dtype=np.float32) for name in _TOLD}
    for name, values in columns.items():
        values[at[known], rows["row"][known]] = rows[name][known]
    return t_s.astype(np.int64), columns


def _tell(fleet: Fleet, t_s: NDArray[np.int64], columns: Mapping[str, _Floats]) -> None:
    """Let a fleet hear the newest value of each quantity of each resource."""
    for name, values in columns.items():
        known = ~np.isnan(values)
        index = np.flatnonzero(known.any(axis=0)).astype(np.int32)
        newest = len(t_s) - 1 - np.argmax(known[::-1, index], axis=0)
        code, quality = (np.full(len(index), value, np.uint8) for value in (QUANTITY[name], 0))
        value = values[newest, index].astype(np.float64)
        readings = Readings(fleet.ids, index, code, value, t_s[newest], quality)
        fleet.ingest(readings, int(t_s[-1]))

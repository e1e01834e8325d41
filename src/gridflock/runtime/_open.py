"""The one place of wiring: a data folder, a world and a system become a running ``Derms``.

On a folder with a past, everything resumes: open proposals from the ledger, the forecasts' past
and the simulated world from their last snapshot, with the orders recorded since then replayed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from threading import Event

import numpy as np
from threadpoolctl import threadpool_limits

from gridflock.dispatch import Response
from gridflock.model import Entry, Orders, Outcomes, Readings
from gridflock.ports import Record
from gridflock.record import open_record
from gridflock.runtime._book import Book
from gridflock.runtime._clock import VirtualClock
from gridflock.runtime._derms import Derms
from gridflock.runtime._loop import Loop, Moment
from gridflock.runtime._past import Past
from gridflock.runtime._settings import Settings
from gridflock.runtime._sites import Sites
from gridflock.runtime._system import System
from gridflock.sim import Scenario, World, feeder_document

_SNAPSHOT_EVERY_S = 900
_WORLD = "world"
_PAST = "past"


class FolderMismatch(Exception):  # noqa: N818 - bad input, told whole
    """The data folder holds the life of another scenario."""


@dataclass(slots=True)
class Rehearsal:
    """A simulated world behind the ``Field`` port: it moves when it is read."""

    world: World

    def read(self, now_s: int) -> Readings:
        """Let the world live until now and take what has arrived."""
        self.world.advance(now_s)
        return self.world.read(now_s)

    def send(self, orders: Orders) -> None:
        """Hand orders over."""
        self.world.send(orders)

    def outcomes(self, now_s: int) -> Outcomes:
        """Answers since the last call."""
        return self.world.outcomes(now_s)


def rehearse(
    folder: Path,
    scenario: Scenario,
    settings: Settings,
    *,
    speed: float = 0.0,
    stop: Event | None = None,
    registry: Sequence[Mapping[str, object]] | None = None,
    join_s: int | None = None,
    wrap: type[Rehearsal] = Rehearsal,
) -> tuple[Derms, World]:
    """Open a system that lives in a simulated world.

    Args:
        folder: ledger, history, snapshots and users; made if missing, resumed if not.
        scenario: the world.
        settings: tempos and limits.
        speed: virtual seconds per wall second; 0 = as fast as it goes.
        stop: set to end a paced wait early.
        registry: rows the system is told instead of the world's own.
        join_s: seconds after local midnight at which a new life begins; the world has lived
            unmanaged until then.
        wrap: the adapter around the world; tests listen in with their own.

    Returns:
        The façade, before its next tick, and the world it lives in.

    Raises:
        FolderMismatch: the folder belongs to another scenario.
        FeederRejected: the feeder document is at fault.
        RecordBusy: another process lives in this folder.
    """
    # The feeder's matrices are small: threads of the linear algebra would only wait for each other.
    threadpool_limits(1)
    record = open_record(folder)
    try:
        _claim(folder, scenario)
        document = feeder_document(scenario.feeder)
        world = _world(record, scenario)
        system = System.build(document, world.registry if registry is None else registry)
        sites = Sites.of(system.charged_sites, system.groups)
        past = Past(system.groups, sites, system.fleet.family, system.fleet.columns["kind"])
        _learn(past, record, world, system)
        book = Book()
        book.rebuild(record.entries(0, {"proposal", "withdrawal"}))
        last, ticks = _last_tick(record)
        next_id = 1 if last is None else int(last.head["next_order_id"])  # type: ignore[arg-type]  # ours
        response = Response.empty(len(system.fleet.ids), next_id)
        field = wrap(world)
        loop = Loop(system, field, record, settings, past, book, response, ticks)
        begins_s = world.start_s + (join_s or 0)
        start_s = begins_s if last is None else last.time_s + settings.tick_s
        clock = VirtualClock(start_s, speed, stop)

        def keep(moment: Moment) -> None:
            if moment.now_s % _SNAPSHOT_EVERY_S == 0:
                record.snapshot(_PAST, past.to_bytes())
                record.snapshot(_WORLD, _stamped(moment.tick, world.snapshot()))

        derms = Derms(loop, book, record, settings, clock, (world.start_s, world.end_s), keep)
        what = "resumed" if ticks else "started"
        head = {"text": f"{what}: {scenario.feeder}, {len(system.places.der_rows)} resources", "tick": ticks}
        record.append([Entry("change", start_s, head)])  # type: ignore[arg-type]  # JSON values
    except BaseException:
        record.close()
        raise
    return derms, world


def _claim(folder: Path, scenario: Scenario) -> None:
    """Write down whose life the folder holds, or check that it is this one."""
    mine = json.loads(json.dumps(dataclasses.asdict(scenario), default=_text))
    path = folder / "scenario.json"
    if not path.exists():
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(mine, indent=1), "utf-8")
        temporary.replace(path)
        return
    theirs = json.loads(path.read_text("utf-8"))
    differs = sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k))
    if differs:
        told = ", ".join(f"{k} is {theirs.get(k)!r}, asked {mine.get(k)!r}" for k in differs)
        message = f"{folder} holds another scenario ({told}); give another folder or the same scenario"
        raise FolderMismatch(message)


def _text(value: object) -> str:
    assert isinstance(value, date)
    return value.isoformat()


def _stamped(tick: int, data: bytes) -> bytes:
    return tick.to_bytes(8, "little") + data


def _world(record: Record, scenario: Scenario) -> World:
    """A new world, or the last snapshot with the recorded ticks since then lived again."""
    stored = record.snapshot(_WORLD)
    tick = 0
    if stored is None:
        world = World(scenario)
    else:
        tick = int.from_bytes(stored[:8], "little")
        world = World.restored(scenario, stored[8:])
    ids = None
    for entry in record.entries(0, {"tick"}):
        if int(entry.head["tick"]) <= tick:  # type: ignore[arg-type]  # ours
            continue
        if ids is None:
            ids = System.build(feeder_document(scenario.feeder), world.registry).fleet.ids
        world.advance(entry.time_s)
        world.read(entry.time_s)
        world.outcomes(entry.time_s)
        orders = recorded_orders(entry, ids)
        if len(orders.index):
            world.send(orders)
    return world


def recorded_orders(entry: Entry, ids: tuple[str, ...]) -> Orders:
    """The orders of a ``tick`` entry, as they went to the wire."""
    columns = entry.columns
    if "order_id" not in columns:
        none = np.empty(0, dtype=np.int64)
        return Orders(
            ids,
            none.astype(np.int32),
            none,
            none.astype(np.float32),
            none,
            none.astype(np.int16),
            (),
            entry.time_s,
        )
    sources = entry.head.get("sources")
    return Orders(
        ids=ids,
        index=columns["row"],
        order_id=columns["order_id"],
        p_kw=columns["p_kw"],
        q_kvar=columns["q_kvar"],
        expires_s=columns["expires_s"],
        source=columns["source"],
        sources=tuple(map(str, sources)) if isinstance(sources, list) else (),
        issued_s=entry.time_s,
    )


def _learn(past: Past, record: Record, world: World, system: System) -> None:
    """The forecasts' past: from the last snapshot, or from the meter data of the week before."""
    stored = record.snapshot(_PAST)
    if stored is not None:
        past.restore(stored)
        return
    before = world.history()
    ids: Collection[str] = before["ids"]
    rows = np.array([system.fleet.row_of.get(name, -1) for name in ids], dtype=np.int32)
    columns = {name: before[name] for name in ("p_kw", "p_avail_kw", "need_kw")}
    past.load(before["t_s"], columns, rows)


def _last_tick(record: Record) -> tuple[Entry | None, int]:
    """The newest tick and its number."""
    newest = None
    for entry in record.entries(0, {"tick"}):
        newest = entry
    return newest, 0 if newest is None else int(newest.head["tick"])  # type: ignore[arg-type]  # ours

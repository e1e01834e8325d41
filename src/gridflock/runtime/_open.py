"""The one place of wiring: a data folder, a world and a system become a running ``Derms``.

On a folder with a past, everything resumes: open proposals, claims, the groups that were defined, the
day's trail and peak, and the registry where the ledger has one, with every import since; the simulated
world from its last snapshot, with the orders recorded since then replayed; and the loop itself (readings,
estimate, regulators, plan, the conversation with each resource) from its last checkpoint, with every tick
since lived again, so that it goes on as if it had never stopped. Where that cannot be, because the
registry, the feeder or the program is another or a time went unrecorded, the orders of the ledger that are
in force are taken up, the forecasts' past comes from its own snapshot, and the rest begins anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from gridflock.dispatch import Response
from gridflock.fleet import Fleet
from gridflock.fleet._health import Health
from gridflock.forecast import Site
from gridflock.model import Entry, Orders, Outcomes, Readings
from gridflock.model import Weather as Forecasted
from gridflock.plan.coordination import Status
from gridflock.plan.network import Round
from gridflock.ports import Record, Weather
from gridflock.record import RecordFull, open_record
from gridflock.runtime import _allowed, _virtual_kept
from gridflock.runtime._book import Book
from gridflock.runtime._clock import VirtualClock
from gridflock.runtime._derms import Derms
from gridflock.runtime._goals import with_goals
from gridflock.runtime._guard_kept import remembered
from gridflock.runtime._guard_limits import wrong_limits
from gridflock.runtime._known import Known
from gridflock.runtime._loop import Loop, Moment
from gridflock.runtime._past import Past
from gridflock.runtime._promises import Promises
from gridflock.runtime._retrace import (
    BEGUN,
    Deaf,
    Keeper,
    Mirror,
    NotReplayable,
    begun,
    checkpoint,
    groups_as_of,
    marks,
    retrace,
    same,
)
from gridflock.runtime._roll import take, versions
from gridflock.runtime._rules import KIND as GUARD
from gridflock.runtime._rules import last_rules
from gridflock.runtime._settings import Settings
from gridflock.runtime._sites import Sites
from gridflock.runtime._skies import NOTICE_S, sound
from gridflock.runtime._sky_way import SkyWay
from gridflock.runtime._system import System
from gridflock.runtime._training import revived
from gridflock.runtime._virtual import VirtualDers
from gridflock.sim import Scenario, World, feeder_document

if TYPE_CHECKING:
    from gridflock.runtime.devices import Serve, Simulated

_SNAPSHOT_EVERY_S = 900
_WORLD = "world"
_PAST = "past"
_SKY_PATIENCE_S = 2.0
"""So long a tick waits at most for somebody else's weather."""
_PROGRAMMES = ("all", "section/")
"""Groups that are programmes of devices that speak for themselves: the feeder and its sections."""
_TALK_S = 7_200
"""Orders and answers of so long before say who is asked what, and who answers."""


class FolderMismatch(Exception):  # noqa: N818 - bad input, told whole
    """The data folder cannot be lived in: another scenario's life, or one that has ended."""


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
    watch: Callable[[Status | Round], None] | None = None,
    weeks: int = 1,
    weather: Weather | None = None,
    stand_ins: Mapping[str, Simulated] | None = None,
    serves: Serve | None = None,
) -> tuple[Derms, World]:
    """Open a system that lives in a simulated world.

    Args:
        folder: ledger, history, snapshots and users; made if missing, resumed if not.
        scenario: the world.
        settings: tempos and limits.
        speed: virtual seconds per wall second; 0 = as fast as it goes.
        stop: set to end a paced wait early.
        registry: rows the system is told instead of the world's own; recorded, and on a folder with a
            registry of its own an import into that.
        join_s: seconds after local midnight at which a new life begins; the world has lived
            unmanaged until then.
        wrap: the adapter around the world; tests listen in with their own.
        watch: told of every round of planning.
        weeks: of meter data before the day that a new life begins with.
        weather: who forecasts it; None = the world's own service.
        stand_ins: what is behind some of the devices that speak for themselves: another system, perhaps.
        serves: where those of the registry that have an LFDI are spoken to, over IEEE 2030.5.

    Returns:
        The façade, before its next tick, and the world it lives in.

    Raises:
        FolderMismatch: the folder belongs to another scenario, or its day is over.
        FeederRejected: the feeder document is at fault.
        RequestRejected: goals name nobody.
        RecordBusy: another process lives in this folder.
    """
    # The feeder's matrices are small: threads of the linear algebra would only wait for each other.
    threadpool_limits(1)
    record = open_record(folder)
    try:
        _claim(folder, scenario)
        document = feeder_document(scenario.feeder)
        world, kept = _world(record, scenario)
        trail, last = _trail(record)
        start_s = world.start_s + (join_s or 0) if last is None else last.time_s + settings.tick_s
        base = system_of(record, document, world, registry, start_s)
        settings = with_goals(settings, record, base, start_s)
        system, virtual, promises, told = _remembered(record, base, start_s)
        book = _book(record, start_s)
        _still_living(folder, world, start_s)
        wrong_limits(settings.policy.guard, system.rows_of)
        loop, exact = _loop(
            record, base, (document, settings, book, watch), (world, kept), (start_s, trail, last), weeks
        )
        loop.training.waits = speed <= 0
        loop.sky_way = _sky_way(world, weather, system.site, settings)
        loop.field, loop.system, loop.keep = wrap(world), system, Keeper(record)
        if world.spoken:
            _let_speak(loop, world, folder, stand_ins)
        clock = VirtualClock(start_s, speed, stop)
        if serves is not None:
            _serve(loop, folder, serves, clock)
        _bind(loop, record, start_s)
        ticks = _ticks(last)
        snapshots = _Snapshots(record, world, loop.past, system.fleet.ids, start_s)
        snapshots.keep(0 if last is None else last.seq)
        derms = Derms(
            loop, book, virtual, promises, record, settings, clock, (world.start_s, world.end_s),
            snapshots.after, trail,
        )  # fmt: skip
        what = "resumed" if ticks else "started"
        text = f"{what}: {scenario.feeder}, {len(system.places.der_rows)} resources"
        text += f"; {loop.past.told}" if loop.past.told else ""
        began = begun(text, start_s, ticks, settings, system.fleet, document, exact=exact)
        seq = record.append([began, *told])
        loop.begin(seq, max((e.seq for e in record.entries(0, {_virtual_kept.KIND})), default=0))
    except BaseException:
        record.close()
        raise
    return derms, world


def _book(record: Record, start_s: int) -> Book:
    """Proposals that are open by a moment."""
    book = Book()
    book.rebuild(record.entries(0, {"proposal", "withdrawal"}))
    book.expire(start_s)
    return book


def _let_speak(loop: Loop, world: World, folder: Path, stand_ins: Mapping[str, Simulated] | None) -> None:
    """Put those devices that speak for themselves behind a server of their own."""
    # The protocol's libraries are an extra: they are wanted only where somebody speaks.
    from gridflock.runtime.devices import speaking  # noqa: PLC0415 - an extra

    rows_of, ids = loop.system.rows_of, loop.system.fleet.ids
    groups = {
        name: [ids[row] for row in rows_of[name] if ids[row] in set(world.spoken)]
        for name in loop.system.groups.ids
        if name.startswith(_PROGRAMMES)
    }
    voices = speaking(world, world.spoken, folder / "ieee2030_5", groups, stand_ins=stand_ins)
    loop.field, loop.ends = voices, voices.close
    loop.join("IEEE 2030.5", voices.field, world.spoken)


def _serve(loop: Loop, folder: Path, how: Serve, clock: VirtualClock) -> None:
    """Speak with those that have an LFDI over a server of the system's own."""
    from gridflock.runtime.devices import attach  # noqa: PLC0415 - an extra

    attach(loop, folder / "ieee2030_5" / "utility", how, clock)


def system_of(
    record: Record,
    document: Mapping[str, object],
    world: World,
    rows: Sequence[Mapping[str, object]] | None,
    start_s: int,
) -> System:
    """The system of the registry that the ledger holds, of given rows on top, or of the world's own.

    Given rows are recorded.
    """
    known = versions(record)
    if rows is None:
        return System.build(document, known.as_of(start_s) if known.changes else world.registry)
    system = System.build(document, rows)
    told = take(
        record,
        known,
        system.fleet.registry,
        None,
        valid_s=start_s,
        now_s=start_s,
        author="operator",
        source="rows given at the start",
    )
    if not known.changes:
        return system
    joined = System.build(document, told.registry)
    return dataclasses.replace(joined, rejected=(*system.rejected, *told.rejected))


def _remembered(
    record: Record, system: System, start_s: int
) -> tuple[System, VirtualDers, Promises, list[Entry]]:
    """A system with the groups of people and the claims of its ledger, and what is to be told of them."""
    kept = record.entries(0, {_virtual_kept.KIND})
    virtual, regrouped = _virtual_kept.rebuilt(system.groups, kept, start_s)
    system = dataclasses.replace(system, groups=virtual.groups)
    promises, released = Promises.rebuilt(record, system.fleet, system.rows_of, start_s)
    return system, virtual, promises, [*regrouped, *released]


def _claim(folder: Path, scenario: Scenario) -> None:
    """Write down whose life the folder holds, or check that it is this one."""
    mine = json.loads(json.dumps(dataclasses.asdict(scenario), default=_text))
    path = folder / "scenario.json"
    if not path.exists():
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(mine, indent=1), "utf-8")
        temporary.replace(path)
        return
    try:
        theirs = dict(json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        message = f"{path} cannot be read as the scenario of this folder: {error}"
        raise FolderMismatch(message) from error
    # What a scenario could not be asked for when the folder was made, it did not have.
    theirs = json.loads(json.dumps(dataclasses.asdict(Scenario()), default=_text)) | theirs
    differs = sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k))
    if differs:
        told = ", ".join(f"{k} is {theirs.get(k)!r}, asked {mine.get(k)!r}" for k in differs)
        message = f"{folder} holds another scenario ({told}); give another folder or the same scenario"
        raise FolderMismatch(message)


def _still_living(folder: Path, world: World, start_s: int) -> None:
    """Refuse a folder whose day is over."""
    if start_s > world.end_s:
        message = f"{folder} has lived its day, {world.scenario.day}, to the end; give another folder"
        raise FolderMismatch(message)


def _text(value: object) -> str:
    assert isinstance(value, date)
    return value.isoformat()


@dataclass(slots=True)
class _Snapshots:
    """What of a rehearsal is not in the ledger, kept every quarter of an hour.

    The world's snapshot carries the ledger position it was taken at and the resource ids that rows
    of later entries mean: both change together, so they are one file.
    """

    record: Record
    world: World
    past: Past
    ids: tuple[str, ...]
    kept_s: int

    def after(self, moment: Moment) -> None:
        """Keep where a new quarter of an hour has begun."""
        if moment.now_s // _SNAPSHOT_EVERY_S > self.kept_s // _SNAPSHOT_EVERY_S:
            # On a full disk the former snapshots stand, and more is replayed.
            with contextlib.suppress(RecordFull):
                self.keep(moment.seq)
                self.kept_s = moment.now_s

    def keep(self, seq: int) -> None:
        """Keep the present state, which is that after entry ``seq``."""
        head = json.dumps({"seq": seq, "ids": self.ids}).encode()
        self.record.snapshot(_PAST, self.past.to_bytes())
        self.record.snapshot(_WORLD, len(head).to_bytes(8, "little") + head + self.world.snapshot())


@dataclass(frozen=True, slots=True)
class _Kept:
    """Where a restored world stands: after which entry, and whom rows of later entries mean."""

    seq: int
    ids: tuple[str, ...]


def _world(record: Record, scenario: Scenario) -> tuple[World, _Kept]:
    """A new world, or that of the last snapshot."""
    stored = record.snapshot(_WORLD)
    if stored is None:
        return World(scenario), _Kept(0, ())
    end = 8 + int.from_bytes(stored[:8], "little")
    head = json.loads(stored[8:end])
    return World.restored(scenario, stored[end:]), _Kept(head["seq"], tuple(head["ids"]))


def _loop(
    record: Record,
    base: System,
    terms: tuple[Mapping[str, object], Settings, Book, Callable[[Status | Round], None] | None],
    lived: tuple[World, _Kept],
    before: tuple[int, list[tuple[int, float]], Entry | None],
    weeks: int,
) -> tuple[Loop, bool]:
    """The loop as the last life left it, or a new one; whether it is the former. The world catches up.

    Args:
        record: ledger.
        base: the system without people's groups.
        terms: feeder document, settings, open proposals, who is told of rounds of planning.
        lived: the world, and where it stands.
        before: the present, the ticks so far, and the newest of them.
        weeks: of meter data that a new life begins with.
    """
    document, settings, book, watch = terms
    world, kept = lived
    start_s, trail, last = before
    loop = _lived_on(record, base, document, settings, book, watch)
    if loop is not None:
        _relive(record, kept, world, None)
        loop.record = record
        return loop, True
    if last is None:
        world.advance(start_s)  # what went before the first tick is not for it to wait for
    base.fleet.refill(Fleet(base.fleet.registry).cells())
    response = conversed(record, kept.ids, base.fleet, start_s, last)
    past = learnt(record, world, base, settings, 7 * weeks)
    loop = Loop(base, Deaf(), record, settings, past, book, response, _ticks(last), trail)
    if watch is not None:
        loop.watch_plans(watch)
    _relive(record, kept, world, loop)
    guarded = remembered(record, kept.ids, base.fleet, start_s, settings.policy.guard)
    loop.deciding.standing = dataclasses.replace(loop.deciding.standing, guarded=guarded)
    return loop, False


def _bind(loop: Loop, record: Record, start_s: int) -> None:
    """Let what people and a system above have said last hold again."""
    loop.rules = last_rules(record.entries(0, {GUARD}), start_s)
    border = _allowed.remembered(
        record.entries(0, {_allowed.KIND}), loop.settings.name, loop.settings.default_kw
    )
    loop.directive = None if border is None else border.adopted


def _ticks(last: Entry | None) -> int:
    """How many ticks there were."""
    return 0 if last is None else int(last.head["tick"])  # type: ignore[arg-type]  # ours


def _lived_on(
    record: Record,
    base: System,
    document: Mapping[str, object],
    settings: Settings,
    book: Book,
    watch: Callable[[Status | Round], None] | None,
) -> Loop | None:
    """The loop as the last life left it; None where the ledger does not say all, or says another."""
    known, last = checkpoint(record), None
    for entry in record.entries(0, {BEGUN}):
        last = entry if "fleet" in entry.head else last
    if known is None or last is None or not marks(base.fleet, document).items() <= last.head.items():
        return None
    try:
        loop, mirror = again(base, known, book, record)
        if watch is not None:
            loop.watch_plans(watch)
        groups_at = groups_as_of(record, base.groups)
        if known.groups_seq:
            loop.regroup(groups_at(known.groups_seq), known.groups_seq)
        for lived in retrace(record.entries(known.seq), loop, mirror, groups_at):
            if not all(map(same, lived.recorded, lived.written)):
                return None
    except (NotReplayable, ValueError):
        return None
    loop.obey(settings)
    return loop


def again(base: System, known: Known, book: Book, record: Record) -> tuple[Loop, Mirror]:
    """A loop that stands where one stood, with nobody to speak to.

    Args:
        base: the system without people's groups.
        known: what it knew.
        book: open proposals.
        record: where what was learnt is kept.

    Raises:
        ValueError: that one was over another fleet, its past of other groups, or what it had learnt is lost.
    """
    sites = Sites.of(base.charged_sites, base.groups, base.fleet.family)
    days = known.settings.past_days if known.settings.learn_days else 0
    past = Past(base.groups, sites, base.fleet.family, base.fleet.columns, days)
    mirror = Mirror([], record)
    nobody = Response.empty(len(base.fleet.ids))
    loop = Loop(base, Deaf(), mirror, known.settings, past, book, nobody)
    loop.resume(known)
    return loop, mirror


def conversed(
    record: Record, ids: tuple[str, ...], fleet: Fleet, start_s: int, last: Entry | None
) -> Response:
    """The conversation as far as recorded orders and answers tell it.

    Args:
        record: ledger.
        ids: whom rows of its entries mean.
        fleet: whom rows mean now.
        start_s: the present.
        last: newest tick.
    """
    reach_s = np.ceil(fleet.columns["reach_s"]).astype(np.int64)
    response = Response.empty(len(fleet.ids), 1, health=Health(fleet).evidence, reach_s=reach_s)
    if last is None:
        return response
    row = np.array([*(fleet.row_of.get(name, -1) for name in ids), -1], dtype=np.int64)
    asked: dict[int, int] = {}
    for entry in record.entries(0, {"tick"}):
        if entry.time_s < start_s - _TALK_S:
            continue
        orders = recorded_orders(entry, ids)
        mine = row[orders.index] >= 0
        orders = dataclasses.replace(
            orders,
            ids=fleet.ids,
            index=row[orders.index][mine].astype(np.int32),
            order_id=orders.order_id[mine],
            p_kw=orders.p_kw[mine],
            q_kvar=None if orders.q_kvar is None else orders.q_kvar[mine],
            expires_s=orders.expires_s[mine],
            source=orders.source[mine],
        )
        answers = _answers(entry, fleet.ids, asked)
        response = response.expired(entry.time_s)
        response = response.heard(answers.index.astype(np.int64), answers, entry.time_s).sent(orders)
        asked.update(zip(orders.order_id.tolist(), orders.index.tolist(), strict=True))
    next_id = int(last.head["next_order_id"])  # type: ignore[arg-type]  # ours
    return dataclasses.replace(response, next_id=next_id)


def _answers(entry: Entry, ids: tuple[str, ...], asked: Mapping[int, int]) -> Outcomes:
    """The answers of a ``tick`` entry to orders that are known."""
    order_id = entry.columns["outcome_order_id"]
    rows = np.array([asked.get(k, -1) for k in order_id.tolist()], dtype=np.int32)
    status, p_kw = entry.columns["outcome_status"], entry.columns["outcome_p_kw"]
    return Outcomes(ids, rows, order_id, status, p_kw, np.full(len(rows), entry.time_s))


def _relive(record: Record, kept: _Kept, world: World, loop: Loop | None) -> None:
    """Live the ticks since the snapshot again: the world with its orders; image and past of a new loop."""
    for entry in record.entries(kept.seq, {"tick"}):
        world.advance(entry.time_s)
        readings = world.read(entry.time_s)
        world.outcomes(entry.time_s)
        if loop is not None:
            loop.system.fleet.ingest(readings, entry.time_s)
            loop.past.add(loop.system.fleet.image(entry.time_s))
        orders = recorded_orders(entry, kept.ids)
        if len(orders.index):
            world.send(orders)


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


def _sky_way(world: World, weather: Weather | None, site: Site, settings: Settings) -> SkyWay:
    """The way to the weather: the world's own answers within a tick, for others none waits long."""
    if weather is None:
        return SkyWay(world.forecaster(), site, settings.plan_s, settings.patience_s)
    return SkyWay(weather, site, settings.plan_s, min(_SKY_PATIENCE_S, 0.1 * settings.tick_s))


def learnt(record: Record, world: World, system: System, settings: Settings, days: int) -> Past:
    """The forecasts' past: from the last snapshot, or from the meter data of the days before."""
    sites = Sites.of(system.charged_sites, system.groups, system.fleet.family)
    kept = settings.past_days if settings.learn_days else 0
    past = Past(system.groups, sites, system.fleet.family, system.fleet.columns, kept)
    stored = record.snapshot(_PAST)
    if stored is not None and revived(past, record, stored):
        return past
    before = world.history(days)
    if settings.learn_days and days >= settings.learn_days:
        first_s = int(before["t_s"][0])
        for issue in world.forecaster().issues(first_s - NOTICE_S, world.start_s):
            heard = sound(issue, system.site)
            if isinstance(heard, Forecasted) and issue.known_s is not None:
                past.hear(heard, int(issue.known_s[0]))
    ids: Collection[str] = before["ids"]
    rows = np.array([system.fleet.row_of.get(name, -1) for name in ids], dtype=np.int32)
    past.load(before, rows)
    return past


def _trail(record: Record) -> tuple[list[tuple[int, float]], Entry | None]:
    """Moment and head power of every tick so far, and the newest tick."""
    trail, newest = [], None
    for entry in record.entries(0, {"tick"}):
        trail.append((entry.time_s, float(entry.head["head_kw"])))  # type: ignore[arg-type]  # ours
        newest = entry
    return trail, newest

"""Laws of the server over random requests of random clients: ownership, validity, memory, no surprises."""

import importlib
import itertools
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gridflock.field.ieee2030_5.resources import (
    DateTimeInterval,
    DERStatus,
    LogEvent,
    MirrorMeterReading,
    MirrorMeterReadingList,
    MirrorUsagePoint,
    Reading,
    ReadingType,
)
from gridflock.field.ieee2030_5.server import Assignment
from gridflock.field.ieee2030_5.server._assignments import assign
from gridflock.field.ieee2030_5.server._mirrors import fetched, waiting
from gridflock.field.ieee2030_5.server._programs import make_program

sys.path.insert(0, str(Path(__file__).parent))
world_of = importlib.import_module("clients_world")
BY = world_of.BY


@pytest.mark.parametrize("seed", range(4))
def test_nobody_reads_or_touches_anothers(make, seed):
    """Over random requests no answer holds anything of another client, and nothing of another changes.

    Besides, every answer is valid by its schema, none is a 5xx, and the journal tells the state.
    """
    utility = make(in_band_devices=seed % 2 == 1, approve_at_once=seed % 2 == 1)
    world = world_of.World(utility, seed)
    statuses = Counter()
    for _ in range(1_500):
        statuses[world.step(hostile=0.2)] += 1
    assert {200, 201, 204, 400, 403, 404, 405} <= statuses.keys()
    assert statuses[200] > 50


def test_days_of_service_leave_nothing_behind(make):
    """Seventy-two hours of polling, posting, alarms and changes: nothing that is kept grows without end."""
    utility = make(kept_logs=10)
    clients = [utility.enrol(k, pin=111115) for k in range(3)]
    programs = [utility.act(make_program, f"p{k}", k, BY).number for k in range(2)]
    for client in clients:
        point = MirrorUsagePoint(
            mrid="A" * 32,
            role_flags=3,
            service_category_kind=0,
            status=1,
            device_lfdi=client.lfdi,
            mirror_meter_reading=(MirrorMeterReading(mrid="1" * 32, reading_type=ReadingType(uom=38)),),
        )
        assert client.post("/mup", point).status == 201
    sizes = []
    for step in range(72 * 12):
        utility.wait(300)
        for k, client in enumerate(clients):
            _five_minutes(utility, client, k, step, programs)
        if step in {72 * 4, 72 * 12 - 1}:
            sizes.append(_sizes(utility.server))
    early, late = sizes
    assert {name: late[name] for name in late if late[name] > early[name] + 12} == {}


@pytest.mark.parametrize("seed", range(6))
def test_a_backlog_told_again_until_it_is_answered_counts_once(make, seed):
    """Posts of any length, some of which or their answers are lost, grown or not before they are sent again.

    Readings come in any order of their intervals, far more of them than a series remembers; each is handed on
    exactly once with its last value, and what is remembered stays bounded by the longest post.
    """
    utility, rng = make(kept_intervals=3), np.random.default_rng(seed)
    client, longest = utility.enrol(1), 40
    series = MirrorMeterReading(mrid="1" * 32, reading_type=ReadingType(uom=38))
    point = MirrorUsagePoint(
        mrid="A" * 32, role_flags=3, service_category_kind=0, status=1, device_lfdi=client.lfdi,
        mirror_meter_reading=(series,),
    )  # fmt: skip
    assert client.post("/mup", point).status == 201
    fresh = iter(rng.permutation(600).tolist())
    queue, handed, made = [], Counter(), 0
    while made < 600 or queue:
        more = list(itertools.islice(fresh, int(rng.choice([0, 1, 1, 2, 70]))))
        queue, made = queue + more, made + len(more)
        post = queue[:longest]
        if not post or rng.random() < 0.2:
            continue
        readings = [
            MirrorMeterReading(
                mrid="1" * 32,
                reading=Reading(value=k, time_period=DateTimeInterval(start=300 * k, duration=300)),
            )
            for k in post
        ]
        many = len(readings)
        batch = MirrorMeterReadingList(all=many, results=many, mirror_meter_reading=tuple(readings))
        assert client.post("/mup/1", batch).status == 201
        if rng.random() < 0.6:
            queue = queue[longest:]
        found = utility.act(waiting)
        handed.update(zip((found.start_s // 300).tolist(), found.value.tolist(), strict=True))
        utility.act(fetched, found.upto)
        recent = utility.server.state.metering.recent[1]
        assert len(recent) <= longest + 1
        assert max(recent) == 300 * max(start for start, _ in handed)
    assert handed == Counter((k, k) for k in range(600))


def _five_minutes(utility, client, k, step, programs):
    """What one device does in five minutes, and now and then an operator or a break."""
    if (step + 7 * k) % 100 < 5:
        return
    for path in (
        "/dcap",
        "/tm",
        "/edev",
        f"/edev/{k + 1}",
        f"/edev/{k + 1}/fsa",
        f"/edev/{k + 1}/fsa/1/derp",
    ):
        client.get(path, l=10)
    client.put(f"/edev/{k + 1}/der/1/ders", DERStatus(reading_time=utility.now_s))
    period = DateTimeInterval(start=utility.now_s - 300, duration=300)
    kind = ReadingType(uom=38, power_of_ten_multiplier=step // 50 % 2)
    reading = MirrorMeterReading(
        mrid="1" * 32, reading_type=kind, reading=Reading(value=step, time_period=period)
    )
    client.post(f"/mup/{k + 1}", reading)
    if step % 10 == 0:
        event = LogEvent(
            created_date_time=utility.now_s,
            function_set=11,
            log_event_code=1,
            log_event_id=step,
            log_event_pen=1,
            profile_id=2,
        )
        client.post(f"/edev/{k + 1}/lel", event)
        held = Assignment("grid", tuple(programs[: 1 + step // 10 % 2]))
        utility.act(assign, {client.lfdi: (held,)}, BY)
    utility.act(fetched, utility.act(waiting).upto)


def _sizes(server):
    """How much of everything there is."""
    state, contacts = server.state, server.contacts
    return {
        "devices": len(state.registry.devices),
        "met": len(state.registry.met),
        "lost": len(state.registry.lost),
        "logs": sum(len(each) for each in state.logs.values()),
        "told": sum(len(past) for each in state.equipment.told.values() for past in each.values()),
        "series": len(state.metering.series) + len(state.metering.stale),
        "recent": sum(len(each) for each in state.metering.recent.values()),
        "waiting": len(state.metering.waiting),
        "held": sum(len(each) for each in state.assignments.held.values()),
        "queue": len(contacts._queue),
        "contacts": len(contacts.of),
        "pages": server._pages._bytes,
        "counted": sum(len(each) for readers in server._pages._pages.values() for each in readers.values()),
    }

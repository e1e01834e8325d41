"""A server between operators and devices when its disk fails, its clients move, and its end comes."""

import importlib
import threading
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest

from gridflock.field.ieee2030_5 import _utility
from gridflock.field.ieee2030_5._http import Caller, Request
from gridflock.field.ieee2030_5.identity import sfdi_of
from gridflock.field.ieee2030_5.resources import ConnectionPoint, EndDevice, LogEvent, Profile, Subscription
from gridflock.field.ieee2030_5.server import Access
from gridflock.field.ieee2030_5.server._alarms import Alarm
from gridflock.field.ieee2030_5.server._devices import Enrolment, load, load_points, set_access
from gridflock.field.ieee2030_5.wire import write
from gridflock.record import RecordFull
from gridflock.runtime._utility_port import Enrolling, Said
from gridflock.runtime.devices import Serve, _shown
from gridflock.runtime.devices._operated import Operated, _shared_out

of = importlib.import_module("field_world")
SITE = "4E4F45AB31EDFE5B67E343E5E4562E31984E23E6"
TYPE = "application/sep+xml"


class Ledger:
    """What was written, while there is space."""

    def __init__(self):
        self.entries, self.full = [], False

    def append(self, entries):
        """Keep them, or refuse them."""
        if self.full:
            raise RecordFull("no space")
        self.entries += entries


@pytest.fixture
def world(network, tmp_path):
    """A server with two devices that say nothing of themselves, and its operators' side."""
    made = of.World(network, tmp_path / "server")
    ledger = Ledger()
    how = Serve(0, tmp_path)
    operated = Operated(made.utility, made.field, how, ledger, made.clock, frozenset)
    yield SimpleNamespace(world=made, utility=made.utility, operated=operated, ledger=ledger)
    made.close()


def _said():
    return Said("omar", "a test", lambda: None)


def _ask(world, who, method, path, body=b""):
    """The answer to a client's request, once it is settled."""

    async def do():
        caller = Caller(who, sfdi_of(who), "")
        answer = world.utility.handle(Request(method, path, {}, "", TYPE if body else "", body, caller))
        return answer if hasattr(answer, "status") else await answer

    return world.utility.call(do())


def _held(monkeypatch, utility):
    """A disk that hangs until it is let go."""
    free, write_it = threading.Event(), utility._journal.write
    monkeypatch.setattr(_utility, "_PATIENCE_S", 0.3)
    monkeypatch.setattr(utility._journal, "write", lambda *args: (free.wait(30), write_it(*args))[1])
    return free


def test_who_is_denied_is_kept_out_though_the_journal_took_nothing(world, monkeypatch):
    """The verb fails and is in effect: the door goes by the state at once, and by the journal later."""

    def full(*_):
        raise OSError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(world.utility._journal, "write", full)
        with pytest.raises(OSError, match="journal takes nothing"):
            world.operated.deny(SITE, _said(), denied=True)
    assert SITE in world.utility._listener._security.denied.lfdis
    world.utility.wake()
    assert not world.utility._unwritten
    assert world.operated.deny(SITE, _said(), denied=False).denied == []
    assert SITE not in world.utility._listener._security.denied.lfdis


def test_a_disk_that_hangs_is_waited_for_a_bounded_time(world, monkeypatch):
    """A verb ends with clear words and is in effect; looking goes on; written is what was done then."""
    free = _held(monkeypatch, world.utility)
    try:
        with pytest.raises(TimeoutError, match="the server of devices does not answer"):
            world.operated.deny(SITE, _said(), denied=True)
        assert world.operated.view().denied == [SITE]
        assert SITE in world.utility._listener._security.denied.lfdis
    finally:
        free.set()
    world.utility.wake()
    assert not world.utility._unwritten


def test_the_end_leaves_nobody_waiting(network, tmp_path, monkeypatch):
    """What is being written is written; afterwards every verb and every look says that it is over."""
    made = of.World(network, tmp_path / "server")
    free = _held(monkeypatch, made.utility)
    with pytest.raises(TimeoutError):
        made.utility.say(load, Enrolment(SITE), of.BY)
    threading.Timer(0.3, free.set).start()
    made.close()
    with pytest.raises(OSError, match="has ended"):
        made.utility.ask(lambda server: server.refusals)
    with pytest.raises(OSError, match="has ended"):
        made.utility.act(load, Enrolment(SITE), of.BY)
    again = of.World(network, tmp_path / "server")
    assert again.utility.ask(lambda server: server.state.registry.of(SITE)) is not None
    again.close()


def test_a_dead_disk_keeps_no_server_from_ending(network, tmp_path, monkeypatch):
    """Who waits is told so, readers too; the server ends within its patience and says that it is not done."""
    made = of.World(network, tmp_path / "server")
    lfdi = made.lfdi("roof")
    free = _held(monkeypatch, made.utility)
    monkeypatch.setattr(_utility, "_HANGS_S", 0.2)
    try:
        with pytest.raises(OSError, match="journal takes nothing"):
            made.utility.act(load, Enrolment(SITE), of.BY)
        held = SimpleNamespace(utility=made.utility)
        assert _ask(held, lfdi, "GET", "/edev").status == 503
        assert made.utility.stop(0.1) is False
        with pytest.raises(OSError, match="has ended"):
            made.utility.act(load, Enrolment(SITE), of.BY)
    finally:
        free.set()
        made.utility.stop = lambda _grace_s: True
    made.utility._disk._thread.join(10)
    made.close()
    again = of.World(network, tmp_path / "server")
    assert again.utility.ask(lambda server: server.state.registry.of(SITE)) is not None
    again.close()


def test_a_disk_that_comes_back_is_written_to(world, monkeypatch):
    """What was done while it did not answer is in effect, and is durable with the next write."""
    free = _held(monkeypatch, world.utility)
    monkeypatch.setattr(_utility, "_HANGS_S", 0.2)
    with pytest.raises(OSError, match="journal takes nothing"):
        world.operated.deny(SITE, _said(), denied=True)
    free.set()
    world.utility.call(_written(world.utility))
    assert world.utility._journal._made == world.utility.server.state.made
    assert world.operated.deny(SITE, _said(), denied=False).denied == []


async def _written(utility):
    if utility._writing is not None:
        await utility._writing
    await utility._durable(())


def test_where_much_is_unwritten_nothing_more_is_taken_in(world, monkeypatch):
    """Readers are answered still when the disk comes back, writers are told to come back; nothing grows."""

    def full(*_):
        raise OSError("disk full")

    lfdi = world.world.lfdi("roof")
    log = LogEvent(
        created_date_time=of.T0, function_set=11, log_event_code=1, log_event_id=1, log_event_pen=1,
        profile_id=2,
    )  # fmt: skip
    monkeypatch.setattr(_utility, "_MOST_UNWRITTEN", 3)
    with monkeypatch.context() as broken:
        broken.setattr(world.utility._journal, "write", full)
        path = world.utility.ask(lambda server: server.state.registry.of(lfdi).path)
        for k in range(10):
            body = write(replace(log, log_event_id=k), Profile.SEP2018)
            assert _ask(world, lfdi, "POST", f"{path}/lel", body).status == 503
        assert len(world.utility._unwritten) <= 5
    world.utility.wake()
    assert not world.utility._unwritten
    assert _ask(world, lfdi, "POST", f"{path}/lel", write(log, Profile.SEP2018)).status == 201


def test_what_waits_when_the_loop_ends_is_let_go(world):
    """A question that the server's thread never comes to answer ends with it."""
    told = []

    def wait():
        with pytest.raises(OSError, match="has ended"):
            world.utility.call(_never(begun))
        told.append("ended")

    begun = threading.Event()
    asking = threading.Thread(target=wait)
    asking.start()
    assert begun.wait(10)
    world.utility.stop(0.1)
    asking.join(10)
    assert told == ["ended"]
    world.utility.stop = lambda _grace_s: None


async def _never(begun):
    begun.set()
    await _utility.asyncio.Event().wait()


def test_clients_that_move_or_give_up_devices_are_told_of(world):
    """Another connection point, another resource, a site given up: each is an event with both sides."""
    aggregator = "3E4F45AB31EDFE5B67E343E5E4562E31984E23E5"
    act = world.utility.act
    act(load_points, {"A": "home 1", "B": "home 2"}, of.BY)
    act(load, Enrolment(aggregator, aggregator=True, profile=Profile.CSIPAUS13), of.BY)
    act(load, Enrolment(SITE, owner=aggregator), of.BY)
    path = world.utility.ask(lambda server: server.state.registry.of(SITE).path)
    for point in "AB":
        body = write(ConnectionPoint(connection_point_id=point), Profile.CSIPAUS13)
        assert _ask(world, aggregator, "PUT", f"{path}/cp", body).status == 204
    assert _ask(world, aggregator, "DELETE", path).status == 204
    world.operated.read(of.T0)
    told = [entry.head for entry in world.ledger.entries if entry.head["lfdi"] == SITE]
    assert [each["what"] for each in told] == ["moved", "moved", "given up"]
    assert "home 1 instead of none" in told[0]["text"]
    assert "home 2 stands there, it stays home 1" in told[1]["text"]
    assert f"it was home 1, spoken for by {aggregator}" in told[2]["text"]


def test_whose_a_device_is_is_told_though_the_server_was_killed_before(network, tmp_path):
    """A claim that ended, and a certificate that was refused, are told after a restart, and told once."""
    ledger, how = Ledger(), Serve(0, tmp_path)
    aggregator = "3E4F45AB31EDFE5B67E343E5E4562E31984E23E5"
    made = of.World(network, tmp_path / "server")
    made.utility.act(load, Enrolment(aggregator, aggregator=True), of.BY)
    made.utility.act(load, Enrolment(SITE, owner=aggregator), of.BY)
    me = write(EndDevice(lfdi=SITE, sfdi=sfdi_of(SITE), changed_time=0), Profile.SEP2018)
    held = SimpleNamespace(utility=made.utility)
    assert [_ask(held, SITE, "POST", "/edev", me).status for _ in range(2)] == [403, 403]
    made.close()
    made = of.World(network, tmp_path / "server")
    made.utility.act(load, Enrolment(SITE, moved=True), of.BY)
    operated = Operated(made.utility, made.field, how, ledger, made.clock, frozenset)
    ledger.full = True
    operated.read(of.T0)
    ledger.full = False
    for k in range(3):
        operated.read(of.T0 + 60 * k)
    told = [entry.head["what"] for entry in ledger.entries if entry.head["lfdi"] == SITE]
    assert told == ["contested", "claim ended"]
    assert f"{aggregator} spoke for it" in ledger.entries[-1].head["text"]
    made.close()


@pytest.mark.parametrize(
    ("function_set", "profile", "name", "words"),
    [
        (11, 2, "DER", "function set 11 (DER), code 7: hot"),
        (13, 2, "software download", "function set 13 (software download), code 7: hot"),
        (11, 1, "", "function set 11, code 7: hot"),
        (99, 2, "", "function set 99, code 7: hot"),
    ],
)
def test_a_log_event_names_its_function_set(world, function_set, profile, name, words):
    """In the event and in the device's log; what another profile numbers, or nobody, is told by number."""
    lfdi = world.world.lfdi("roof")
    log = LogEvent(
        created_date_time=of.T0, details="hot", function_set=function_set, log_event_code=7,
        log_event_id=1, log_event_pen=1, profile_id=profile,
    )  # fmt: skip
    assert _ask(world, lfdi, "POST", "/edev/2/lel", write(log, Profile.SEP2018)).status == 201
    world.operated.read(of.T0)
    assert world.ledger.entries[-1].head["text"] == f"roof: reports: {words}"
    (seen,) = world.operated.device(lfdi, secrets=False).logs
    assert (seen.function_set, seen.about, seen.code, seen.details) == (function_set, name, 7, "hot")


def test_one_device_hides_no_others():
    """However much one reports, what the server finds comes first; of one client's doings a few are told."""
    loud = [Alarm("loud", "log event", k) for k in range(500)]
    others = [Alarm(f"d{k}", "lost", k) for k in range(20)]
    first, rest = _shared_out([*loud, Alarm("x", "registered", 1), *others, Alarm("d1", "log event", 2)])
    assert first[:20] == others
    assert Counter((each.lfdi, each.what) for each in first[20:]) == {
        ("x", "registered"): 1, ("loud", "log event"): 3, ("d1", "log event"): 1,
    }  # fmt: skip
    assert len(rest) == 497


def test_too_many_alarms_lose_what_devices_report_first(world, monkeypatch):
    """Where nobody fetches them, the server's own findings are kept; a full ledger loses none of them."""
    monkeypatch.setattr(_utility, "_MOST_ALARMS", 5)
    world.utility._keep(Alarm("a", "lost", 1), *[Alarm("b", "log event", k) for k in range(20)])
    assert [each.what for each in world.utility.alarms] == ["log event"] * 4 + ["lost"]
    world.ledger.full = True
    world.operated.read(of.T0)
    assert world.ledger.entries == []
    world.ledger.full = False
    world.operated.read(of.T0 + 60)
    assert Counter(entry.head["what"] for entry in world.ledger.entries) == {
        "lost": 1,
        "log event": 3,
        "more": 1,
    }


def test_who_is_denied_is_not_counted_as_there(world):
    """Denied, or behind somebody who is, a resource is still this server's and takes no orders."""
    world.operated.read(of.T0)
    assert world.world.field.present == {"battery", "roof"}
    lfdi = world.world.lfdi("roof")
    world.operated.deny(lfdi, _said(), denied=True)
    world.operated.read(of.T0 + 60)
    assert world.world.field.present == {"battery"}
    assert world.operated.view().joined == 2
    world.operated.deny(lfdi, _said(), denied=False)
    world.operated.read(of.T0 + 120)
    assert world.world.field.present == {"battery", "roof"}


def test_a_list_is_looked_through_beside_the_server(world):
    """Pages of what was found at one moment; who is gone meanwhile is left out, the rest is as it is now."""
    page = world.operated.devices("", "", 1_000, 0)
    assert (page.total, [each.resource for each in page.devices]) == (2, ["battery", "roof"])
    assert [each.resource for each in world.operated.devices("", "ROOF", 10, 0).devices] == ["roof"]
    assert world.operated.devices("pending", "", 10, 0).total == 0
    assert [each.resource for each in world.operated.devices("", "", 1, 1).devices] == ["roof"]
    world.utility.act(set_access, world.world.lfdi("roof"), Access.SUSPENDED, of.BY)
    shown = world.utility.ask(lambda server: _shown.views(server, [2, 99], of.T0))
    assert [each.access for each in shown] == ["suspended"]


def test_where_notifications_go_is_the_operators_business(world):
    """Who only looks sees the host: what is behind it may be what lets notifications in."""
    lfdi = world.world.lfdi("roof")
    world.operated.enrol(Enrolling(lfdi, hosts=("agg.example",)), _said())
    wish = Subscription(
        encoding=0, level="+S1", limit=1, notification_uri="https://agg.example/n?key=secret",
        subscribed_resource="/edev/2",
    )  # fmt: skip
    assert _ask(world, lfdi, "POST", "/edev/2/sub", write(wish, Profile.SEP2018)).status == 201
    seen = [world.operated.device(lfdi, secrets=each).subscriptions[0].uri for each in (False, True)]
    assert seen == ["agg.example", "https://agg.example/n?key=secret"]

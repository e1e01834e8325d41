"""The server's memory: what was acknowledged is there after any end of the process."""

import shutil
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from gridflock.field.ieee2030_5.resources import LogEvent
from gridflock.field.ieee2030_5.server import CHANGES, Access, By, Journal, State, UtilityServer, _serving
from gridflock.field.ieee2030_5.server._devices import Enrolment, load, set_access
from gridflock.field.ieee2030_5.server._journal import changes_of
from gridflock.field.ieee2030_5.server._turn import Ask
from gridflock.record import open_record

BY = By("operator", "a test")
DRIVER = Path(__file__).with_name("posting_driver.py")


def _log(number):
    return LogEvent(
        created_date_time=number,
        function_set=11,
        log_event_code=1,
        log_event_id=number,
        log_event_pen=37250,
        profile_id=2,
    )


@pytest.fixture
def folder(tmp_path):
    """Of a record."""
    return tmp_path / "record"


def test_state_comes_back_from_entries_and_from_snapshots(make, folder):
    """Restored from entries alone, from a snapshot alone, and from both, it is the state that was left."""
    utility = make()
    client = utility.enrol(1, pin=111115)
    record = open_record(folder)
    written = 0

    def settle():
        nonlocal written
        record.append(utility.journal[written:])
        written = len(utility.journal)
        journal = Journal(record, CHANGES)
        assert journal.restore() == utility.server.state
        return journal

    settle()
    client.post("/edev/1/lel", _log(1))
    assert settle().snapshot(utility.server.state)
    settle()
    client.post("/edev/1/lel", _log(2))
    utility.act(set_access, client.lfdi, Access.SUSPENDED, BY)
    settle()
    assert Journal(record, CHANGES).restore().logs[1][-1].number == 2
    record.close()


def test_an_empty_record_is_an_empty_state(folder):
    """The first start begins with nothing."""
    record = open_record(folder)
    assert Journal(record, CHANGES).restore() == State()
    record.close()


def test_a_state_ahead_of_the_journal_is_not_stored(make, folder):
    """While changes wait to be written no snapshot is taken: after a restart they would be made twice."""
    utility = make()
    client = utility.enrol(1)
    record = open_record(folder)
    record.append(utility.journal)
    journal = Journal(record, CHANGES)
    journal.restore()
    _, first = utility.server.act(0, set_access, client.lfdi, Access.SUSPENDED, BY)
    assert not journal.snapshot(utility.server.state)
    journal.write(first, 0)
    assert journal.snapshot(utility.server.state)
    _, second = utility.server.act(0, set_access, client.lfdi, Access.ENABLED, BY)
    journal.write(second, 0)
    assert Journal(record, CHANGES).restore() == utility.server.state
    utility.journal = list(record.entries())
    record.close()


def _written(utility, journal):
    """Write what is not written yet."""
    for each in utility.journal[journal._told :]:
        journal.write(changes_of(each, CHANGES), 0)
    journal._told = len(utility.journal)


def _opened(folder):
    record = open_record(folder)
    journal = Journal(record, CHANGES)
    state, journal._told = journal.restore(), 0
    return record, journal, state


def test_a_snapshot_that_cannot_be_read_costs_nothing(make, folder, caplog):
    """The entries have all that it had."""
    utility = make()
    for k in range(5):
        utility.enrol(k)
    record, journal, _ = _opened(folder)
    _written(utility, journal)
    assert journal.snapshot(utility.server.state)
    for broken in (b"", b"no snapshot", zlib.compress(b"{}"), zlib.compress(b"[" * 9)):
        record.snapshot("state", broken)
        assert Journal(record, CHANGES).restore() == utility.server.state
        assert "not readable" in caplog.text
        caplog.clear()
    record.close()


@pytest.mark.parametrize("left", [0.25, 0.5, 0.75])
def test_a_ledger_that_was_cut_off_loses_nothing_that_comes_after(make, folder, left):
    """Of a file cut in its middle all is there as far as the snapshot goes, and all that is written next."""
    utility = make()
    record, journal, _ = _opened(folder)
    for k in range(40):
        utility.enrol(k)
    _written(utility, journal)
    assert journal.snapshot(utility.server.state)
    known = utility.server.state.made
    for k in range(40, 60):
        utility.enrol(k)
    _written(utility, journal)
    cut = folder.with_name("cut")
    shutil.copytree(folder, cut)
    record.close()
    (cut / "writer.lock").unlink()
    wal = next(cut.glob("*-wal"))
    wal.write_bytes(wal.read_bytes()[: int(wal.stat().st_size * left)])
    record, journal, state = _opened(cut)
    assert known <= state.made <= utility.server.state.made
    many = len(state.registry.devices)
    assert many >= 40
    server = UtilityServer(utility.server.policy, state, utility.now_s)
    for k in range(100, 103):
        _, changes = server.act(utility.now_s, load, Enrolment(f"{k:040X}"), BY)
        journal.write(changes, 0)
    record.close()
    record, _, again = _opened(cut)
    assert again == server.state
    assert len(again.registry.devices) == many + 3
    record.close()


def test_every_change_of_an_operator_says_who_and_why(utility):
    """In the journal stand actor and reason beside what an operator did."""
    utility.enrol(1)
    said = [each for entry in utility.journal for each in entry.head["changes"]]
    assert all(each["by"] == {"actor": "operator", "reason": "a test"} for each in said)


def test_a_fault_of_ours_leaves_no_change_outside_the_journal(make, monkeypatch):
    """What a failing handler changed is kept behind a 500; what a verb did comes with the next turn."""
    utility = make()
    client = utility.enrol(1)

    def failing(turn, **_):
        set_access(turn, client.lfdi, Access.SUSPENDED if isinstance(turn, Ask) else Access.ENABLED, BY)
        raise ZeroDivisionError

    monkeypatch.setattr(_serving, "ROUTES", SimpleNamespace(answer=failing, first=_serving.ROUTES.first))
    assert client.get("/edev").status == 500
    assert utility.relived() == utility.server.state
    assert utility.server.state.registry.of(client.lfdi).access is Access.SUSPENDED
    with pytest.raises(ZeroDivisionError):
        utility.act(failing)
    utility.wait(1)
    assert utility.relived() == utility.server.state
    assert utility.server.state.registry.of(client.lfdi).access is Access.ENABLED


def test_a_killed_server_has_all_that_it_acknowledged(folder):
    """Killed without warning, past a snapshot, nothing it had answered to is missing or there twice."""
    with subprocess.Popen([sys.executable, DRIVER, folder], stdout=subprocess.PIPE, text=True) as process:
        acknowledged = [int(process.stdout.readline()) for _ in range(40)][-1]
        process.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *(int(line) for line in process.stdout if line.endswith("\n"))])
    record = open_record(folder)
    metering = Journal(record, CHANGES).restore().metering
    record.close()
    values = [reading[3] for reading in metering.waiting]
    assert values == list(range(len(values)))
    assert acknowledged < len(values) <= acknowledged + 2

"""A writer that is killed at any moment loses nothing it acknowledged and leaves nothing half done."""

import contextlib
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from gridflock.model import Entry
from gridflock.record import RecordBusy, open_record

KILLS = 11
LONGEST_LIFE_S = 0.2

CHILD = textwrap.dedent("""
    import sys
    import threading
    from pathlib import Path

    import numpy as np

    from gridflock.model import Entry
    from gridflock.record import open_record

    record = open_record(Path(sys.argv[1]), flush_rows=2_000)
    said = threading.Lock()
    noise = np.random.default_rng(1).normal(size=50)


    def say(line):
        with said:
            sys.stdout.write(line + "\\n")
            sys.stdout.flush()


    def work(me):
        k = 0
        while True:
            k += 1
            batch = [Entry("tick", k, {"me": me, "k": k, "part": part}, {"x": noise}) for part in range(3)]
            say(f"entries {record.append(batch)}")


    def remember():
        while True:
            first = record.append([Entry("history", 0, {})])
            rows = first * 1_000 + np.arange(700)
            record.write_history("image", {"t_s": rows, "x": noise[rows % 50]})
            record.compact("image", "1970-01-01")
            record.snapshot("image", first.to_bytes(8, "big") * 10_000)
            say(f"snapshot {first}")


    for me in range(3):
        threading.Thread(target=work, args=(me,)).start()
    threading.Thread(target=remember).start()
    say("ready")
""")


def look_at_live(folder):
    """A folder that another process writes can be read and verified, but not written."""
    with contextlib.closing(open_record(folder, read_only=True)) as reader:
        verdict = reader.verify()
        assert verdict.ok, verdict
        # A writer that has just said it is ready may not have put its first entry on disk yet.
        if verdict.entries:
            assert next(reader.entries()).seq == 1
    with pytest.raises(RecordBusy, match="pid"):
        open_record(folder)


def live_and_die(folder, life_s):
    """Run the writer for ``life_s`` seconds after it is ready; what it said before SIGKILL."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE, text=True)
    with child:
        lines = [child.stdout.readline()]
        look_at_live(folder)
        killer = time.monotonic() + life_s
        while time.monotonic() < killer:
            lines.append(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.read().splitlines(keepends=True)
    assert child.returncode == -signal.SIGKILL, "the writer ended by itself"
    return [line.split() for line in lines if line.endswith("\n")]


def said_numbers(said, what):
    """The numbers the writer printed behind that word."""
    return [int(words[1]) for words in said if words[0] == what]


def check_ledger(record, acknowledged, checked):
    """The chain verifies without a gap, holds all that was acknowledged, and only whole batches."""
    verdict = record.verify()
    assert verdict.ok, verdict
    assert verdict.entries >= acknowledged
    fresh = list(record.entries(after=checked))
    assert [entry.seq for entry in fresh] == list(range(checked + 1, verdict.entries + 1))
    parts = [entry.head["part"] for entry in fresh if entry.kind == "tick"]
    assert parts == [0, 1, 2] * (len(parts) // 3)
    return verdict


def test_kill_9_loses_no_acknowledged_entry(tmp_path):
    """After each of many kills of one folder's writer, what it acknowledged and wrote is there and whole."""
    rng = np.random.default_rng(20_261_105)
    acknowledged, snapshot, checked, times = 0, 0, 0, np.zeros(0, np.int64)
    for _ in range(KILLS):
        said = live_and_die(tmp_path, rng.uniform(0.0, LONGEST_LIFE_S))
        acknowledged = max([acknowledged, *said_numbers(said, "entries")])
        snapshot = max([snapshot, *said_numbers(said, "snapshot")])
        with contextlib.closing(open_record(tmp_path, read_only=True)) as reader:
            found = reader.verify()
        with contextlib.closing(open_record(tmp_path)) as record:
            assert check_ledger(record, acknowledged, checked) == found
            stored = record.snapshot("image") or bytes(8)
            history = record.history("image", 0, 2**40)
        checked = found.entries
        number = int.from_bytes(stored[:8], "big")
        assert stored == stored[:8] * (len(stored) // 8)
        assert number >= snapshot
        before, times = times, history.get("t_s", times)
        assert len(np.unique(times)) == len(times)
        assert np.isin(before, times).all()
    with contextlib.closing(open_record(tmp_path)) as record:
        assert record.append([Entry("change", 0, {})]) == checked + 1
        assert record.verify().ok
    assert acknowledged > 10 * KILLS
    assert snapshot > 0
    assert len(times) > 0

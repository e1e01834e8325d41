"""A writer that is killed at any moment loses nothing it acknowledged and leaves nothing half done."""

import contextlib
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np

from gridflock.record import open_record

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
    noise = np.random.default_rng(1).normal(size=500)


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
            record.write_history("image", {"t_s": rows, "x": noise[rows % 500]})
            record.compact("image", "1970-01-01")
            record.snapshot("image", bytes([first % 256]) * 100_000)
            say(f"snapshot {first % 256}")


    for me in range(3):
        threading.Thread(target=work, args=(me,)).start()
    threading.Thread(target=remember).start()
    say("ready")
""")


def live_and_die(folder, life_s):
    """Run the writer for ``life_s`` seconds after it is ready; what it said before SIGKILL."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE, text=True)
    with child:
        first = child.stdout.readline()
        lines = [first]
        killer = time.monotonic() + life_s
        while time.monotonic() < killer:
            lines.append(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.read().splitlines(keepends=True)
    assert child.returncode == -signal.SIGKILL, "the writer ended by itself"
    return [line.split() for line in lines if line.endswith("\n")]


def check_ledger(record, acknowledged):
    """The chain verifies without a gap, holds all that was acknowledged, and only whole batches."""
    verdict = record.verify()
    assert verdict.ok, verdict
    entries = list(record.entries())
    assert [entry.seq for entry in entries] == list(range(1, verdict.entries + 1))
    assert verdict.entries >= acknowledged
    parts = [entry.head["part"] for entry in entries if entry.kind == "tick"]
    assert parts == [0, 1, 2] * (len(parts) // 3)
    return entries


def test_kill_9_loses_no_acknowledged_entry(tmp_path):
    """After each of many kills of one folder's writer, what it acknowledged and wrote is there and whole."""
    rng = np.random.default_rng(20_261_105)
    acknowledged, snapshot, rows = 0, None, 0
    for _ in range(KILLS):
        said = live_and_die(tmp_path, rng.uniform(0.0, LONGEST_LIFE_S))
        numbers = [int(words[1]) for words in said if words[0] == "entries"]
        snapshots = [int(words[1]) for words in said if words[0] == "snapshot"]
        acknowledged = max([acknowledged, *numbers])
        snapshot = snapshots[-1] if snapshots else snapshot
        for read_only in (True, False):
            with contextlib.closing(open_record(tmp_path, read_only=read_only)) as record:
                entries = check_ledger(record, acknowledged)
                stored = record.snapshot("image")
                history = record.history("image", 0, 2**40)
        assert stored is None or (len(stored) == 100_000 and len(set(stored)) == 1)
        if snapshot is not None:
            begun = [entry.seq % 256 for entry in entries if entry.kind == "history"]
            assert stored[0] in begun[begun.index(snapshot) :]
        times = history.get("t_s", np.zeros(0, np.int64))
        assert len(np.unique(times)) == len(times)
        assert len(times) >= rows
        rows = len(times)
    with contextlib.closing(open_record(tmp_path)) as record:
        before = record.verify().entries
        assert record.append(entries[-1:]) == before + 1
        assert record.verify().ok
    assert acknowledged > 10 * KILLS
    assert rows > 0

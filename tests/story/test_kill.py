"""The story of a process that dies: nothing acknowledged is lost, nothing is sent twice."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from gridflock.record import open_record
from gridflock.runtime import Settings, replay

KILLS = 20
DRIVER = Path(__file__).with_name("kill_driver.py")
DEAD = f"dead {-signal.SIGKILL}\n"


@pytest.fixture(scope="module")
def nursery():
    """A process that gives birth to lives."""
    with subprocess.Popen(
        [sys.executable, str(DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def _life(nursery, folder: Path, seconds: float, *, settled: bool) -> tuple[list[str], list[str]]:
    """Start a life, kill it ``seconds`` after it is ready or has ticked; acknowledgements and ticks."""
    nursery.stdin.write(f"{folder} - 0\n")
    lines = [nursery.stdout.readline(), nursery.stdout.readline()]
    assert lines[1].strip() == "ready", lines
    while settled and not lines[-1].startswith("tick"):
        lines.append(nursery.stdout.readline())
    time.sleep(seconds)
    os.kill(int(lines[0].split()[1]), signal.SIGKILL)
    lines += _to_its_end(nursery)
    acknowledged = [line.split()[1] for line in lines if line.startswith("ack") and len(line.split()) == 3]
    return acknowledged, [line for line in lines if line.startswith("tick")]


def _to_its_end(nursery) -> list[str]:
    """What a life said until it was killed."""
    lines = []
    while not (line := nursery.stdout.readline()).startswith("dead"):
        assert line, "the nursery is gone"
        lines.append(line)
    assert line == DEAD
    return lines


@pytest.mark.timeout(600)
def test_twenty_deaths_lose_nothing_and_repeat_nothing(tmp_path, nursery):
    """After SIGKILL at 20 random moments nothing acknowledged is lost and nothing is sent twice.

    The chain verifies, every acknowledged proposal is in the ledger, every order on the wire was
    recorded before, no order id went out twice, and ticks go on where they stopped.
    """
    draw = random.Random(20260715)
    folder = tmp_path / "life"
    acknowledged: list[str] = []
    for k in range(KILLS):
        # Every other death comes after the first tick, which plans and takes longest.
        acked, _ = _life(nursery, folder, draw.uniform(0.05, 1.2), settled=bool(k % 2))
        acknowledged += acked
        record = open_record(folder, read_only=True)
        verdict = record.verify()
        assert verdict.ok, verdict
        record.close()
    record = open_record(folder, read_only=True)
    proposals = {str(entry.head["id"]) for entry in record.entries(0, {"proposal"})}
    ticks = list(record.entries(0, {"tick"}))
    record.close()
    assert acknowledged, "the lives were too short to be told anything"
    assert set(acknowledged) <= proposals
    wire = [int(line) for line in (folder / "wire.log").read_text().split()]
    assert wire
    assert max(Counter(wire).values()) == 1
    recorded = [int(i) for entry in ticks for i in entry.columns["order_id"]]
    assert set(wire) <= set(recorded)
    assert max(Counter(recorded).values()) == 1
    assert [entry.head["tick"] for entry in ticks] == list(range(1, len(ticks) + 1))
    assert [b.time_s - a.time_s for a, b in pairwise(ticks)] == [60] * (len(ticks) - 1)


@pytest.mark.timeout(600)
def test_a_death_between_record_and_wire_sends_nothing_twice(tmp_path, nursery):
    """Killed in a sending, before the wire has it or after: what was recorded goes out once at most.

    Orders that were recorded are never made again: ids rise, the first tick of a life repeats nothing of what
    the last one had said when it died but what ends soon, and all lives together can be lived again to the
    last byte.
    """
    folder, deaths = tmp_path / "life", []
    for point, left in (("before", 3), ("after", 2), ("before", 1)):
        nursery.stdin.write(f"{folder} {point} {left}\n")
        _to_its_end(nursery)
        record = open_record(folder, read_only=True)
        assert record.verify().ok
        ticks = list(record.entries(0, {"tick"}))
        record.close()
        deaths.append(len(ticks))
    del deaths[-1]
    wire = [int(line) for line in (folder / "wire.log").read_text().split()]
    recorded = [int(i) for entry in ticks for i in entry.columns["order_id"]]
    assert recorded == sorted(set(recorded))
    assert max(Counter(wire).values()) == 1
    assert set(wire) < set(recorded)
    renew_s = Settings().policy.renew_s
    for last, first in ((ticks[k - 1], ticks[k]) for k in deaths):
        words = [
            set(
                zip(*(entry.columns[name][lasts].tolist() for name in ("row", "p_kw", "q_kvar")), strict=True)
            )
            for entry in (last, first)
            for lasts in [entry.columns["expires_s"] - first.time_s > renew_s]
        ]
        assert words[0]
        assert not words[0] & words[1]
    assert replay(folder).identical

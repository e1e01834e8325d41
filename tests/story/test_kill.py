"""The story of a process that dies: nothing acknowledged is lost, nothing is sent twice."""

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

KILLS = 20
DRIVER = Path(__file__).with_name("kill_driver.py")


def _life(folder: Path, seconds: float, *, settled: bool) -> tuple[list[str], list[str]]:
    """Start a life, kill it ``seconds`` after it is ready or has ticked; acknowledgements and ticks."""
    with subprocess.Popen(
        [sys.executable, str(DRIVER), str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.strip() == "ready", process.communicate()[1]
        early: list[str] = []
        while settled and not (early and early[-1].startswith("tick")):
            early.append(process.stdout.readline())
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        lines = [line.rstrip() for line in early] + process.stdout.read().splitlines()
    acknowledged = [line.split()[1] for line in lines if line.startswith("ack") and len(line.split()) == 3]
    return acknowledged, [line for line in lines if line.startswith("tick")]


@pytest.mark.timeout(600)
def test_twenty_deaths_lose_nothing_and_repeat_nothing(tmp_path):
    """After SIGKILL at 20 random moments nothing acknowledged is lost and nothing is sent twice.

    The chain verifies, every acknowledged proposal is in the ledger, every order on the wire was
    recorded before, no order id went out twice, and ticks go on where they stopped.
    """
    draw = random.Random(20260715)
    folder = tmp_path / "life"
    acknowledged: list[str] = []
    for k in range(KILLS):
        # Every other death comes after the first tick, which plans and takes longest.
        acked, _ = _life(folder, draw.uniform(0.05, 1.2), settled=bool(k % 2))
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

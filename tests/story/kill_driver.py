"""A life that can be killed: ticks, proposes, and tells what it was acknowledged (not a test).

The devices' side keeps its own book: every order id that reaches the wire is appended to a file
before anything else happens, so that what was sent can be compared with what was recorded.

A nursery: each line on standard input, ``folder point left``, is a life in a process of its own, forked
from one that has imported everything. It tells its pid and what happens to it; once it is dead, the nursery
tells how. With a point other than ``-`` it dies by itself in its so many-th sending: ``before`` the wire has
it, or ``after``.
"""

import os
import signal
import sys
from pathlib import Path

from gridflock.model import Orders
from gridflock.runtime import LOCAL, Rehearsal, Settings, rehearse
from gridflock.sim import Scenario

WIRE = "wire.log"


class Wired(Rehearsal):
    """The world with a device-side log of what arrived."""

    log = -1
    point, left = "", 0

    def send(self, orders: Orders) -> None:
        """Log, then hand over; die where that was asked for."""
        Wired.left -= 1
        dies = Wired.left == 0
        if dies and Wired.point == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(self.log, ("\n".join(map(str, orders.order_id.tolist())) + "\n").encode())
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        Rehearsal.send(self, orders)


def main(folder: Path) -> None:
    """Live until killed or until the day ends."""
    folder.mkdir(exist_ok=True)
    Wired.log = os.open(folder / WIRE, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    scenario = Scenario(ders=150, seed=7)
    derms, world = rehearse(folder, scenario, Settings(tick_s=60), wrap=Wired)
    print("ready", flush=True)
    while derms.clock.now_s() < world.end_s:
        moment = derms.tick()
        print("tick", moment.tick, flush=True)
        if moment.tick % 3 == 0:
            answer = derms.propose(LOCAL, "type/battery_home", p_kw=5.0, minutes=5, why="kill test")
            print("ack", answer.proposal.id, answer.seq, flush=True)
        derms.clock.sleep_until(moment.now_s + 60)


def nursery() -> None:
    """One life after the other, until there is no more to read."""
    for line in sys.stdin:
        folder, point, left = line.split()
        pid = os.fork()
        if not pid:
            Wired.point, Wired.left = point, int(left)
            print("pid", os.getpid(), flush=True)
            main(Path(folder))
            os._exit(0)
        print("dead", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    nursery()

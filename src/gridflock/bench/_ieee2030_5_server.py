"""A utility server in a process of its own, measured from outside, and a plain server beside it.

``python -m gridflock.bench._ieee2030_5_server FOLDER PEOPLE DEVICES`` prints its ports as a line of JSON and
answers each line it is told with another: ``usage`` with processor seconds and memory of the process,
``count`` with how many readings its journal holds. It ends with its input.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from gridflock.field.ieee2030_5._http import Answer, Request
from gridflock.field.ieee2030_5._limits import Limits
from gridflock.field.ieee2030_5._listen import Listener, Security
from gridflock.field.ieee2030_5._tls import server_context
from gridflock.field.ieee2030_5._utility import Reachable, Utility
from gridflock.field.ieee2030_5.identity import Authority, trust_from
from gridflock.field.ieee2030_5.resources import (
    DERControl,
    DERControlBase,
    DERControlList,
    Profile,
)
from gridflock.field.ieee2030_5.server import Assignment, By, Policy
from gridflock.field.ieee2030_5.server._assignments import assign
from gridflock.field.ieee2030_5.server._controls import Wanted, make_control
from gridflock.field.ieee2030_5.server._devices import Enrolment, load
from gridflock.field.ieee2030_5.server._journal import KIND
from gridflock.field.ieee2030_5.server._mirrors import fetched, waiting
from gridflock.field.ieee2030_5.server._programs import make_program
from gridflock.field.ieee2030_5.server._turn import Turn
from gridflock.field.ieee2030_5.wire import write
from gridflock.model import Entry, Rejected
from gridflock.ports import Record
from gridflock.record import open_record

POLL_S, POST_S = 300, 60
"""How often devices are told to ask and to report."""
SHORT, LONG = 10, 100
"""Controls of the two programs."""
PIN, PEN = 111_115, 37_250
_BY = By("bench", "measured")
_HOUR_S = 3_600
_TICK_S = 4.0
_READING = 5
"""Numbers of one reading in the journal."""
_SCHEMA = "envoy_schema.server.schema.sep2"


class _Wall:
    """The machine's own time."""

    def now_s(self) -> int:
        """Unix seconds."""
        return int(time.time())


class PlainServer:
    """The same messages the ordinary way: models built for every answer, every post parsed into one.

    Args:
        listed: programs' controls by the path of their list.
        record: where readings go, each on its own.
    """

    def __init__(self, listed: dict[str, DERControlList], record: Record) -> None:
        """Raises ImportError where ``envoy-schema`` is not installed."""
        self._list: Any = importlib.import_module(f"{_SCHEMA}.der").DERControlListResponse
        self._reading: Any = importlib.import_module(f"{_SCHEMA}.metering_mirror").MirrorMeterReading
        self._record = record
        self._rows = {
            path: self._list.from_xml(write(each, Profile.SEP2018)).model_dump(exclude_none=True)
            for path, each in listed.items()
        }

    async def handle(self, request: Request) -> Answer:
        """A list of controls, or a reading that is durable before it is answered."""
        if request.method == "GET":
            built = self._list.model_validate(self._rows[request.path])
            return Answer(200, built.to_xml(exclude_none=True, skip_empty=True))
        said = self._reading.from_xml(request.body).model_dump(mode="json", exclude_none=True, warnings=False)
        entry = Entry(KIND, int(time.time()), {"reading": said})
        await asyncio.get_running_loop().run_in_executor(None, self._record.append, [entry])
        return Answer(204)


class Measured:
    """Both servers, filled.

    Args:
        folder: with the authority's folder ``pki``; memories are made there.
        people: names of devices with certificates.
        devices: that are registered, those included.
    """

    def __init__(self, folder: Path, people: list[str], devices: int) -> None:
        authority = Authority(folder / "pki")
        trust = trust_from((authority.folder / "trust.pem").read_bytes(), int(time.time()), tests=True)
        at = authority.folder / "issued" / "utility"
        security = Security(server_context(at / "chain.pem", at / "key.pem", trust), trust)
        limits = Limits(per_s=1e6, burst=10**6, per_client=64)
        self.record, self._plain_record = open_record(folder / "server"), open_record(folder / "plain")
        policy = Policy(pen=PEN, poll_s=POLL_S, post_s=POST_S, headroom=1e5)
        self.utility = Utility(policy, self.record, security, _Wall(), Reachable(limits=limits))
        self.port = self.utility.start()
        known = {each.name: each.lfdi for each in authority.issued}
        self.lists = self.utility.act(_fill, [known[name] for name in people], devices)
        plain = PlainServer(self.lists, self._plain_record)
        self._listener = Listener(plain.handle, security, limits=limits)
        self.plain_port = self.utility.call(self._listener.start("127.0.0.1", 0))
        self._ticking = self.utility.call(self._start_ticks())

    def usage(self) -> dict[str, float]:
        """Processor seconds of the process so far, and its memory, MB."""
        peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"cpu_s": time.process_time(), "rss_mb": peak_kb / 1_024}

    def count(self) -> dict[str, int]:
        """Readings in the journal."""
        said = (each for entry in self.record.entries(0, {KIND}) for each in _changes(entry))
        return {"readings": sum(len(each.get("readings", ())) for each in said) // _READING}

    def close(self) -> None:
        """End both."""
        self._ticking.cancel()
        self.utility.call(self._listener.stop(0.1))
        self.utility.stop(0.5)
        self.record.close()
        self._plain_record.close()

    async def _start_ticks(self) -> asyncio.Task[None]:
        return asyncio.ensure_future(self._ticks())

    async def _ticks(self) -> None:
        """Take the readings away as a running system does."""
        while True:
            await asyncio.sleep(_TICK_S)
            self.utility.server.act(int(time.time()), _take)


def _changes(entry: Entry) -> list[dict[str, Any]]:
    said: Any = entry.head["changes"]
    return list(said)


def _take(turn: Turn) -> None:
    fetched(turn, waiting(turn).upto)


def _fill(turn: Turn, lfdis: list[str], devices: int) -> dict[str, DERControlList]:
    """Devices and controls of two programs; the lists of controls by path."""
    strangers = (hashlib.sha256(str(k).encode()).hexdigest()[:40].upper() for k in range(devices))
    for k, lfdi in zip(range(devices), [*lfdis, *strangers], strict=False):
        load(turn, Enrolment(lfdi=lfdi, pin=PIN, resource=f"device-{k}"), _BY)
    programs = {many: _program(turn, many) for many in (SHORT, LONG)}
    held = tuple(number for number, _ in programs.values())
    rejected = assign(turn, {lfdis[0]: (Assignment("both", held),)}, _BY)
    rejected += assign(turn, {lfdi: (Assignment("one", held[:1]),) for lfdi in lfdis[1:]}, _BY)
    assert not rejected, rejected
    return {f"/derp/{number}/derc": listed for number, listed in programs.values()}


def _program(turn: Turn, many: int) -> tuple[int, DERControlList]:
    """A program with so many controls, one after the other, none of which begins today."""
    program = make_program(turn, f"program of {many}", many, _BY)
    assert not isinstance(program, Rejected), program
    made: list[DERControl] = []
    for k in range(many):
        base = DERControlBase(op_mod_max_lim_w=5_000 + 10 * k)
        start_s = turn.now_s + 24 * _HOUR_S + k * _HOUR_S
        control = make_control(turn, program.number, Wanted(base, start_s, _HOUR_S), _BY)
        assert not isinstance(control, Rejected), control
        made.append(control)
    return program.number, DERControlList(all=many, results=many, subscribable=1, der_control=tuple(made))


def serve(folder: Path, people: list[str], devices: int) -> None:
    """Until the input ends."""
    measured = Measured(folder, people, devices)
    try:
        paths = list(measured.lists)
        _say({"port": measured.port, "plain_port": measured.plain_port, "short": paths[0], "long": paths[1]})
        for line in sys.stdin:
            _say(measured.usage() if line.strip() == "usage" else measured.count())
    finally:
        measured.close()


def _say(what: Any) -> None:  # noqa: ANN401 JSON
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2].split(","), int(sys.argv[3]))

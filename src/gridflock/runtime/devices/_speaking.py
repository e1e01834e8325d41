"""Some of a simulated world's devices behind a utility server: what they say and hear goes over TLS."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gridflock.field.ieee2030_5._connect import Connection, Server
from gridflock.field.ieee2030_5._field import UtilityField
from gridflock.field.ieee2030_5._limits import Limits
from gridflock.field.ieee2030_5._listen import Security
from gridflock.field.ieee2030_5._map import Plate
from gridflock.field.ieee2030_5._tls import client_context, server_context
from gridflock.field.ieee2030_5._utility import Reachable, Utility
from gridflock.field.ieee2030_5.device import Identity
from gridflock.field.ieee2030_5.identity import Authority, Denied, HardwareName, trust_from
from gridflock.field.ieee2030_5.server import By, Policy
from gridflock.field.ieee2030_5.server._devices import Enrolment, load
from gridflock.model import Json, Orders, Outcomes, Readings
from gridflock.record import open_record
from gridflock.runtime.devices._clients import Faults, VirtualDevices
from gridflock.runtime.devices._plants import Simulated
from gridflock.schema import TELEMETRY, Kind
from gridflock.sim import World

_PEN = 37_250
"""Of laboratories: no operator's own."""
_PIN = 111_115
_HARDWARE = "1.3.6.1.4.1.40732.99.1"
_LIFE_S = 900
_BY = By("rehearsal", "simulated devices that speak the protocol")
_NAMES = [each.name for each in TELEMETRY]


class Steps:
    """The time of a rehearsal, set step by step, for a server that asks what time it is."""

    def __init__(self, now_s: int) -> None:
        self._now_s = now_s

    def now_s(self) -> int:
        """Where the rehearsal stands."""
        return self._now_s

    def set(self, now_s: int) -> None:
        """Go on; never back."""
        self._now_s = max(self._now_s, now_s)


@dataclass(slots=True)
class Speaking:
    """A world of which some devices speak for themselves; the others are read as ever.

    Attributes:
        world: the simulated one.
        devices: those that speak.
        field: what they say and hear, towards the system.
        clock: their server's time.
        strange: those of them that are not the world's: it neither measures nor moves them.
    """

    world: World
    devices: VirtualDevices
    field: UtilityField
    clock: Steps
    strange: frozenset[str] = frozenset()

    def read(self, now_s: int) -> Readings:
        """Let the world and the devices live until now; what the others have said."""
        self.world.advance(now_s)
        readings = self.world.read(now_s)
        spoken = self._spoken(readings.ids)[readings.index]
        self._measured(readings, spoken)
        while (due_s := self.devices.due_s()) is not None and due_s <= now_s:
            self.clock.set(due_s)
            self.field.utility.wake()
            self._obeyed(self.devices.live(due_s), due_s)
        self.clock.set(now_s)
        self.field.utility.wake()
        others = ~spoken
        return replace(
            readings,
            index=readings.index[others],
            quantity=readings.quantity[others],
            value=readings.value[others],
            time_s=readings.time_s[others],
            quality=readings.quality[others],
        )

    def send(self, orders: Orders) -> None:
        """Hand the others' orders over."""
        self.world.send(orders)

    def outcomes(self, now_s: int) -> Outcomes:
        """The others' answers."""
        told = self.world.outcomes(now_s)
        others = ~self._spoken(told.ids)[told.index]
        return replace(
            told,
            index=told.index[others],
            order_id=told.order_id[others],
            status=told.status[others],
            p_kw=told.p_kw[others],
            time_s=told.time_s[others],
        )

    def close(self) -> None:
        """End devices and server; what it knows stays in its folder."""
        self.devices.close()
        self.field.utility.stop(0.5)
        self.field.utility.record.close()

    def _spoken(self, ids: tuple[str, ...]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.array([name in self.devices.plants for name in ids], dtype=bool)

    def _measured(self, readings: Readings, spoken: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        """What the devices' own meters say."""
        for at in np.flatnonzero(spoken).tolist():
            name = readings.ids[int(readings.index[at])]
            if name in self.strange:
                continue
            plant = self.devices.plants[name]
            plant.seen[_NAMES[int(readings.quantity[at])]] = float(readings.value[at])

    def _obeyed(self, names: Sequence[str], now_s: int) -> None:
        """Let the world's devices do what their clients were told."""
        names = [name for name in names if name not in self.strange]
        plants = [self.devices.plants[name] for name in names]
        until_s = [now_s + _LIFE_S if plant.until_s is None else plant.until_s for plant in plants]
        self.world.local(
            tuple(names),
            np.array([plant.asked[0] for plant in plants]),
            np.array([plant.asked[1] for plant in plants]),
            np.array(until_s, dtype=np.int64),
        )


def plate_of(row: Mapping[str, Json]) -> Plate:
    """A row of a registry as orders need to know it."""
    p_max, p_min = _number(row, "p_max_kw"), _number(row, "p_min_kw")
    rated = _number(row, "s_max_kva")
    reactive = math.sqrt(max(rated**2 - max(p_max, -p_min) ** 2, 0.0)) if rated > 0 else 0.0
    return Plate(str(row["id"]), p_max, p_min, max(reactive, 0.44 * rated), _number(row, "e_max_kwh"))


def _number(row: Mapping[str, Json], name: str) -> float:
    value = row.get(name, 0.0)
    return float(value) if isinstance(value, int | float) else 0.0


def speaking(
    world: World,
    ids: Sequence[str],
    folder: Path,
    groups: Mapping[str, Sequence[str]] | None = None,
    faults: Faults | None = None,
    stand_ins: Mapping[str, Simulated] | None = None,
) -> Speaking:
    """Put some of a world's devices behind a utility server of their own.

    Args:
        world: where it stands now.
        ids: of the devices that shall speak.
        folder: the server's memory, and the authority that makes its and their certificates.
        groups: whose programmes they follow beside their own, those that weigh most first.
        faults: how badly things go between them.
        stand_ins: what is behind the clients of some of them instead of the simulated device.
    """
    rows = {str(row["id"]): row for row in world.registry}
    plates = {name: plate_of(rows[name]) for name in ids}
    kinds = {name: Kind[str(rows[name]["kind"])] for name in ids}
    clock = Steps(world.now_s)
    authority = _authority(folder / "pki", ids)
    people = {entry.name: entry for entry in authority.issued}
    trust = trust_from((authority.folder / "trust.pem").read_bytes(), _issued_s(), tests=True)

    def chain(name: str) -> tuple[Path, Path]:
        at = authority.folder / "issued" / name
        return at / "chain.pem", at / "key.pem"

    record = open_record(folder / "server")
    policy = Policy(pen=_PEN, poll_s=300, post_s=60, headroom=0.0)
    security = Security(server_context(*chain("utility"), trust), trust, Denied())
    # The rehearsal's clock goes faster than the wall's: nobody is too frequent.
    reachable = Reachable(limits=Limits(per_s=1e6, burst=10**6, connections=4 * len(ids) + 100))
    utility = Utility(policy, record, security, clock, reachable)
    port = utility.start()
    for name in ids:
        utility.act(load, Enrolment(lfdi=people[name].lfdi, pin=_PIN, resource=name), _BY)
    field = UtilityField(utility, list(plates.values()))
    field.place({name: members for name, members in (groups or {}).items() if members})

    def dial(name: str) -> Connection:
        server = Server("localhost", port, address="127.0.0.1")
        return Connection(server, client_context(*chain(name), trust), trust, jitter=lambda: 0.0)

    identities = {name: Identity(people[name].lfdi, people[name].sfdi, _PIN) for name in ids}
    plants = {name: Simulated(plates[name], kinds[name]) for name in ids} | dict(stand_ins or {})
    devices = VirtualDevices(plants, identities, dial, faults)
    devices.begin(world.now_s)
    return Speaking(world, devices, field, clock, frozenset(stand_ins or ()))


def _issued_s() -> int:
    """From when the laboratory's certificates hold; they hold for as long as can be written."""
    return 1_700_000_000


def _authority(folder: Path, ids: Sequence[str]) -> Authority:
    """The laboratory's authority, with a certificate for everybody."""
    authority = (
        Authority(folder) if folder.exists() else Authority.make(folder, "Rehearsal", _issued_s(), tests=True)
    )
    known = {entry.name for entry in authority.issued}
    new = [(name, HardwareName(_HARDWARE, name.encode())) for name in ids if name not in known]
    authority.issue_devices(new, _issued_s())
    if "utility" not in known:
        authority.issue_service("utility", ["localhost", "127.0.0.1"], 3_650, _issued_s())
    return authority

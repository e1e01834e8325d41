"""Simulated devices of a world of their own that speak to a server somewhere else, by the wall's clock."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gridflock.field.ieee2030_5._connect import Connection, Server
from gridflock.field.ieee2030_5._tls import client_context
from gridflock.field.ieee2030_5.device import Identity
from gridflock.field.ieee2030_5.device._client import State
from gridflock.field.ieee2030_5.identity import Authority, HardwareName, trust_from
from gridflock.runtime.devices._clients import LOST, READINGS, RESPONSES, Faults, VirtualDevices
from gridflock.runtime.devices._plants import Simulated
from gridflock.runtime.devices._speaking import plate_of
from gridflock.schema import TELEMETRY, Kind
from gridflock.sim import Scenario, World

NOON_S = 43_200
"""When their world begins, seconds after its midnight."""
_HARDWARE = "1.3.6.1.4.1.40732.99.1"
_AROUND = 60
"""Resources of the smallest world."""
_EACH = 4
"""Resources of the world for each device, of which not every kind could speak."""
_LIFE_S = 900
_NAMES = [each.name for each in TELEMETRY]


@dataclass(frozen=True, slots=True)
class Contact:
    """Whom devices speak to, and who they are.

    Attributes:
        host: name or address that is in the server's certificate.
        port: its TCP port.
        pki: folder of an authority; certificates of devices that have none are issued in it.
        entry: the one path they are told.
        pin: which the server must name; None = it is not looked at.
    """

    host: str
    port: int
    pki: Path
    entry: str = "/dcap"
    pin: int | None = None


def scenario_of(count: int, seed: int) -> Scenario:
    """The world in which so many devices speak for themselves; nothing of it is lost but by their faults."""
    return Scenario(
        ders=max(_AROUND, _EACH * count), seed=seed, spoken=count, offline_day_share=0.0,
        offline_hours_share=0.0, lost_share=0.0, late_share=0.0,
    )  # fmt: skip


class Apart:
    """Devices ``sim-1``, ``sim-2`` … that live by the wall's clock.

    Args:
        contact: whom they speak to.
        count: how many.
        faults: how badly things go between them.
        speed: seconds of theirs in a second of the wall.
        clock: the wall's, unix seconds.

    Raises:
        ValueError: the world has not so many that could speak.
        OSError: a file of the authority cannot be read.
        CertificatesRejected: the folder holds no authority, or it cannot issue.
    """

    def __init__(
        self,
        contact: Contact,
        count: int,
        faults: Faults,
        speed: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock, self._speed, self._begun_s = clock, speed, clock()
        self.world = World(scenario_of(count, faults.seed))
        if len(self.world.spoken) < count:
            raise ValueError(f"{count} devices (rule: at most {len(self.world.spoken)} in this world)")
        self._of = dict(zip(self.world.spoken, (f"sim-{k}" for k in range(1, count + 1)), strict=True))
        self._world_s = self.world.start_s + NOON_S
        self.world.advance(self._world_s)
        rows = {str(row["id"]): row for row in self.world.registry}
        plants = {
            name: Simulated(plate_of(rows[own]), Kind[str(rows[own]["kind"])])
            for own, name in self._of.items()
        }
        self.devices = self._speak(contact, plants, faults)
        self.devices.begin(int(self._begun_s), over_s=min(60, count))

    @property
    def lived_s(self) -> float:
        """Seconds of theirs since the start."""
        return (self._clock() - self._begun_s) * self._speed

    def live(self) -> None:
        """Let the world and everybody who is due live until now."""
        now_s, at_s = int(self._begun_s + self.lived_s), self._world_s + int(self.lived_s)
        at_s = min(at_s, self.world.end_s)
        self.world.advance(at_s)
        self._measure(at_s)
        self._obey(self.devices.live(now_s), now_s, at_s)

    def status(self) -> dict[str, int | dict[str, int]]:
        """How they stand: registered, under control, what they have said, and what went wrong by cause."""
        sites = [site for client in self.devices.clients.values() for site in client.sites.values()]
        lines = list(self.devices.lines.values())
        counts = sum((line.counts for line in lines), Counter[str]())
        named = {READINGS, RESPONSES}
        return {
            "devices": len(sites),
            "registered": sum(site.state is State.REGISTERED for site in sites),
            "wrong_pin": sum(site.state is State.WRONG_PIN for site in sites),
            "under_control": sum(bool(site.standing and site.standing.controls) for site in sites),
            "responses": counts[RESPONSES],
            "readings": counts[READINGS],
            LOST: sum(line.lost for line in lines),
            "errors": {name: many for name, many in sorted(counts.items()) if name not in named},
        }

    def close(self) -> None:
        """Hang up."""
        self.devices.close()

    def _speak(self, contact: Contact, plants: dict[str, Simulated], faults: Faults) -> VirtualDevices:
        authority = Authority(contact.pki)
        known = {each.name for each in authority.issued}
        new = [(name, HardwareName(_HARDWARE, name.encode())) for name in plants if name not in known]
        if new:
            authority.issue_devices(new, int(time.time()))
        people = {each.name: each for each in authority.issued}
        trust = trust_from((contact.pki / "trust.pem").read_bytes(), int(time.time()), tests=authority.tests)
        server = Server(contact.host, contact.port)

        def dial(name: str) -> Connection:
            at = contact.pki / "issued" / name
            return Connection(server, client_context(at / "chain.pem", at / "key.pem", trust), trust)

        identities = {name: Identity(people[name].lfdi, people[name].sfdi, contact.pin) for name in plants}
        return VirtualDevices(plants, identities, dial, faults, entry=contact.entry)

    def _measure(self, at_s: int) -> None:
        """What the devices' own meters say."""
        readings = self.world.read(at_s)
        for row, quantity, value in zip(
            readings.index.tolist(), readings.quantity.tolist(), readings.value.tolist(), strict=True
        ):
            name = self._of.get(readings.ids[row])
            if name is not None:
                self.devices.plants[name].seen[_NAMES[quantity]] = value

    def _obey(self, visited: list[str], now_s: int, at_s: int) -> None:
        """Let the world's devices do what their clients were told; its clock is not the server's."""
        names = set(visited)
        own = [each for each, name in self._of.items() if name in names]
        plants = [self.devices.plants[self._of[each]] for each in own]
        left_s = [
            _LIFE_S if plant.until_s is None else plant.until_s - self._server_s(self._of[each], now_s)
            for each, plant in zip(own, plants, strict=True)
        ]
        self.world.local(
            tuple(own),
            np.array([plant.asked[0] for plant in plants]),
            np.array([plant.asked[1] for plant in plants]),
            at_s + np.array(left_s, dtype=np.int64),
        )

    def _server_s(self, name: str, now_s: int) -> int:
        return self.devices.clients[name].session.server_s(now_s)

"""A running system whose server speaks IEEE 2030.5 over TLS, an operator, and devices of their own."""

import time
from dataclasses import replace

from gridflock.field.ieee2030_5 import identity
from gridflock.field.ieee2030_5._connect import Connection, Server
from gridflock.field.ieee2030_5._tls import client_context
from gridflock.field.ieee2030_5.device import Identity
from gridflock.runtime import LOCAL, Settings, rehearse
from gridflock.runtime.devices import Serve, Simulated, VirtualDevices
from gridflock.runtime.devices._speaking import plate_of
from gridflock.schema import Kind
from gridflock.sim import Scenario

SCENARIO = Scenario(ders=60, offline_day_share=0.0, offline_hours_share=0.0, opt_out_share=0.0)
NOON_S = 12 * 3_600
TYPE = "1.3.6.1.4.1.40732.99.1"


class Site:
    """A running system with its server, and devices with certificates of the same authority."""

    def __init__(self, folder, **how):
        self.folder, self.how = folder, how
        self.pki = folder / "pki"
        now_s = int(time.time()) - 60
        self.authority = identity.Authority.make(self.pki, "Story", now_s, tests=True)
        names = [f"dev-{k}" for k in range(4)]
        self.authority.issue_devices(
            [(name, identity.HardwareName(TYPE, name.encode())) for name in names], now_s
        )
        self.authority.issue_service("utility", ["localhost", "127.0.0.1"], 30, now_s)
        self.trust = identity.trust_from((self.pki / "trust.pem").read_bytes(), now_s, tests=True)
        self.people = {entry.name: entry for entry in self.authority.issued}
        self.devices = None
        self.open()

    def open(self):
        """Begin, or go on."""
        serves = Serve(0, self.pki, **self.how)
        settings = Settings(plans=False)
        self.derms, self.world = rehearse(
            self.folder / "life", SCENARIO, settings, join_s=NOON_S, serves=serves
        )
        self.derms.tick()

    def close(self):
        """End the system and hang up."""
        if self.devices is not None:
            self.devices.close()
            self.devices = None
        self.derms.close()

    def speak(self, *names, pins=None):
        """Let these devices begin to speak, who expect these PINs of their server; all are alike."""
        row = next(row for row in self.world.registry if row["id"] == self.battery)

        identities = {
            name: Identity(self.lfdi(name), self.people[name].sfdi, (pins or {}).get(name)) for name in names
        }
        plate = plate_of(row)
        smaller = replace(plate, p_max_kw=0.8 * plate.p_max_kw)  # than the registry says
        plants = {name: Simulated(smaller, Kind[str(row["kind"])]) for name in names}
        self.devices = VirtualDevices(plants, identities, self.dial)
        self.devices.begin(self.now_s, over_s=1)
        return self.devices

    def dial(self, name):
        """A connection of somebody who has a certificate."""
        server = Server("localhost", self.derms.utility(LOCAL).port, address="127.0.0.1")
        return Connection(server, self.context(name), self.trust, jitter=lambda: 0.0)

    def context(self, name):
        """What a client with a certificate begins a connection with."""
        at = self.pki / "issued" / name
        return client_context(at / "chain.pem", at / "key.pem", self.trust)

    def live(self, minutes=1):
        """So many minutes: devices speak, then the system ticks."""
        for _ in range(minutes):
            self.derms.clock.sleep_until(self.now_s + 60)
            if self.devices is not None:
                for name in self.devices.plants:
                    self.devices.plants[name].seen["p_kw"] = 0.5
                while (due_s := self.devices.due_s()) is not None and due_s <= self.now_s:
                    self.devices.live(due_s)
            self.derms.tick()

    @property
    def now_s(self):
        """Where the system stands."""
        return self.derms.clock.now_s()

    @property
    def battery(self):
        """A resource that can be ordered both ways."""
        return next(str(row["id"]) for row in self.world.registry if row["kind"] == "BATTERY_HOME")

    def lfdi(self, name):
        """Of a device."""
        return self.people[name].lfdi

    def seen(self, name):
        """A device as the operator sees it."""
        return self.derms.device(LOCAL, self.lfdi(name)).device

    def client(self, name):
        """A device's own side."""
        return self.devices.clients[name].sites[self.lfdi(name)]

    def events(self, kind):
        """What the ledger tells of a kind, newest first."""
        return [event for event in self.derms.events(LOCAL, 0, 2_000) if event.kind == kind]

"""A utility's server with devices in boxes behind it, each on a real TLS connection, by one clock."""

import asyncio
import threading

import numpy as np

from gridflock.field.ieee2030_5 import _map
from gridflock.field.ieee2030_5._connect import Connection, Server
from gridflock.field.ieee2030_5._field import UtilityField
from gridflock.field.ieee2030_5._limits import Limits
from gridflock.field.ieee2030_5._listen import Security
from gridflock.field.ieee2030_5._tls import client_context, server_context
from gridflock.field.ieee2030_5._utility import Reachable, Utility
from gridflock.field.ieee2030_5.device import Client, Identity
from gridflock.field.ieee2030_5.resources import (
    ActivePower,
    ConnectStatus,
    ConnectStatusType,
    DateTimeInterval,
    DefaultDERControl,
    DERAvailability,
    DERCapability,
    DERControlBase,
    DERControlType,
    DERSettings,
    DERStatus,
    FlowDirection,
    MirrorMeterReading,
    MirrorUsagePoint,
    Profile,
    Reading,
    ReadingType,
    StateOfChargeStatusType,
    Uom,
)
from gridflock.field.ieee2030_5.server import By, Policy
from gridflock.field.ieee2030_5.server._devices import Enrolment, load
from gridflock.field.ieee2030_5.server._effective import effective
from gridflock.model import Orders, OutcomeStatus
from gridflock.record import open_record
from gridflock.schema import QUANTITY

SETPOINTS = DERControlType.MAX_LIM_W | DERControlType.FIXED_W | DERControlType.TARGET_W

T0 = 1_750_000_000
BY = By("operator", "a test")
PLATES = (
    _map.Plate("battery", 5.0, -5.0, q_max_kvar=3.0, e_max_kwh=10.0),
    _map.Plate("roof", 4.0, 0.0),
)
NAMES = {"battery": "device-1", "roof": "device-2"}


class Clock:
    """Set by hand."""

    def __init__(self):
        self.at_s = T0

    def now_s(self):
        """Where the test has set it."""
        return self.at_s


class Box:
    """A device in a box: it does at once what it is told, and its meter is exact."""

    def __init__(self, plate, profile=Profile.SEP2018, modes=SETPOINTS, envelope=0):
        self.plate, self.own_kw = plate, 0.0 if plate.e_max_kwh else 3.0
        self.profile, self.modes, self.envelope = profile, modes, envelope
        self.p_kw, self.cannot = self.own_kw, frozenset()

    def capability(self):
        """What it has."""
        doe = self.envelope if self.profile >= Profile.CSIPAUS12 else None
        return DERCapability(
            modes_supported=self.modes, doe_modes_supported=doe, rtg_max_w=self._max(), type=83
        )

    def _max(self):
        return ActivePower(multiplier=0, value=int(self.plate.p_max_kw * 1_000))

    def settings(self, now_s):
        """How it is set."""
        charge = ActivePower(multiplier=0, value=int(-self.plate.p_min_kw * 1_000))
        return DERSettings(
            set_grad_w=100, set_max_w=self._max(), set_max_charge_rate_w=charge, updated_time=now_s
        )

    def status(self, now_s):
        """How it is."""
        connected = ConnectStatusType(date_time=now_s, value=ConnectStatus.CONNECTED)
        charge = StateOfChargeStatusType(date_time=now_s, value=6_000)
        return DERStatus(reading_time=now_s, gen_connect_status=connected, state_of_charge_status=charge)

    def availability(self, now_s):
        """What it could give beside."""
        reserve = ActivePower(multiplier=0, value=round(1_000 * (self.own_kw - self.p_kw)))
        return DERAvailability(reading_time=now_s, stat_w_avail=reserve)

    def power(self, _now_s):
        """No vehicle."""
        return

    def places(self):
        """Its one meter."""
        power = ReadingType(uom=Uom.WATT, flow_direction=FlowDirection.FORWARD, power_of_ten_multiplier=0)
        series = MirrorMeterReading(mrid="0B", reading_type=power)
        return [
            MirrorUsagePoint(
                mrid="0E", role_flags=0x49, service_category_kind=0, status=1, device_lfdi="00",
                mirror_meter_reading=(series,),
            )
        ]  # fmt: skip

    def readings(self, now_s):
        """Of the minute that has passed."""
        period = DateTimeInterval(start=now_s - 60, duration=60)
        value = round(-1_000 * self.p_kw)  # counted towards the customer
        return [MirrorMeterReading(mrid="0B", reading=Reading(time_period=period, value=value))]

    def log(self, _now_s):
        """Nothing."""
        return []

    def obey(self, standing, _now_s):
        """Do it at once."""
        can = _map.able(self.capability(), self.settings(0), self.profile, self.plate)
        asked_kw, _ = _map.ordered_kw(standing.base, self.own_kw, self.plate, can)
        self.p_kw = self.own_kw if np.isnan(asked_kw) else asked_kw
        return self.cannot

    def waits(self):
        """Nobody has to agree."""
        return False


class World:
    """A utility with two boxes, each its own client on a real connection, and one clock for all."""

    def __init__(self, network, folder, **policy):
        self.network, self.folder, self.clock, self.policy = network, folder, Clock(), policy
        self.boxes = {plate.id: Box(plate) for plate in PLATES}
        self.clients, self.order_id = {}, 0
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.open()

    def open(self):
        """Start the server, and all clients anew."""
        people = self.network.people
        utility = people["utility"]
        context = server_context(utility.chain, utility.key, self.network.trust)
        self.record = open_record(self.folder)
        self.utility = Utility(
            Policy(pen=37_250, poll_s=60, post_s=60, headroom=0.0, **self.policy), self.record,
            Security(context, self.network.trust, self.network.denied), self.clock,
            Reachable(limits=Limits(per_s=1e6, burst=10**6)),  # its own clock goes faster than the wall's
        )  # fmt: skip
        self.utility.start()
        for resource, name in NAMES.items():
            profile = self.boxes[resource].profile
            wanted = Enrolment(lfdi=people[name].lfdi, pin=111_115, resource=resource, profile=profile)
            self.utility.act(load, wanted, BY)
        self.field = UtilityField(self.utility, PLATES)
        default = DefaultDERControl(mrid="00", der_control_base=DERControlBase(op_mod_max_lim_w=10_000))
        self.field.place({"feeder": ["battery", "roof"]}, default)
        for resource, name in NAMES.items():
            who = people[name]
            line = Connection(
                Server("localhost", self.utility.port, address="127.0.0.1"),
                client_context(who.chain, who.key, self.network.trust),
                self.network.trust,
                jitter=lambda: 0.0,
            )
            identity = Identity(who.lfdi, who.sfdi, pin=111_115)
            box = self.boxes[resource]
            self.clients[resource] = Client(line, identity, plant=box, profile=box.profile)

    def shut(self):
        """Stop the server."""
        self.utility.stop(0.5)
        self.record.close()

    def close(self):
        """End everything."""
        self.shut()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def live(self, seconds, step_s=20, who=tuple(NAMES)):
        """Let the devices live, step by step, whenever they want to be visited."""
        for _ in range(seconds // step_s):
            self.clock.at_s += step_s
            self.utility.wake()
            for name in who:
                visit = self.clients[name].visit(self.clock.at_s)
                asyncio.run_coroutine_threadsafe(visit, self.loop).result()

    def order(self, **p_kw):
        """One batch of orders; their ids."""
        life_s = p_kw.pop("life_s", 300)
        n = len(p_kw)
        ids = np.arange(self.order_id, self.order_id + n, dtype=np.int64)
        self.order_id += n
        orders = Orders(
            tuple(p_kw), np.arange(n, dtype=np.int32), ids, np.array(list(p_kw.values()), np.float32),
            np.full(n, self.clock.at_s + life_s), np.zeros(n, np.int16), ("w",), self.clock.at_s,
        )  # fmt: skip
        self.field.send(orders)
        return orders

    def answers(self):
        """Outcomes since the last call: resource, order, status."""
        told = self.field.outcomes(self.clock.at_s)
        return [
            (told.ids[i], int(k), OutcomeStatus(s).name)
            for i, k, s in zip(told.index, told.order_id, told.status, strict=True)
        ]

    def heard(self):
        """Readings since the last call: (resource, quantity) to (value, moment)."""
        told = self.field.read(self.clock.at_s)
        names = list(QUANTITY)
        return {
            (told.ids[i], names[q]): (v, int(t))
            for i, q, v, t in zip(told.index, told.quantity, told.value, told.time_s, strict=True)
        }

    def lfdi(self, name):
        """Of a resource."""
        return self.network.people[NAMES[name]].lfdi

    def standing(self, name):
        """What the server says a device is under that has heard all."""
        server = self.utility.server
        server.advance(self.clock.at_s)
        server.state.registry.lost.clear()
        return effective(server.state, server.state.registry.of(self.lfdi(name)), self.clock.at_s)


class Talk:
    """Requests of one device on its own connection, beside what its client does."""

    def __init__(self, world, name):
        self._world, self._session = world, world.clients[name].session

    def _do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._world.loop).result()

    def get(self, path, kind):
        """What stands at an address."""
        return self._do(self._session.fetch(path, kind))

    def send(self, method, path, body):
        """Say something."""
        return self._do(self._session.send(method, path, body))

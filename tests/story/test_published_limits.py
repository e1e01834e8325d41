"""A running system publishes envelopes, groups and defaults, and devices over real TLS hold to them."""

import math
import time
from dataclasses import replace
from importlib.util import find_spec

import pytest

from gridflock.runtime import LOCAL, RequestRejected, Settings, rehearse
from gridflock.sim import Scenario, World

SCENARIO = Scenario(ders=60, offline_day_share=0.0, offline_hours_share=0.0, opt_out_share=0.0)
NOON_S = 12 * 3_600
TYPE = "1.3.6.1.4.1.40732.99.1"
BEYOND_KW = 200.0


class Site:
    """A running system with its server; one roof of its registry speaks for itself."""

    def __init__(self, folder, settings, **publishes):
        from gridflock.field.ieee2030_5 import identity
        from gridflock.runtime.devices import Serve
        from gridflock.runtime.devices._published import Publishes

        self.pki = folder / "pki"
        now_s = int(time.time()) - 60
        authority = identity.Authority.make(self.pki, "Story", now_s, tests=True)
        authority.issue_devices([("dev", identity.HardwareName(TYPE, b"dev"))], now_s)
        authority.issue_service("utility", ["localhost", "127.0.0.1"], 30, now_s)
        self.trust = identity.trust_from((self.pki / "trust.pem").read_bytes(), now_s, tests=True)
        self.me = next(entry for entry in authority.issued if entry.name == "dev")
        rows = [dict(row) for row in World(SCENARIO).registry]
        self.row = next(row for row in rows if row["kind"] == "PV_ROOFTOP")
        self.row["lfdi"] = self.me.lfdi
        self.name = str(self.row["id"])
        serves = Serve(0, self.pki, poll_s=60, publishes=Publishes(**publishes))
        self.derms, _ = rehearse(
            folder / "life", SCENARIO, settings, join_s=NOON_S, registry=rows, serves=serves
        )
        self.moment = self.derms.tick()
        self.devices = self._devices()

    def _devices(self):
        from gridflock.field.ieee2030_5._connect import Connection, Server
        from gridflock.field.ieee2030_5._tls import client_context
        from gridflock.field.ieee2030_5.device import Identity
        from gridflock.runtime.devices import Simulated, VirtualDevices
        from gridflock.runtime.devices._speaking import plate_of
        from gridflock.schema import Kind

        server = self.derms._loop.server
        self.server, self.field = server.utility.server, server.field
        # The system's clock goes faster than the wall's, by which frequent clients are held back.
        self.server.policy = replace(self.server.policy, headroom=1e6)

        def dial(_name):
            at = self.pki / "issued" / "dev"
            context = client_context(at / "chain.pem", at / "key.pem", self.trust)
            where = Server("localhost", server.utility.port, address="127.0.0.1")
            return Connection(where, context, self.trust, jitter=lambda: 0.0)

        self.plant = Simulated(plate_of(self.row), Kind.PV_ROOFTOP)
        self.plant.seen |= {"p_kw": self.plate.p_max_kw, "p_avail_kw": self.plate.p_max_kw, "ready": 1.0}
        devices = VirtualDevices({"dev": self.plant}, {"dev": Identity(self.me.lfdi, self.me.sfdi)}, dial)
        devices.begin(self.now_s, over_s=1)
        return devices

    @property
    def plate(self):
        """Of the roof."""
        return self.plant.plate

    @property
    def now_s(self):
        """Where the system stands."""
        return self.derms.clock.now_s()

    @property
    def done_kw(self):
        """What the roof does."""
        asked_kw = self.plant.asked[0]
        return self.plate.p_max_kw if math.isnan(asked_kw) else asked_kw

    def live(self, minutes=1):
        """So many minutes: the device does as it is told and says so, then the system ticks."""
        for _ in range(minutes):
            self.derms.clock.sleep_until(self.now_s + 60)
            while (due_s := self.devices.due_s()) is not None and due_s <= self.now_s:
                self.devices.live(due_s)
                self.plant.seen["p_kw"] = self.done_kw
            self.moment = self.derms.tick()

    @property
    def client(self):
        """The device's side of the conversation."""
        return next(iter(self.devices.clients["dev"].sites.values()))

    def limit_kw(self):
        """What the server has published for now, kW."""
        program = self.server.state.offered.by_name[f"limits {self.name}"]
        found = [
            control.der_control_base.op_mod_max_lim_w / 10_000 * self.plate.p_max_kw
            for control in self.server.state.offered.controls.get(program, {}).values()
            if control.event_status.current_status == 1
        ]
        return min(found)

    def close(self):
        """End the device and the system."""
        self.devices.close()
        self.derms.close()


@pytest.fixture
def begin(tmp_path, require):
    """``begin(settings, **publishes)``: a site; closed at the end."""
    require("httptools", find_spec("httptools") is not None)
    made = []

    def _begin(settings, **publishes):
        made.append(Site(tmp_path, settings, **publishes))
        return made[-1]

    yield _begin
    for site in made:
        site.close()


def test_an_envelope_of_the_system_is_what_the_device_holds_to(begin):
    """No room is left at the head: the roof is told so at once, and gives nothing until there is."""
    site = begin(Settings(plans=False, managed=False))
    site.live(4)
    assert site.done_kw == pytest.approx(site.plate.p_max_kw)
    assert site.limit_kw() == pytest.approx(site.plate.p_max_kw)
    tight = site.moment.head_kw - site.plate.p_max_kw - BEYOND_KW
    site.derms._loop.obey(replace(site.derms._loop.settings, export_limit_kw=tight))
    site.live(4)
    assert site.limit_kw() == 0.0
    for _ in range(3):
        site.live()
        assert site.done_kw <= site.limit_kw() + 1e-6
        row = site.moment.image.ids.index(site.name)
        assert site.moment.image.p_kw[row] <= site.limit_kw() + 0.01
    numbers = site.server.state.offered.next_control
    site.live(3)
    assert site.server.state.offered.next_control == numbers
    site.derms._loop.obey(replace(site.derms._loop.settings, export_limit_kw=math.inf))
    site.live(16)
    assert site.done_kw == pytest.approx(site.plate.p_max_kw)


def test_contact_lost_the_default_holds_in_time(begin):
    """Cut off, the roof keeps to what it was told to its end, and a period later to the default."""
    site = begin(Settings(plans=False, managed=False), horizon_s=900, export_kw=0.5)
    site.live(4)
    assert site.done_kw == pytest.approx(site.plate.p_max_kw)
    controls = [
        each
        for held in site.server.state.offered.controls.values()
        for each in held.values()
        if each.description == "limit"
    ]
    ends_s = max(each.interval.start + each.interval.duration for each in controls)
    site.devices.lines["dev"].cut = True
    while site.now_s < ends_s - 60:
        site.live()
        assert site.done_kw == pytest.approx(site.plate.p_max_kw)
    site.live(1 + 60 // 60 + 1)
    assert site.now_s <= ends_s + 120
    assert site.done_kw == pytest.approx(0.5, abs=0.01)
    site.devices.lines["dev"].cut = False
    site.live(12)
    assert site.done_kw == pytest.approx(site.plate.p_max_kw)


def test_what_names_nobody_is_refused_at_the_start(begin):
    """A curve of a group, or bounds of a resource, that is not there: every fault is named."""
    from gridflock.field.ieee2030_5._limiting import Held
    from gridflock.field.ieee2030_5._placing import Curve
    from gridflock.field.ieee2030_5.resources import DERCurveType

    curve = Curve(DERCurveType.VOLT_VAR, (0.9, 1.1), (0.4, -0.4))
    with pytest.raises(RequestRejected) as refused:
        begin(Settings(plans=False), curves={"section/none": (curve,)}, fallback={"nobody": Held()})
    assert [fault.field for fault in refused.value.faults] == ["fallback.nobody", "curves.section/none"]


def test_curves_outside_the_guards_bounds_are_told_to_nobody(begin):
    """Turned, too steep, of another kind, or two of one: refused by name, whoever wrote them."""
    from gridflock.field.ieee2030_5._placing import Curve
    from gridflock.field.ieee2030_5.resources import DERCurveType

    curve = Curve(DERCurveType.VOLT_VAR, (0.9, 1.1), (0.4, -0.4))
    steep = Curve(DERCurveType.VOLT_WATT, (1.06, 1.061), (1.0, 0.0))
    turned = Curve(DERCurveType.VOLT_VAR, (0.9, 1.1), (-0.4, 0.4))
    other = Curve(DERCurveType.FREQ_WATT, (0.9, 1.1), (0.4, -0.4))
    with pytest.raises(RequestRejected) as refused:
        begin(Settings(plans=False), curves={"all": (curve, curve, turned, steep, other)})
    assert [(fault.field, fault.reason.split(":")[0]) for fault in refused.value.faults] == [
        ("curves.all.kind", "a second volt_var"),
        ("curves.all.kind", "a second volt_var"),
        ("curves.all.y", "rises with the voltage"),
        ("curves.all.y", "falls by more than 100 per pu"),
        ("curves.all.kind", "is not volt-var or volt-watt"),
    ]


def test_what_cannot_be_told_is_a_trouble_of_the_ticks(begin, monkeypatch):
    """A failure of telling, and curves of a group that has another name by now, until they are over."""
    from gridflock.field.ieee2030_5._placing import Curve
    from gridflock.field.ieee2030_5.resources import DERCurveType
    from gridflock.runtime.devices import _published

    site = begin(Settings(plans=False, managed=False))
    site.live(2)
    loop = site.derms._loop
    assert loop._troubles == frozenset()
    curve = Curve(DERCurveType.VOLT_VAR, (0.9, 1.1), (0.4, -0.4))
    loop.publish._what = replace(loop.publish._what, curves={"gone": (curve,)})
    site.derms.define_group(LOCAL, "street", title="A street", members=[site.name])
    with monkeypatch.context() as patch:
        patch.setattr(_published, "ahead", lambda *_: 1 / 0)
        site.live(2)
        assert loop._troubles == {"nothing told ahead", "curves of groups that are not there"}
    site.live(2)
    assert loop._troubles == {"curves of groups that are not there"}


def test_places_and_groups_are_found_by_the_device_and_follow_changes(begin):
    """System, feeder and segment by primacy; a virtual DER of people's joins and goes."""
    site = begin(Settings(plans=False, managed=False))
    site.live(8)
    before = sorted(offer.primacy for offer in site.client.programs.offers)
    assert before[:2] == [10, 11]
    assert {90, 100, 120} <= set(before)
    site.derms.define_group(LOCAL, "street", title="A street", members=[site.name])
    site.live(8)
    assert sorted([*before, 130]) == sorted(offer.primacy for offer in site.client.programs.offers)
    held = site.server.state.assignments.held[site.server.state.registry.of(site.me.lfdi).number]
    assert [each.name for each in held][:2] == ["grid", "groups"]
    site.derms.delete_group(LOCAL, "street")
    site.live(8)
    assert before == sorted(offer.primacy for offer in site.client.programs.offers)


def test_prices_of_the_plan_reach_the_devices_and_room_is_granted(begin):
    """The plan's prices are the device's tariff; what it asks for is granted from the plan's room."""
    import asyncio

    from gridflock.field.ieee2030_5 import resources as said

    site = begin(Settings(coarse_steps=2, in_ac=False))
    site.live(3)
    state, terms = site.server.state, site.moment.planned.terms
    (tariff,) = state.prices.tariffs.values()
    assert (tariff.name, tariff.currency) == ("plan", 978)
    taken, given = sorted(state.prices.parts[tariff.number])
    for part, money in ((taken, terms.import_price), (given, -terms.export_price)):
        now = [each for each in state.prices.priced[part].values() if each.spell.state == 1]
        assert [each.blocks[0].price for each in now] == [round(float(money[0]) * 1e5)]
    assert tariff.number in {
        number for held in state.assignments.held.values() for a in held for number in a.tariffs
    }
    number = state.registry.of(site.me.lfdi).number
    asked = said.FlowReservationRequest(
        mrid="AB" * 16, creation_time=site.now_s,
        energy_requested=said.SignedRealEnergy(multiplier=0, value=1_000),
        interval_requested=said.DateTimeInterval(start=site.now_s, duration=7_200),
        power_requested=said.ActivePower(multiplier=0, value=2_000),
        request_status=said.RequestStatus(date_time=site.now_s, request_status=0),
    )  # fmt: skip
    session, loop = site.devices.clients["dev"].session, site.devices._loop
    asyncio.run_coroutine_threadsafe(session.send("POST", f"/edev/{number}/frq", asked), loop).result()
    site.live(2)
    (grant,) = state.reserved.grants[number].values()
    assert grant.subject == asked.mrid
    assert (grant.energy.value, grant.power.value) == (1_000, 2_000)
    assert asked.interval_requested.start <= grant.spell.start_s
    assert grant.spell.end_s <= asked.interval_requested.start + 7_200

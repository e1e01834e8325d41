"""A battery over real TLS says what it is set to and asks for energy: plans, orders and the ledger follow."""

import asyncio
import importlib
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from gridflock.model import Envelope
from gridflock.runtime import LOCAL, Settings, rehearse, replay
from gridflock.runtime._planning import Planning
from gridflock.runtime._reserved import Granted
from gridflock.schema import Family

REQUEST = "AB" * 16


def _begun(folder):
    from gridflock.field.ieee2030_5 import resources as said
    from gridflock.runtime.devices import Serve
    from gridflock.runtime.devices._published import Publishes

    sys.path.insert(0, str(Path(__file__).parent))
    world = importlib.import_module("operated_world")

    class Site(world.Site):
        """A site that plans, whose devices' settings hold."""

        def open(self):
            """Begin, or go on."""
            serves = Serve(0, self.pki, poll_s=60, publishes=Publishes(settings_hold=True))
            settings = Settings(coarse_steps=2, in_ac=False)
            self.derms, self.world = rehearse(
                self.folder / "life", world.SCENARIO, settings, join_s=world.NOON_S, serves=serves
            )
            # The system's clock goes faster than the wall's, by which frequent clients are held back.
            server = self.derms._loop.server.utility.server
            server.policy = replace(server.policy, headroom=1e6)
            self.derms.tick()

        def live(self, minutes=1):
            """The device does as it is told and says so, then the system ticks."""
            for _ in range(minutes):
                self.derms.clock.sleep_until(self.now_s + 60)
                plant = self.plant
                asked_kw = 0.0 if np.isnan(plant.asked[0]) else plant.asked[0]
                plant.seen |= {"p_kw": asked_kw * self.obeys, "e_kwh": 0.5 * plant.plate.e_max_kwh}
                while (due_s := self.devices.due_s()) is not None and due_s <= self.now_s:
                    self.devices.live(due_s)
                self.derms.tick()

        obeys = 1.0

        @property
        def plant(self):
            """What stands behind the one device."""
            return self.devices.plants["dev-0"]

        @property
        def row(self):
            """Of the battery in the fleet."""
            return self.derms._loop.system.fleet.row_of[self.battery]

        def planned_kw(self):
            """(T,) what the plan has for the battery."""
            shares = self.derms.moment.planned.schedule.shares
            return shares.p_kw[int(np.searchsorted(shares.rows, self.row))].astype(float)

        def ask(self, start_s, kw, minutes, status=0):
            """The device asks for energy, or asks no more."""
            number = self.derms._loop.server.utility.server.state.registry.of(self.lfdi("dev-0")).number
            request = said.FlowReservationRequest(
                mrid=REQUEST, creation_time=self.now_s,
                energy_requested=said.SignedRealEnergy(multiplier=0, value=round(kw * minutes / 60 * 1_000)),
                interval_requested=said.DateTimeInterval(start=start_s, duration=minutes * 60),
                power_requested=said.ActivePower(multiplier=0, value=round(kw * 1_000)),
                request_status=said.RequestStatus(date_time=self.now_s, request_status=status),
            )  # fmt: skip
            session, loop = self.devices.clients["dev-0"].session, self.devices._loop
            sent = session.send("POST", f"/edev/{number}/frq", request)
            asyncio.run_coroutine_threadsafe(sent, loop).result()

    site = Site(folder, registration="ask")
    site.derms.enrol(LOCAL, site.lfdi("dev-0"), resource=site.battery, why="known")
    site.speak("dev-0")
    return site


@pytest.fixture(scope="module")
def site(tmp_path_factory, require):
    """One battery of the fleet speaks for itself; it is set to four fifths of its rating."""
    require("httptools", find_spec("httptools") is not None)
    found = _begun(tmp_path_factory.mktemp("agreed"))
    yield found
    found.close()


def _next_quarter(site, ahead=1):
    return site.now_s - site.now_s % 900 + 900 * ahead


def _until(site, moment_s):
    while site.now_s < moment_s:
        site.live()


def test_settings_bound_the_plan(site):
    """The device is set to less than the registry says: plan, capability and reasons go by that."""
    site.live(4)
    columns = site.derms._loop.system.fleet.columns
    rated_kw = float(columns["p_max_kw"][site.row])
    _until(site, _next_quarter(site))
    moment = site.derms.moment
    assert moment.image.columns["p_max_kw"][site.row] == pytest.approx(0.8 * rated_kw, rel=0.01)
    assert moment.able.p_hi_kw[site.row] <= 0.8 * rated_kw * 1.01
    assert columns["p_max_kw"][site.row] == np.float32(rated_kw)
    told = moment.planned.settings
    assert told.rows.tolist() == [site.row]
    assert "is set by its device to" in site.derms.explain(LOCAL, site.battery).text


def test_what_is_granted_is_in_the_next_plan_and_ordered_in_its_time(site):
    """Half an hour of charging at 1 kW from the next but one quarter: planned so, ordered so, named so."""
    begins_s = _next_quarter(site, 2)
    site.ask(begins_s, 1.0, 30)
    site.live(2)
    (granted,) = site.derms._loop.agreement.granted
    assert (granted.resource, granted.start_s, granted.end_s) == (site.battery, begins_s, begins_s + 1_800)
    assert (granted.p_kw, granted.e_kwh) == pytest.approx((-1.0, -0.5))
    _until(site, _next_quarter(site))
    grid = site.derms.moment.planned.schedule.grid
    inside = (grid.edges_s[:-1] >= begins_s) & (grid.edges_s[1:] <= begins_s + 1_800)
    assert inside.sum() == 2
    assert site.planned_kw()[inside] == pytest.approx([-1.0, -1.0])
    _until(site, begins_s + 600)
    assert site.derms._loop.response.ordered_kw[site.row] == pytest.approx(-1.0, abs=0.02)
    told = site.derms.explain(LOCAL, site.battery).text
    assert f"A reservation holds {site.battery} at -1.00 kW" in told
    assert "from reservation:" in told
    site.live(18)
    assert [each.text for each in _unkept(site)] == []
    site.live(4)
    assert site.derms._loop.agreement.granted == ()


def test_what_is_cancelled_is_planned_no_more_and_who_does_not_keep_to_it_is_told(site):
    """Cancelled, the next plan has it no more; granted again and not obeyed it is one event."""
    begins_s = _next_quarter(site, 2)
    site.ask(begins_s, 0.9, 30)
    site.live(2)
    assert len(site.derms._loop.agreement.granted) == 1
    site.ask(begins_s, 0.9, 30, status=1)
    site.live(2)
    assert site.derms._loop.agreement.granted == ()
    _until(site, _next_quarter(site))
    assert site.derms.moment.planned.granted == ()
    begins_s = _next_quarter(site)
    site.ask(begins_s, 0.8, 45)
    _until(site, begins_s)
    site.obeys = 0.0
    site.live(35)
    (event,) = _unkept(site)
    assert event.group == site.battery
    assert "0.00 kW on average where -0.80 kW are granted" in event.text


def test_a_vehicle_that_has_yet_to_come_is_planned_and_expected_once(site):
    """Granted to who is away, the energy is in the plan of its interval, and no more is expected so."""
    loop, moment = site.derms._loop, site.derms.moment
    image, settings = moment.image, loop.settings
    away = [row for row in np.flatnonzero(image.family == Family.VEHICLE) if image.ready[row] != 1]
    start_s = site.now_s - site.now_s % 900 + 1_800
    one = Granted("CD", image.ids[away[0]], start_s, start_s + 1_800, -2.0, -1.0)

    def plan(granted):
        planning = Planning(settings, loop.past, loop.system.network.timezone)
        head = Envelope("all", -1e4, 1e4, "none", image.now_s + 600)
        return planning.plan(loop.system, image, (moment.flow, moment.state), head, 0.0, granted=granted)

    plain, made = plan(()), plan((one,))
    inside = one.share(made.schedule.grid) == 1.0
    assert inside.sum() == 2
    at = int(np.flatnonzero(made.schedule.shares.rows == away[0])[0])
    assert not plain.schedule.shares.p_kw[at].any()
    assert made.schedule.shares.p_kw[at][inside].tolist() == [-2.0, -2.0]
    assert not made.schedule.shares.p_kw[at][~inside].any()
    assert (plain.granted, made.granted) == ((), (one,))
    need = [
        (each.members.flexibility.x_hi_kwh[:, -1] * [name.endswith("/expected") for name in
         each.members.flexibility.groups]).sum()
        for each in (plain, made)
    ]  # fmt: skip
    assert need[1] <= need[0]


def _unkept(site):
    return [each for each in site.events("device") if each.data.get("what") == "reservation not kept"]


def test_the_past_can_be_lived_again(site):
    """Grants and settings come from outside and are in the ledger: every tick replays to the same bytes."""
    site.close()
    site.open()
    known = site.derms._loop.agreement
    assert site.battery in {one.resource for one in known.settings}
    found = replay(site.folder / "life")
    assert found.identical, found.differs

"""A system offered to a server above: how its client stands there can be asked, and silence is an alarm."""

import json
import time
from dataclasses import replace
from importlib.util import find_spec

import pytest
import typer
from typer.testing import CliRunner

from gridflock.console import _devices_operate
from gridflock.console._cli import app
from gridflock.console._upward import offer_of, offering
from gridflock.dispatch import GuardLimits, Policy
from gridflock.field.ieee2030_5 import identity
from gridflock.field.ieee2030_5.events import Standing
from gridflock.field.ieee2030_5.resources import DERControlBase
from gridflock.field.ieee2030_5.resources._quantities import ActivePower
from gridflock.runtime import LOCAL, Role, Scope, Settings, UnknownName, plain, rehearse
from gridflock.runtime.devices import Contact, Serve, StandsFor, Upward
from gridflock.runtime.devices._upward import LOST, site_lfdi
from gridflock.sim import Scenario
from gridflock.units import iso

NOON_S = 12 * 3_600
CALM = {"offline_day_share": 0.0, "offline_hours_share": 0.0, "opt_out_share": 0.0, "override_share": 0.0,
        "lost_share": 0.0, "late_share": 0.0}  # fmt: skip
GROUP = "type/battery_home"
QUIET = Settings(plans=False)
PIN, OTHER_PIN = 123_455, 111_115


class _Unhurried(Serve):
    """Minutes pass faster here than the wall's, by which a server counts who asks too often."""

    @property
    def policy(self):
        return replace(super().policy, headroom=1e5)


class _Pair:
    """An upper system with a server, and a lower one that offers its batteries as one device."""

    def __init__(self, folder):
        self.pki = folder / "pki"
        now_s = int(time.time()) - 60
        authority = identity.Authority.make(self.pki, "Story", now_s, tests=True)
        authority.issue_service("utility", ["localhost", "127.0.0.1"], 30, now_s)
        authority.issue_service("below", ["below.example"], 30, now_s)
        self.own = next(each.lfdi for each in authority.issued if each.name == "below")
        serves = _Unhurried(0, self.pki, poll_s=60)
        scenario = Scenario(ders=40, **CALM)
        self.upper, world = rehearse(folder / "upper", scenario, QUIET, join_s=NOON_S, serves=serves)
        self.lower, _ = rehearse(folder / "lower", Scenario(ders=40, seed=3, **CALM), QUIET, join_s=NOON_S)
        self.tick()
        self.battery = next(str(row["id"]) for row in world.registry if row["kind"] == "BATTERY_HOME")
        self.upper.enrol(LOCAL, self.own, resource=self.battery, pin=PIN)
        self.upward = self.client({self.own: PIN})
        self.lower.speak_above(self.upward)

    def client(self, pins):
        contact = Contact("localhost", self.upper.utility(LOCAL).port, self.pki, pin=OTHER_PIN)
        return Upward(self.lower, contact, "below", [GROUP], pins=pins)

    def tick(self):
        for derms in (self.upper, self.lower):
            moment = derms.tick()
            derms.clock.sleep_until(moment.now_s + 60)

    def live(self, minutes):
        for _ in range(minutes):
            self.upward.live()
            self.tick()
        self.upward.live()

    @property
    def device(self):
        (found,) = self.lower.offered(LOCAL).devices
        return found

    def alarms(self):
        told = [each.text for each in self.lower.events(LOCAL, limit=200) if each.kind == "alarm"]
        return [text for text in told if text.startswith(LOST)]

    def close(self):
        self.upward.stop()
        self.upper.close()
        self.lower.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory, require):
    """Both, and nothing said yet; closed at the end."""
    require("httptools", find_spec("httptools") is not None)
    made = _Pair(tmp_path_factory.mktemp("pair"))
    yield made
    made.close()


def test_before_the_first_word_nothing_is_claimed(pair):
    """No contact, no registration, a PIN that was not seen; and who is offered to nobody says so."""
    found = pair.lower.offered(LOCAL)
    assert (found.last_contact, found.lost_since, found.registered, found.troubles) == ("", "", 0, [])
    assert (found.lfdi, found.aggregator, found.devices[0].offered) == (pair.own, False, GROUP)
    assert (pair.device.state, pair.device.pin) == ("not registered yet", "not seen yet")
    with pytest.raises(UnknownName, match="above-2030-5"):
        pair.upper.offered(LOCAL)


def test_what_cannot_be_shown_ends_no_client(pair, monkeypatch):
    """Whatever goes wrong in telling how it stands is told as its trouble, and the client lives on."""
    upward = pair.client({pair.own: PIN})

    def broken():
        upward._over.set()
        raise ValueError("beyond every calendar")

    async def nothing():
        pass

    monkeypatch.setattr(upward, "_look", broken)
    monkeypatch.setattr(upward, "_visit", nothing)
    upward._run()
    assert upward.view().troubles == ["ValueError: beyond every calendar"]
    assert upward.status()["trouble"] == "ValueError: beyond every calendar"
    upward.stop()


def test_what_is_followed_and_answered_is_told(pair):
    """Registered by the PIN of its own file's row, heard now; an order, and its answers."""
    pair.upper.propose(LOCAL, pair.battery, p_kw=1.0, minutes=30, why="from above")
    pair.live(4)
    found, device = pair.lower.offered(LOCAL), pair.device
    assert (found.registered, found.failures, found.lost_since, found.troubles) == (1, 0, "", [])
    assert (device.state, device.pin, device.failures, device.troubles) == ("registered", "checked", 0, [])
    assert (device.poll_s, device.post_s) == (60, 60)
    assert found.last_contact >= device.last_contact > ""
    assert found.next_try > ""
    assert device.next_try > ""
    assert found.poll_s["EndDeviceList"] == 60
    (mode, *_) = [each for each in device.effective if each.control]
    assert mode.until > ""
    mine = {each.answer: each.sent for each in device.answers if each.control == mode.control}
    assert mine == {"received": "yes", "started": "yes"}
    assert str(PIN) not in json.dumps(plain(found))


def test_the_command_tells_it(pair, monkeypatch):
    """`gridflock devices above`: a line for each end device, and the whole with --json."""
    answer = plain(pair.lower.offered(LOCAL))

    class _Asked:
        def __init__(self, *_):
            pass

        def ask(self, method, path):
            assert (method, path) == ("GET", "/api/utility/above")
            return answer

    monkeypatch.setattr(_devices_operate, "Remote", _Asked)
    told = CliRunner().invoke(app, ["devices", "above", "--json"])
    assert json.loads(told.stdout) == answer
    told = CliRunner().invoke(app, ["devices", "above"], env={"COLUMNS": "400"})
    assert told.exit_code == 0
    assert "localhost" in told.stdout


def test_silence_above_is_an_alarm_until_it_ends(pair):
    """Lost for a minute it is told with its cause; nothing is followed beyond its end. Back, it is over."""
    ask = pair.upward._line.ask

    async def nobody(*_):
        raise ConnectionError("nobody there")

    pair.upward._line.ask = nobody
    pair.live(1)
    assert pair.alarms() == []
    assert pair.lower.offered(LOCAL).lost_since > ""
    pair.live(3)
    (told,) = pair.alarms()
    assert "nobody there" in told
    assert pair.device.failures > 1
    assert pair.device.readings_kept > 0
    now = iso(pair.lower.clock.now_s())
    assert all(each.until > now for each in pair.device.effective if each.control)
    pair.upward._line.ask = ask
    pair.live(8)
    assert set(pair.alarms()) == {told, f"{LOST}: over"}
    assert pair.lower.offered(LOCAL).lost_since == ""
    assert (pair.device.failures, pair.device.readings_kept) == (0, 0)


def test_each_end_device_may_have_its_own_pin(pair):
    """Of two, one has a row of its own and the other the common PIN; a row of nobody is refused by name."""
    names = (GROUP, "type/pv_rooftop")
    contact = Contact("localhost", 1, pair.pki, pin=OTHER_PIN)
    first, second = (site_lfdi(pair.own, name, 37_250) for name in names)
    made = Upward(pair.lower, contact, "below", names, pins={first: PIN})
    made.stop()
    assert {lfdi: site.identity.pin for lfdi, site in made.client.sites.items()} == {
        first: PIN,
        second: OTHER_PIN,
    }
    with pytest.raises(ValueError, match=f"a PIN for {'AB' * 20}, which is none"):
        Upward(pair.lower, contact, "below", names, pins={"AB" * 20: PIN})


def test_a_pin_that_the_server_does_not_name_is_seen(pair):
    """Its row says another one than the server: it stops there, and is shown so."""
    wrong = pair.client({pair.own: OTHER_PIN})
    wrong.live()
    (device,) = wrong.view().devices
    wrong.stop()
    assert (device.state, device.pin) == ("the server's PIN is not ours", "wrong")


def test_a_file_of_pins_is_read_row_by_row(pair, tmp_path, capsys):
    """A bad row ends the start with its number and rule; a row of nobody with its identifier."""
    file = tmp_path / "pins.csv"
    words = (f"localhost:{pair.upper.utility(LOCAL).port}", pair.pki, "below", [GROUP], None)
    file.write_text(f"LFDI,PIN\n{pair.own},{PIN}\n")
    assert offer_of(*words, file, members=False).pins == {pair.own: PIN}
    file.write_text(f"{pair.own},123456\n")
    with pytest.raises(typer.Exit):
        offer_of(*words, file, members=False)
    assert "row 1: pin: '123456' (rule: five digits and their check digit)" in capsys.readouterr().err
    file.write_text(f"{'AB' * 20},{PIN}\n")
    with pytest.raises(typer.Exit), offering(pair.lower, offer_of(*words, file, members=False)):
        pass
    assert f"above-2030-5: a PIN for {'AB' * 20}" in capsys.readouterr().err
    with pytest.raises(typer.Exit):
        offer_of("", None, "", None, None, file, members=False)
    assert "--above-pins" in capsys.readouterr().err


def test_an_order_from_above_that_needs_a_second_person_starts_when_one_agrees(tmp_path):
    """Until then it waits and none of it is in force; taken back above, nobody can agree to it any more."""
    guard = GuardLimits(budget_kw=400.0, approval_kw=1.0, step_kw=1e6)
    settings = Settings(policy=Policy(guard=guard), plans=False)
    derms, _ = rehearse(tmp_path, Scenario(ders=40, seed=3, **CALM), settings, join_s=NOON_S)
    derms.tick()
    stands = StandsFor(derms, Scope(f"2030.5/{GROUP}", Role.OPERATOR, frozenset({GROUP})), GROUP)
    orders = [DERControlBase(op_mod_target_w=ActivePower(multiplier=1, value=kw)) for kw in (1_000, 900)]
    free = Standing(DERControlBase(), {}, frozenset(), None, None)
    for base, agreed in zip(orders, (True, False), strict=True):
        standing = replace(free, base=base, by_mode={"op_mod_target_w": None})
        assert stands.obey(standing, derms.clock.now_s()) == frozenset()
        assert stands.waits()
        assert derms.proposals(LOCAL) == []
        (waits,) = derms.guard(LOCAL).waiting
        if agreed:
            derms.approve(LOCAL, waits.id, why="a story")
            assert not stands.waits()
            assert [wish.id for wish in derms.proposals(LOCAL)] == [waits.id]
        stands.obey(free, derms.clock.now_s())
        assert not stands.waits()
        assert derms.proposals(LOCAL) == []
        assert derms.guard(LOCAL).waiting == []
    derms.close()


def test_what_waited_in_a_former_life_gives_way(tmp_path):
    """After a restart nobody can agree any more to an order that was over above, or is another by now."""
    guard = GuardLimits(budget_kw=400.0, approval_kw=1.0, step_kw=1e6)
    settings = Settings(policy=Policy(guard=guard), plans=False)
    scope = Scope(f"2030.5/{GROUP}", Role.OPERATOR, frozenset({GROUP}))
    free, waits = Standing(DERControlBase(), {}, frozenset(), None, None), []
    for kw in (1_000, 900, None):
        derms, _ = rehearse(tmp_path, Scenario(ders=40, seed=3, **CALM), settings, join_s=NOON_S)
        derms.tick()
        stands, standing = StandsFor(derms, scope, GROUP), free
        if kw is not None:
            base = DERControlBase(op_mod_target_w=ActivePower(multiplier=1, value=kw))
            standing = replace(free, base=base, by_mode={"op_mod_target_w": None})
        stands.obey(standing, derms.clock.now_s())
        assert stands.waits() is (kw is not None)
        waits.append([one.id for one in derms.guard(LOCAL).waiting])
        derms.close()
    assert [len(each) for each in waits] == [1, 1, 0]
    assert waits[0] != waits[1]

"""Two Gridflocks, one above the other over IEEE 2030.5: orders go down, sums and answers come up."""

import asyncio
import threading
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer

from gridflock.console._upward import offer_of, offering
from gridflock.field.ieee2030_5.events import Standing
from gridflock.field.ieee2030_5.resources import DERControlBase
from gridflock.field.ieee2030_5.resources._quantities import ActivePower
from gridflock.model import OutcomeStatus
from gridflock.runtime import LOCAL, Settings, UnknownName, rehearse
from gridflock.runtime.devices import Contact, Serve, StandsFor, Upward
from gridflock.sim import Scenario, World

NOON_S = 12 * 3_600
CALM = {"offline_day_share": 0.0, "offline_hours_share": 0.0, "opt_out_share": 0.0, "override_share": 0.0,
        "lost_share": 0.0, "late_share": 0.0}  # fmt: skip
BELOW, ABOVE = Scenario(ders=80, seed=3, **CALM), Scenario(ders=60, spoken=4, **CALM)
GROUP = "type/battery_home"
QUIET = Settings(plans=False)


def _tick(derms):
    moment = derms.tick()
    derms.clock.sleep_until(moment.now_s + 60)
    return moment


def _rows(derms):
    """Of the group below."""
    ids = derms.moment.image.ids
    return [ids.index(each.id) for each in derms.resources(LOCAL, GROUP, len(ids))]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The lower system's batteries stand where the upper one believes a battery of its own to be."""
    lower, _ = rehearse(tmp_path_factory.mktemp("lower"), BELOW, QUIET, join_s=NOON_S)
    _tick(lower)
    stands = StandsFor(lower, LOCAL, GROUP)
    name = next(name for name in World(ABOVE).spoken if name.startswith("bat"))
    folder = tmp_path_factory.mktemp("upper")
    upper, _ = rehearse(folder, ABOVE, QUIET, join_s=NOON_S, stand_ins={name: stands})
    yield upper, lower, name
    upper.close()
    lower.close()


def test_an_order_to_the_upper_group_reaches_the_lower_systems_devices(both):
    """Asked for 4 kW above: the lower batteries deliver them, and the upper system is told so and sees it."""
    upper, lower, name = both
    for _ in range(4):
        _tick(upper)
        _tick(lower)
    rows = _rows(lower)
    before = float(np.asarray(lower.moment.image.p_kw, dtype=float)[rows].sum())
    row = upper.moment.image.ids.index(name)
    # They follow their houses unasked, and what is seen above is some minutes old.
    assert upper.moment.image.p_kw[row] == pytest.approx(before, rel=0.4)
    upper.propose(LOCAL, name, p_kw=4.0, minutes=40, why="from above")
    outcomes, sums = [], []
    for _ in range(14):
        moment = _tick(upper)
        outcomes += [
            OutcomeStatus(status)
            for at, status in zip(moment.outcomes.index, moment.outcomes.status, strict=True)
            if at == row
        ]
        _tick(lower)
        sums.append(float(np.asarray(lower.moment.image.p_kw, dtype=float)[rows].sum()))
    assert set(outcomes) == {OutcomeStatus.ACCEPTED}
    assert sums[-1] == pytest.approx(4.0, abs=2.0)
    # What is seen above is what the group below did a minute or two ago, to the watt.
    assert min(abs(upper.moment.image.p_kw[row] - each) for each in sums[-4:]) < 0.01


def test_taken_back_above_it_is_taken_back_below(both):
    """Withdrawn in the upper system, the proposal below ends too, and the batteries are their own again."""
    upper, lower, name = both
    (mine,) = [wish for wish in upper.proposals(LOCAL) if wish.group == name]
    upper.withdraw(LOCAL, mine.id)
    for _ in range(16):
        _tick(upper)
        _tick(lower)
    # What is left is the default above: no more than it could do anyway.
    assert [wish.p_kw for wish in lower.proposals(LOCAL) if "above" in wish.why] in ([], [None])
    rows = _rows(lower)
    assert float(np.asarray(lower.moment.image.p_kw, dtype=float)[rows].sum()) < 0


class _Below:
    """The lower system's face, of one battery of 5 kW: what is proposed to it, and what stands."""

    def __init__(self):
        columns = {"p_max_kw": np.array([5.0]), "p_min_kw": np.array([-5.0]), "e_max_kwh": np.array([10.0])}
        image = SimpleNamespace(ids=("bat",), p_kw=np.zeros(1), e_kwh=np.zeros(1), columns=columns)
        self.moment = SimpleNamespace(image=image, able=SimpleNamespace(p_hi_kw=np.array([5.0])))
        self.proposed, self.standing = [], []
        self.former = []

    def proposals(self, _scope):
        return self.former

    def guard(self, _scope):
        return SimpleNamespace(waiting=[])

    def resources(self, *_):
        return [SimpleNamespace(id="bat")]

    def propose(self, *_, **wish):
        self.proposed.append(wish)
        self.standing.append(str(len(self.proposed)))
        return SimpleNamespace(proposal=SimpleNamespace(id=self.standing[-1]), waits=False)

    def withdraw(self, _scope, proposal):
        self.standing.remove(proposal)


def test_what_was_proposed_in_a_former_life_gives_way():
    """After a restart nobody remembers the last proposal: it ends with the first order of the new life."""
    below = _Below()
    why = "ordered by the utility above"
    below.standing = ["old", "hers"]
    below.former = [
        SimpleNamespace(id="old", group=GROUP, author=LOCAL.user, why=why),
        SimpleNamespace(id="hers", group=GROUP, author="someone", why=why),
    ]
    stands = StandsFor(below, LOCAL, GROUP)
    base = DERControlBase(op_mod_gen_lim_w=ActivePower(multiplier=0, value=3_000))
    stands.obey(Standing(base, {"op_mod_gen_lim_w": None}, frozenset(), None, None), 0)
    assert below.standing == ["hers", "1"]


def test_what_stands_for_days_above_is_renewed_below_before_it_ends():
    """A default without an end: two days long one proposal stands, none is older than half its life."""
    below = _Below()
    stands = StandsFor(below, LOCAL, GROUP)
    base = DERControlBase(op_mod_gen_lim_w=ActivePower(multiplier=0, value=3_000))
    standing = Standing(base, {"op_mod_gen_lim_w": None}, frozenset(), None, None)
    for now_s in range(0, 48 * 3_600, 300):
        assert stands.obey(standing, now_s) == frozenset()
        assert len(below.standing) == 1
    assert [(wish["minutes"], wish["p_lo_kw"], wish["p_hi_kw"]) for wish in below.proposed] == [
        (1_440.0, None, 3.0)
    ] * 4


@pytest.mark.parametrize("agreed", [False, True])
def test_what_is_renewed_above_is_renewed_below_before_it_ends(agreed):
    """A control is prolonged while it runs: no minute is without it; a second person is not asked early."""
    below = _Below()
    propose = below.propose
    below.propose = lambda *given, **wish: SimpleNamespace(
        proposal=propose(*given, **wish).proposal, waits=agreed
    )
    below.refuse = lambda *_, **__: (_ for _ in ()).throw(UnknownName("decided"))
    stands = StandsFor(below, LOCAL, GROUP)
    base = DERControlBase(op_mod_gen_lim_w=ActivePower(multiplier=0, value=3_000))
    ends = {}
    for now_s in range(0, 3_600, 60):
        until_s = now_s - now_s % 180 + 438
        stands.obey(Standing(base, {"op_mod_gen_lim_w": None}, frozenset(), until_s, None), now_s)
        ends.setdefault(len(below.proposed), now_s + 60 * below.proposed[-1]["minutes"])
        assert agreed or ends[len(below.proposed)] > now_s + 60
    assert len(below.proposed) == (10 if agreed else 20)


def test_what_waits_for_a_second_person_is_not_in_force_and_is_taken_back():
    """It is said to wait until it stands among the proposals; over above, nobody can agree to it any more."""
    below, refused = _Below(), []
    propose = below.propose

    def waits(*given, **wish):
        answer = propose(*given, **wish)
        below.standing.pop()
        return SimpleNamespace(proposal=answer.proposal, waits=True)

    below.propose = waits
    below.withdraw = lambda _scope, each: (_ for _ in ()).throw(UnknownName(each))
    below.refuse = lambda _scope, each, *, why: refused.append((each, bool(why)))
    stands = StandsFor(below, LOCAL, GROUP)
    half = replace(_FREE, base=DERControlBase(op_mod_max_lim_w=5_000), by_mode={"op_mod_max_lim_w": None})
    assert stands.obey(half, 0) == frozenset()
    assert stands.waits()
    stands.obey(_FREE, 60)
    assert refused == [("1", True)]
    assert not stands.waits()
    stands.obey(half, 120)
    below.former = [SimpleNamespace(id="2")]  # somebody agreed
    assert not stands.waits()


_FREE = Standing(DERControlBase(), {}, frozenset(), None, None)


class _Silent:
    """A server above that nobody reaches."""

    async def ask(self, *_):
        raise ConnectionError("nobody there")


def test_a_restart_without_contact_lifts_no_limit():
    """Until the server above was heard, what the former life proposed stands."""
    from gridflock.field.ieee2030_5.device import Client, Identity

    below = _Below()
    below.standing = ["old"]
    below.former = [
        SimpleNamespace(id="old", group=GROUP, author=LOCAL.user, why="ordered by the utility above")
    ]
    client = Client(_Silent(), Identity("AB" * 20, 1), plant=StandsFor(below, LOCAL, GROUP))
    for now_s in range(0, 600, 10):
        asyncio.run(client.visit(now_s))
    assert client.trouble == "nobody there"
    assert below.standing == ["old"]
    client.sites["AB" * 20].plant.obey(_FREE, 600)
    assert below.standing == []


@pytest.mark.parametrize("size_kw", [5.0, 1_234.567, 33.333333, 65_536.9])
def test_a_limit_that_is_all_it_could_give_is_none(size_kw):
    """Ratings are rounded down on the wire: what they come to above binds nobody below."""
    below = _Below()
    columns = below.moment.image.columns
    columns["p_max_kw"][:], columns["p_min_kw"][:] = size_kw, -size_kw
    stands = StandsFor(below, LOCAL, GROUP)
    rated = stands.settings(0)
    base = DERControlBase(
        op_mod_max_lim_w=10_000,
        op_mod_gen_lim_w=rated.set_max_w,
        op_mod_load_lim_w=rated.set_max_charge_rate_w,
    )
    stands.obey(replace(_FREE, base=base), 0)
    assert below.proposed == []
    stands.obey(replace(_FREE, base=DERControlBase(op_mod_max_lim_w=9_990)), 0)
    assert [wish["p_hi_kw"] for wish in below.proposed] == [pytest.approx(0.999 * size_kw, rel=1e-3)]


def test_who_belongs_to_the_group_is_looked_for_at_every_tick():
    """Regrouped, the sums and ratings change, a share of them is proposed anew; gone, it takes no orders."""
    below = _Below()
    image = SimpleNamespace(
        ids=("bat", "new"),
        p_kw=np.array([1.0, 2.0]),
        e_kwh=np.zeros(2),
        columns={
            name: np.full(2, kw) for name, kw in (("p_max_kw", 5.0), ("p_min_kw", -5.0), ("e_max_kwh", 9.0))
        },
    )

    def tick():
        below.moment = SimpleNamespace(image=image, able=SimpleNamespace(p_hi_kw=np.array([5.0, 5.0])))

    members = ["bat"]

    def held(*_):
        if not members:
            raise UnknownName(GROUP)
        return [SimpleNamespace(id=each) for each in members]

    below.resources = held
    tick()
    stands = StandsFor(below, LOCAL, GROUP)
    half = replace(_FREE, base=DERControlBase(op_mod_max_lim_w=5_000), by_mode={"op_mod_max_lim_w": None})
    stands.obey(half, 0)
    members.append("new")
    tick()
    stands.obey(half, 60)
    assert [wish["p_hi_kw"] for wish in below.proposed] == [2.5, 5.0]
    assert (stands.plate.p_max_kw, stands.seen["p_kw"]) == (10.0, 3.0)
    members.clear()
    tick()
    assert stands.obey(half, 120) == {"op_mod_max_lim_w"}
    assert stands.readings(180) == []
    assert stands.status(180).gen_connect_status.value == 0
    assert len(below.proposed) == 2


UPPER = Scenario(ders=60, **CALM)


class _Unhurried(Serve):
    """Minutes pass faster here than the wall's, by which a server counts who asks too often."""

    @property
    def policy(self):
        return replace(super().policy, headroom=1e5)


class _Pair:
    """An upper system with a server, and a lower one that is an aggregator's client of it."""

    def __init__(self, folder):
        from gridflock.field.ieee2030_5 import identity

        self.pki = pki = folder / "pki"
        now_s = int(time.time()) - 60
        authority = identity.Authority.make(pki, "Story", now_s, tests=True)
        authority.issue_service("utility", ["localhost", "127.0.0.1"], 30, now_s)
        authority.issue_service("below", ["below.example"], 30, now_s)
        self.own = next(each.lfdi for each in authority.issued if each.name == "below")
        rows = [dict(row) for row in World(UPPER).registry]
        batteries = [row for row in rows if row["kind"] == "BATTERY_HOME"]
        roofs = [row for row in rows if row["kind"] == "PV_ROOFTOP"]
        # Who may give most of what it holds, and who may give most: those below have room in it.
        stand_ins = (
            min(batteries, key=lambda row: float(row.get("e_reserve_kwh", 0.0))),
            max(roofs, key=lambda row: float(row["p_max_kw"])),
        )
        for row in stand_ins:
            row["reach_s"] = 180.0  # it asks every minute, and its own devices have to hear too
        self.names = [str(row["id"]) for row in stand_ins]
        serves = _Unhurried(0, pki, registration="ask", poll_s=60)
        self.upper, _ = rehearse(folder / "upper", UPPER, QUIET, join_s=NOON_S, registry=rows, serves=serves)
        self.lower, _ = rehearse(folder / "lower", BELOW, QUIET, join_s=NOON_S)
        _tick(self.upper)
        _tick(self.lower)
        self.port = port = self.upper.utility(LOCAL).port
        roof = next(each.id for each in self.lower.resources(LOCAL, "type/pv_rooftop", 1))
        self.offered = (GROUP, roof)
        self.upward = Upward(self.lower, Contact("localhost", port, pki), "below", self.offered)
        self.outcomes, self.roof_kw = [], []

    def live(self, minutes):
        for _ in range(minutes):
            self.upward.live()
            moment = _tick(self.upper)
            _tick(self.lower)
            self.roof_kw.append(self.sums(self.offered[1]))
            self.outcomes += [
                (self.upper.moment.image.ids[row], OutcomeStatus(status))
                for row, status in zip(moment.outcomes.index, moment.outcomes.status, strict=True)
            ]

    def sums(self, group):
        """Of a group below now, kW."""
        ids = self.lower.moment.image.ids
        rows = [ids.index(each.id) for each in self.lower.resources(LOCAL, group, len(ids))]
        return float(np.asarray(self.lower.moment.image.p_kw, dtype=float)[rows].sum())

    def above(self, name):
        """What the upper system believes of a resource, kW."""
        image = self.upper.moment.image
        return float(image.p_kw[image.ids.index(name)])

    def close(self):
        self.upward.stop()
        self.upper.close()
        self.lower.close()


@pytest.fixture
def pair(tmp_path, require):
    """Before anybody was let in; closed at the end."""
    require("httptools", find_spec("httptools") is not None)
    made = _Pair(tmp_path)
    yield made
    made.close()


@pytest.mark.slow
def test_many_end_devices_behind_one_certificate(pair):
    """A group and a resource below are two end devices above: registered by their aggregator, heard, ordered.

    Nobody is let in unasked: the aggregator shows up, then its sites, and an operator says which they are.
    """
    upper, upward = pair.upper, pair.upward
    pair.live(6)
    (stranger,) = upper.devices(LOCAL, access="pending").devices
    assert stranger.lfdi == pair.own
    upper.enrol(LOCAL, pair.own, aggregator=True, name="the system below")
    pair.live(16)
    waiting = {each.lfdi for each in upper.devices(LOCAL, access="pending").devices}
    assert waiting == set(upward.lfdis.values())
    assert {lfdi[-8:] for lfdi in waiting} == {f"{37_250:08X}"}
    for name, group in zip(pair.names, pair.offered, strict=True):
        upper.set_access(LOCAL, upward.lfdis[group], access="enabled", resource=name)
    pair.live(8)
    status = upward.status()
    assert (status["end_devices"], status["registered"], status["trouble"]) == (2, 2, "")
    battery, roof = pair.names
    assert min(abs(pair.above(roof) - each) for each in pair.roof_kw[-4:]) < 0.01, "a minute or two old"
    upper.propose(LOCAL, battery, p_kw=4.0, minutes=40, why="from above")
    upper.propose(LOCAL, roof, p_kw=1.0, minutes=40, why="from above")
    pair.live(18)
    for name in pair.names:
        assert {status for who, status in pair.outcomes if who == name} == {OutcomeStatus.ACCEPTED}
    assert pair.sums(GROUP) == pytest.approx(4.0, abs=2.0)
    assert pair.sums(pair.offered[1]) == pytest.approx(1.0, abs=0.3)
    wishes = [wish for wish in pair.lower.proposals(LOCAL) if "above" in wish.why]
    assert {(wish.group, wish.author) for wish in wishes} == {
        (each, f"2030.5/{each}") for each in pair.offered
    }


def test_who_offers_nothing_or_too_much_is_told(pair, tmp_path):
    """A group that is none, and more members than may be end devices, are refused before anything is said."""
    contact = Contact("localhost", 1, tmp_path / "pki")
    with pytest.raises(UnknownName):
        Upward(pair.lower, contact, "below", ["nobody"])
    with pytest.raises(ValueError, match="rule: 1 to"):
        Upward(pair.lower, contact, "below", [])
    each = Upward(pair.lower, contact, "below", [GROUP], members=True)
    held = [member.id for member in pair.lower.resources(LOCAL, GROUP, 1_000)]
    assert list(each.lfdis) == held
    assert len(set(each.lfdis.values())) == len(held)
    each.stop()
    alone = Upward(pair.lower, contact, "below", [GROUP])
    assert alone.lfdis == {GROUP: pair.own}
    alone.stop()


@pytest.fixture
def alone(both, tmp_path, require):
    """A client of the lower system for a server that is not there."""
    require("httptools", find_spec("httptools") is not None)
    from gridflock.field.ieee2030_5 import identity

    now_s = int(time.time()) - 60
    authority = identity.Authority.make(tmp_path / "pki", "Story", now_s, tests=True)
    authority.issue_service("below", ["below.example"], 30, now_s)
    made = Upward(both[1], Contact("localhost", 1, tmp_path / "pki"), "below", [GROUP])
    yield made
    made.stop()


def test_a_server_that_says_nothing_holds_nobody_up(alone):
    """It lets the client in and is silent: controls are obeyed meanwhile, and the end waits for no answer."""
    obeyed, asked = [], threading.Event()

    async def silent(*_):
        asked.set()
        await asyncio.sleep(3_600)

    alone._line.ask = silent
    alone.client.obey = obeyed.append
    alone.start()
    assert asked.wait(20)
    time.sleep(1.2)
    begun_s = time.monotonic()
    alone.stop()
    assert time.monotonic() - begun_s < 20
    assert len(obeyed) >= 2


def test_what_breaks_the_client_is_told_and_tried_again(alone, caplog):
    """An error of our own does not end the thread: it stands in the status until a visit goes well."""
    failing, due, done = [True], alone.client.due_s, threading.Event()

    def broken(now_s):
        if failing[0]:
            raise ZeroDivisionError("due")
        done.set()
        return due(now_s)

    alone.client.due_s = broken
    alone.start()
    until_s = time.monotonic() + 20
    while "ZeroDivisionError" not in str(alone.status()["trouble"]) and time.monotonic() < until_s:
        time.sleep(0.1)
    assert alone.status()["trouble"] == "ZeroDivisionError: due"
    failing[0] = False
    assert done.wait(20)
    alone.stop()
    assert "ZeroDivisionError" not in str(alone.status()["trouble"])
    assert "client of the server above" in caplog.text
    assert "server above: ZeroDivisionError: due" in caplog.text


def test_as_the_command_does_it(pair, capsys):
    """In a thread of its own the client shows up above by itself, and hangs up at the end."""
    offer = offer_of(f"localhost:{pair.port}", pair.pki, "below", [GROUP], None, members=False)
    with offering(pair.lower, offer):
        until = time.monotonic() + 60
        while not pair.upper.devices(LOCAL).total and time.monotonic() < until:
            time.sleep(0.2)
        assert [each.lfdi for each in pair.upper.devices(LOCAL).devices] == [pair.own]
    told = capsys.readouterr().out
    assert f"offered above: {GROUP} as {pair.own}" in told
    assert "above: end devices 1" in told
    assert pair.upper.utility(LOCAL).counts["connected"] == 0


@pytest.mark.parametrize(
    ("server", "pki", "name", "groups", "told"),
    [
        ("localhost", "pki", "below", ["all"], "HOST:PORT"),
        ("localhost:0", "pki", "below", ["all"], "HOST:PORT"),
        ("localhost:9443", None, "", None, "no --pki, --as, --group"),
        ("", None, "below", None, "above-2030-5: not given"),
    ],
)
def test_what_the_command_cannot_do(server, pki, name, groups, told, capsys):
    """What is missing or wrong is named before anything is begun."""
    with pytest.raises(typer.Exit):
        offer_of(server, None if pki is None else Path(pki), name, groups, None, members=False)
    assert told in capsys.readouterr().err


def test_without_a_system_above_nothing_is_offered():
    """No option, no client."""
    assert offer_of("", None, "", None, None, members=False) is None
    with offering(None, None):
        pass

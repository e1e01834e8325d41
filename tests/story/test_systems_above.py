"""Story: one system above two running ones; a line is cut, the one above dies, the limit holds."""

import asyncio

import httpx
import numpy as np
import pytest

from gridflock.console import build
from gridflock.dispatch.hierarchy import Known
from gridflock.field.peer import Peer
from gridflock.record import open_record
from gridflock.runtime import LOCAL, Role, Settings, Users, rehearse, replay
from gridflock.runtime._above import Above
from gridflock.runtime._allowed import SOURCE
from gridflock.sim import Scenario

NAMES = ("north", "south")
JOIN_S = 17 * 3_600 + 20 * 60
LIMIT = (-610.0, 1_000.0)
RESERVE_KW = 20.0
STRAY_KW = 5.0
"""On a mean of five minutes load that takes no orders, of 160 devices, goes astray by less."""
SHOWN_KW = 0.02
"""Powers are shown rounded."""
DEFAULT = (-290.0, 400.0)
RATING = (-2_000.0, 1_000.0)
LIFE_S, SKEW_S = 30, 5
CUT, MENDED, DEAD, ANEW, END = 8, 28, 32, 40, 50
"""Minutes: south cannot be reached for twenty, nobody is above for eight."""


def settings(name):
    """Of a system that stands under another one."""
    return Settings(name=name, default_kw=DEFAULT, in_ac=False)


def scenario(name):
    """Its world: more devices beside less demand than usual, so that there is something to hold back."""
    return Scenario(ders=80, seed=7 + NAMES.index(name), demand_scale=0.1)


class Link(httpx.BaseTransport):
    """The way to a child: its application without a socket, until the line is cut."""

    def __init__(self, app):
        self.app, self.cut = app, False

    def handle_request(self, request):
        """The application's answer."""
        if self.cut:
            raise httpx.ConnectError("the line is cut", request=request)

        async def answered():
            found = await httpx.ASGITransport(self.app).handle_async_request(request)
            return httpx.Response(found.status_code, headers=found.headers, content=await found.aread())

        return asyncio.run(answered())


class Story:
    """Two systems below and, most of the time, one above, on one virtual clock."""

    def __init__(self, folder):
        self.folder, self.derms, self.links, self.peers = folder, {}, {}, []
        for name in NAMES:
            derms, _ = rehearse(folder / name, scenario(name), settings(name), join_s=JOIN_S)
            token = Users(folder / name).add("utility", Role.OPERATOR)
            link = Link(build(derms, Users(folder / name)))
            self.derms[name], self.links[name] = derms, link
            self.peers.append(Peer(name, f"https://{name}.example", token, link))
        self.told, self.looks, self.obeyed, self.bounds, self.kept = [], [], [], [], {}

    def begun(self):
        """One above that begins and knows nothing but what was agreed."""
        agreed = [Known(name, RATING, DEFAULT) for name in NAMES]
        record, clock = open_record(self.folder / "above"), self.derms["north"].clock.now_s
        return Above(
            self.peers, agreed, LIMIT, record, clock,
            life_s=LIFE_S, skew_s=SKEW_S, reserve_kw=RESERVE_KW, patience_s=60.0,
        )  # fmt: skip

    def minute(self, above):
        """A tick of each, and a round."""
        moments = [derms.tick() for derms in self.derms.values()]
        self.told.append([derms.standing(LOCAL) for derms in self.derms.values()])
        self.obeyed.append([moment.directive and moment.directive.order for moment in moments])
        bounds = [m.directive and m.directive.allowance.at(m.now_s) for m in moments]
        self.bounds.append(bounds)
        self.looks.append(above and above.round())
        for moment, derms in zip(moments, self.derms.values(), strict=True):
            derms.clock.sleep_until(moment.now_s + 60)

    def inside(self, minute, k):
        """Whether the head of one was measured inside of what it followed."""
        low, high = self.bounds[minute][k]
        return low <= self.told[minute][k].p_kw <= high

    def close(self):
        """The end of the two below; what they tell last is remembered."""
        for name, derms in self.derms.items():
            self.kept[name] = derms.standing(LOCAL)
            derms.close()


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """Fifty minutes of an evening: the limit comes, a line is cut, the one above dies and begins anew."""
    story, above = Story(tmp_path_factory.mktemp("above")), None
    for minute in range(END):
        if minute in (1, ANEW):
            above = story.begun()
        if minute == DEAD:
            above.close()
            above = None
        story.links["south"].cut = CUT <= minute < MENDED
        story.minute(above)
    above.close()
    story.close()
    return story


def entries_of(folder, *kinds):
    """Of a ledger."""
    record = open_record(folder, read_only=True)
    found = list(record.entries(0, set(kinds)))
    assert record.verify().ok
    record.close()
    return found


def test_the_sum_of_the_measured_heads_comes_and_stays_within_the_limit(lived):
    """Over by no more than what became impossible in that very minute.

    What a system can do falls where load that takes no orders grows and where vehicles must charge. On the
    mean of five minutes nothing else moves the sum out of what is shared out, the reserve being within it.
    """
    able = np.array([[each.able_kw[1] for each in told] for told in lived.told])
    whole = np.array([sum(each.p_kw for each in told) for told in lived.told])
    assert whole[0] < LIMIT[0] - 50.0  # without a word from above the evening is beyond it
    forced = np.maximum(able[:-1] - able[1:], 0.0).sum(axis=1)
    over = LIMIT[0] - whole[1:]
    assert (over <= forced + 1.0).all(), np.column_stack([over, forced]).round(1)
    five, five_forced = (np.convolve(each, np.full(5, 0.2), "valid") for each in (whole[1:], forced))
    assert (five >= LIMIT[0] + RESERVE_KW - five_forced - STRAY_KW).all()


def test_a_system_that_cannot_be_reached_keeps_what_it_was_given_and_nobody_else_gets_it(lived):
    """For twenty minutes south obeys its last directive; north goes on, and is not given south's part."""
    orders = {minute: lived.obeyed[minute][1] for minute in range(CUT, MENDED + 1)}
    assert len(set(orders.values())) == 1
    assert lived.obeyed[MENDED + 1][1] > orders[CUT]  # back at once
    assert len({lived.obeyed[minute][0] for minute in range(CUT, MENDED)}) > 2
    last = lived.looks[MENDED - 1]
    assert last.children[1].silent_s == 60 * (MENDED - CUT)
    assert "line is cut" in last.children[1].trouble
    shared = LIMIT[0] + RESERVE_KW
    for minute in range(CUT + 1, MENDED):
        north, south = lived.looks[minute].children
        may_kw = lived.bounds[minute][1][0]
        assert north.lo_kw + may_kw >= shared - SHOWN_KW
        assert (
            south.may_lo_kw <= may_kw + SHOWN_KW
        )  # and what its load was beside that when it was heard last
    told = [
        (entry.head["cause"], entry.head["state"]) for entry in entries_of(lived.folder / "above", "alarm")
    ]
    assert told == [("below: south", "begins"), ("below: south", "ends")]


def test_a_system_above_that_dies_is_missed_by_nobody_and_rejoins(lived):
    """While it is gone both follow their last directive; a new life listens first, and then all follow it.

    Who was measured inside of what it follows says that it keeps it; who never was, still counts with both.
    """
    assert len({tuple(lived.obeyed[minute]) for minute in range(DEAD + 1, ANEW + 1)}) == 1
    first = lived.looks[ANEW]
    assert [child.lo_kw for child in first.children] == [None, None]
    lives = [child[0] for child in lived.obeyed[-1]]
    assert lives == [lived.looks[-1].epoch] * 2
    assert lives[0] > lived.obeyed[ANEW][0][0]
    for k, name in enumerate(NAMES):
        since = range(ANEW, END)
        inside = any(lived.obeyed[m][k][0] == lives[k] and lived.inside(m, k) for m in since)
        kept = lived.kept[name]
        assert (kept.epoch == lives[k]) == inside
        assert kept.kept.at(kept.at_s)[0] <= lived.bounds[-1][k][0]
    assert not any(look.deposed for look in lived.looks if look)


def test_what_is_said_is_in_both_ledgers(lived):
    """A directive is recorded before it is said, and before it is adopted; no other is followed."""
    said = {(e.head["epoch"], e.head["number"]) for e in entries_of(lived.folder / "above", "directive")}
    for k, name in enumerate(NAMES):
        adopted = {(e.head["epoch"], e.head["number"]) for e in entries_of(lived.folder / name, "directive")}
        assert adopted
        assert adopted <= said
        assert {orders[k] for orders in lived.obeyed} - {None} <= adopted


def test_a_life_with_directives_is_lived_again_to_the_same_bytes(lived):
    """Directives come into a tick by its record."""
    found = replay(lived.folder / "north")
    assert found.identical, found.differs
    assert found.ticks == END


def test_a_system_that_starts_again_still_keeps_what_it_was_told(lived):
    """After a restart the newest directive of the ledger bounds the very first tick, and so is it told."""
    before = lived.kept["south"]
    derms, _ = rehearse(lived.folder / "south", scenario("south"), settings("south"))
    moment = derms.tick()
    told = derms.standing(LOCAL)
    derms.close()
    assert moment.directive.order >= lived.obeyed[-1][1]
    assert SOURCE in next(envelope for envelope in moment.envelopes if envelope.group == "all").source
    assert (told.child, told.kept.default_kw) == (before.child, DEFAULT)
    assert (told.epoch, told.number) >= (before.epoch, before.number)  # what was kept is kept

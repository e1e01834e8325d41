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
        self.head_kw, self.able_kw, self.looks, self.obeyed, self.kept = [], [], [], [], {}

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
        self.head_kw.append([moment.head_kw for moment in moments])
        self.able_kw.append([derms.standing(LOCAL).able_kw[1] for derms in self.derms.values()])
        self.obeyed.append([moment.directive and moment.directive.order for moment in moments])
        self.looks.append(above and above.round())
        for moment, derms in zip(moments, self.derms.values(), strict=True):
            derms.clock.sleep_until(moment.now_s + 60)

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
    """Over by no more than what became impossible in that very minute; on the mean of five minutes never.

    What a system can do falls where load that takes no orders grows and where vehicles must charge.
    """
    heads, able = np.array(lived.head_kw), np.array(lived.able_kw)
    whole = heads.sum(axis=1)
    assert whole[0] < LIMIT[0] - 50.0  # without a word from above the evening is beyond it
    forced = np.maximum(able[:-1] - able[1:], 0.0).sum(axis=1)
    over = LIMIT[0] - whole[1:]
    assert (over <= forced + 1.0).all(), np.column_stack([over, forced]).round(1)
    assert (np.convolve(whole[1:], np.full(5, 0.2), "valid") >= LIMIT[0]).all()


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
        assert north.lo_kw + south.may_lo_kw >= shared - 5.0  # 5: what south's load was beside its bound then
    told = [
        (entry.head["cause"], entry.head["state"]) for entry in entries_of(lived.folder / "above", "alarm")
    ]
    assert told == [("below: south", "begins"), ("below: south", "ends")]


def test_a_system_above_that_dies_is_missed_by_nobody_and_rejoins(lived):
    """While it is gone both follow their last directive; a new life listens first, and then all follow it."""
    assert len({tuple(lived.obeyed[minute]) for minute in range(DEAD + 1, ANEW + 1)}) == 1
    first = lived.looks[ANEW]
    assert [child.lo_kw for child in first.children] == [None, None]
    lives = [child[0] for child in lived.obeyed[-1]]
    assert lives == [lived.looks[-1].epoch] * 2
    assert lives[0] > lived.obeyed[ANEW][0][0]
    assert [lived.kept[name].epoch for name in NAMES] == lives
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
    assert told.epoch == before.epoch

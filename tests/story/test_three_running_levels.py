"""Story: one above a region above two running systems, and another beside; the region is cut off and dies."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from gridflock.console import build
from gridflock.console._middle import build_middle
from gridflock.dispatch.hierarchy import Known
from gridflock.field.peer import Peer
from gridflock.record import open_record
from gridflock.runtime import LOCAL, Role, Settings, Users, rehearse
from gridflock.runtime._above import Above
from gridflock.runtime._middle import Middle
from gridflock.sim import Scenario

sys.path.insert(0, str(Path(__file__).parent))
two = importlib.import_module("test_systems_above")

LEAVES, WEST, TOP = ("north", "south", "east"), ("north", "south"), ("west", "east")
LIMIT, RESERVE_KW = (-920.0, 1_500.0), 30.0
DEFAULT = {"west": (-580.0, 800.0)} | dict.fromkeys(LEAVES, (-290.0, 400.0))
CUT, MENDED, DEAD, ANEW, END = 8, 18, 22, 27, 36
WORDS = {"life_s": 30, "skew_s": 5, "patience_s": 60.0}


class Story:
    """Three systems with devices, a region above two of them, one above all; on one virtual clock."""

    def __init__(self, folder):
        self.folder, self.derms, self.links, self.tokens = folder, {}, {}, {}
        for k, name in enumerate(LEAVES):
            settings = Settings(name=name, default_kw=DEFAULT[name], in_ac=False)
            world = Scenario(ders=80, seed=7 + k, demand_scale=0.1)
            self.derms[name], _ = rehearse(folder / name, world, settings, join_s=two.JOIN_S)
            self.tokens[name] = Users(folder / name).add("utility", Role.OPERATOR)
            self.links[name] = two.Link(build(self.derms[name], Users(folder / name)))
        (folder / "west").mkdir()
        self.tokens["west"] = Users(folder / "west").add("utility", Role.OPERATOR)
        self.links["west"] = two.Link(None)
        self.clock, self.west, self.head = self.derms["north"].clock.now_s, None, None
        self.told, self.obeyed, self.bounds, self.looks, self.regions = [], [], [], [], []

    def peers(self, names):
        """Ways to some, each of its own client."""
        return [Peer(name, f"https://{name}.example", self.tokens[name], self.links[name]) for name in names]

    def begin_west(self):
        """A life of the region, on the ledger of the former one."""
        agreed = [Known(name, two.RATING, DEFAULT[name]) for name in WEST]
        self.west = Middle(
            self.peers(WEST), agreed, (-800.0, 1_000.0), open_record(self.folder / "west"), self.clock,
            name="west", default_kw=DEFAULT["west"], reserve_kw=10.0, **WORDS,
        )  # fmt: skip
        self.links["west"].app = build_middle(self.west, Users(self.folder / "west"))

    def begin_head(self):
        """The one above all."""
        agreed = [Known(name, two.RATING, DEFAULT[name]) for name in TOP]
        record = open_record(self.folder / "head")
        self.head = Above(self.peers(TOP), agreed, LIMIT, record, self.clock, reserve_kw=RESERVE_KW, **WORDS)

    def minute(self):
        """A tick of each, then a round of the region and of the one above."""
        moments = [derms.tick() for derms in self.derms.values()]
        self.told.append([derms.standing(LOCAL) for derms in self.derms.values()])
        self.obeyed.append([moment.directive and moment.directive.order for moment in moments])
        self.regions.append(self.west and self.west.round())
        self.looks.append(self.head and self.head.round())
        self.bounds.append(self.west and self.west._up.aims.at(self.clock()))
        for moment, derms in zip(moments, self.derms.values(), strict=True):
            derms.clock.sleep_until(moment.now_s + 60)


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """Thirty-six minutes of an evening."""
    story = Story(tmp_path_factory.mktemp("levels"))
    for minute in range(END):
        if minute == 1:
            story.begin_head()
        if minute in (1, ANEW):
            story.begin_west()
        if minute == DEAD:
            story.before = story.west.standing(LOCAL)
            story.west.close()
            story.west = None
        story.links["west"].cut = CUT <= minute < MENDED or DEAD <= minute < ANEW
        story.minute()
        if minute == ANEW:
            story.after = story.west.standing(LOCAL)
    story.head.close()
    story.west.close()
    for derms in story.derms.values():
        derms.close()
    return story


def over_means(lived, columns, low):
    """(minutes - 5,) how far means of five minutes are beyond a bound and what became impossible in them."""
    power = np.array([sum(told[k].p_kw for k in columns) for told in lived.told])
    able = np.array([[told[k].able_kw[1] for k in columns] for told in lived.told])
    forced = np.maximum(able[:-1] - able[1:], 0.0).sum(axis=1)
    five, five_forced, five_low = (
        np.convolve(each, np.full(5, 0.2), "valid") for each in (power[1:], forced, low[1:])
    )
    return five_low - five_forced - five


def test_the_sum_of_the_measured_heads_stays_within_the_limit(lived):
    """Beyond what is shared out by what became impossible only, in every state of the levels between."""
    assert sum(each.p_kw for each in lived.told[0]) < LIMIT[0] - 50.0  # nobody above yet
    over = over_means(lived, range(3), np.full(END, LIMIT[0] + RESERVE_KW))
    assert (over <= 1.5 * two.STRAY_KW).all(), over.round(1)


def test_the_region_keeps_its_part(lived):
    """North and south together keep to what west was told last, cut off or not."""
    last, low = DEFAULT["west"][0], []
    for bounds in lived.bounds:
        last = last if bounds is None else bounds[0]
        low.append(last)
    over = over_means(lived, (0, 1), np.array(low))
    assert (over <= two.STRAY_KW).all(), over.round(1)


def test_a_region_that_is_cut_off_keeps_what_it_was_given_and_shares_it_on(lived):
    """For ten minutes west is told nothing, north and south are; east is given nothing of its part."""
    during = range(CUT + 1, MENDED)
    for minute in during:
        east = lived.looks[minute].children[1]
        assert east.lo_kw + lived.bounds[minute][0] >= LIMIT[0] + RESERVE_KW - two.SHOWN_KW
    assert "line is cut" in lived.looks[MENDED - 1].children[0].trouble
    assert lived.looks[MENDED + 1].children[0].silent_s == 0


def test_a_region_that_dies_is_missed_by_nobody_and_goes_on_where_it_was(lived):
    """North and south follow its last word meanwhile; the new life keeps what the former one said."""
    assert len({tuple(lived.obeyed[minute][:2]) for minute in range(DEAD, ANEW + 1)}) == 1
    assert (lived.after.epoch, lived.after.number) == (lived.before.epoch, lived.before.number)
    assert [order[0] for order in lived.obeyed[-1][:2]] == [lived.regions[-1].epoch] * 2
    assert lived.regions[-1].epoch > lived.regions[DEAD - 1].epoch


def test_every_directive_is_in_the_ledgers_of_who_says_and_who_follows(lived):
    """At both borders: what is followed was said, and said after it was written down."""
    for above, below in (("head", ("west", "east")), ("west", WEST)):
        entries = two.entries_of(lived.folder / above, "directive")
        said = {(e.head["epoch"], e.head["number"]) for e in entries if "directive" in e.columns}
        for name in below:
            entries = two.entries_of(lived.folder / name, "directive")
            adopted = {(e.head["epoch"], e.head["number"]) for e in entries if "child" in e.columns}
            assert adopted
            assert adopted <= said

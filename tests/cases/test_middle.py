"""Systems in the middle: three levels of running lives, whoever is cut off, forgets or is cut short."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gridflock.dispatch.hierarchy import Known
from gridflock.field.peer import Unanswered, directive_said
from gridflock.model import Allowance, Directive
from gridflock.record import RecordFull, open_record
from gridflock.runtime import LOCAL, AccessDenied, RequestRejected, Role, Scope
from gridflock.runtime._above import Above
from gridflock.runtime._middle import Middle
from gridflock.units import TimeGrid

sys.path.insert(0, str(Path(__file__).parent))
rounds = importlib.import_module("test_above_rounds")

START, RATING, DEFAULT = rounds.START, rounds.RATING, rounds.DEFAULT
LIMIT = (-240.0, 140.0)
OWN = (-25.0, 12.0)
"""Default of a region: a little more than those of its two together."""
WORDS = {"life_s": 30, "skew_s": 2, "patience_s": 20.0}
REGIONS = {"west": ("north", "south"), "east": ("hill", "dale")}


class Way:
    """The way to somebody below, which may be cut, and who may be gone."""

    def __init__(self, name, of):
        self.name, self.of, self.cut = name, of, False

    def there(self):
        """Who answers."""
        found = self.of()
        if self.cut or found is None:
            raise Unanswered(f"{self.name}: nobody answers")
        return found

    def standing(self):
        """What it tells."""
        found = self.there()
        return found.standing(LOCAL) if isinstance(found, Middle) else found.standing()

    def direct(self, directive):
        """What it is told; a refusal is an answer too."""
        found = self.there()
        if not isinstance(found, Middle):
            return found.direct(directive)
        try:
            found.direct(LOCAL, directive_said(directive))
        except RequestRejected as error:
            raise Unanswered(str(error)) from error


class World:
    """A head, two regions, four below them, and the time that all go by."""

    def __init__(self, folder):
        self.folder, self.now_s, self.regions, self.ways = folder, START, {}, {}
        names = [name for pair in REGIONS.values() for name in pair]
        self.below = {name: rounds.Below(name, lambda: self.now_s) for name in names}
        for name in names:
            self.ways[name] = Way(name, lambda name=name: self.below[name])
        for region in REGIONS:
            self.ways[region] = Way(region, lambda region=region: self.regions.get(region))
            self.begin(region)
        self.head = self.topmost()

    def topmost(self):
        """A head that begins."""
        agreed = [Known(region, (-200.0, 120.0), OWN) for region in REGIONS]
        ways = [self.ways[region] for region in REGIONS]
        return Above(ways, agreed, LIMIT, open_record(self.folder / "head"), lambda: self.now_s, **WORDS)

    def begin(self, region):
        """A life of a region that begins, on the ledger of the former one."""
        self.end(region)
        agreed = [Known(name, RATING, DEFAULT) for name in REGIONS[region]]
        self.regions[region] = Middle(
            [self.ways[name] for name in REGIONS[region]], agreed, (-150.0, 120.0),
            open_record(self.folder / region), lambda: self.now_s, name=region, default_kw=OWN, **WORDS,
        )  # fmt: skip

    def end(self, region):
        """It is gone."""
        if self.regions.get(region) is not None:
            self.regions.pop(region).close()

    def live(self, many, every_s=10):
        """Some rounds of all; what the head and the regions show last."""
        for _ in range(many):
            self.now_s += every_s
            look = self.head.round()
            looks = {region: life.round() for region, life in self.regions.items()}
        return look, looks

    def may(self, name):
        """Lowest and highest that one at the bottom may do now: what it keeps and what it was told."""
        child = self.below[name].child
        both = child.kept.at(self.now_s), child.aims.at(self.now_s)
        return min(low for low, _ in both), max(high for _, high in both)

    def close(self):
        """The end of all."""
        self.head.close()
        for region in REGIONS:
            self.end(region)


@pytest.fixture
def world(tmp_path):
    """Three levels that have agreed on first allowances."""
    world = World(tmp_path)
    world.live(12)
    yield world
    world.close()


def test_a_limit_is_shared_over_three_levels(world):
    """North means to import 90 kW: its region gets what it needs, and those who need less make room."""
    assert sum(world.may(name)[0] for name in world.below) == pytest.approx(LIMIT[0], abs=0.1)
    world.below["north"].p_kw = -90.0
    look, looks = world.live(12)
    assert world.may("north")[0] <= -85.0
    assert sum(world.may(name)[0] for name in world.below) >= LIMIT[0] - 1e-6
    assert all(child.settled for child in look.children)
    assert looks["west"].allowed_kw[0] == pytest.approx(look.children[0].lo_kw, abs=0.01)
    assert look.children[0].p_kw == pytest.approx(sum(child.p_kw for child in looks["west"].children))


@pytest.mark.parametrize("seed", range(6))
def test_the_limit_holds_whoever_is_cut_off_or_begins_anew(seed, tmp_path):
    """For an hour lines are cut and mended, regions and the head die and begin anew, and wishes jump.

    What all at the bottom may do together, what they keep and what they were told, stays within the limit.
    """
    world, rng = World(tmp_path), np.random.default_rng(seed)
    for _ in range(180):
        world.live(1, every_s=20)
        lows, highs = zip(*map(world.may, world.below), strict=True)
        assert sum(lows) >= LIMIT[0] - 1e-6
        assert sum(highs) <= LIMIT[1] + 1e-6
        for way in world.ways.values():
            way.cut = way.cut ^ (rng.random() < 0.08)
        for below in world.below.values():
            below.p_kw = rng.uniform(-95.0, 50.0) if rng.random() < 0.1 else below.p_kw
        for region in REGIONS:
            if rng.random() < 0.03:
                world.end(region)
            elif region not in world.regions and rng.random() < 0.1:
                world.begin(region)
        if rng.random() < 0.02:
            world.head.close()
            world.head = world.topmost()
    world.close()


def test_it_keeps_what_it_was_told_only_when_all_below_do(world):
    """While south cannot be reached west still counts with what it had; back again, it says that it keeps."""
    before = world.regions["west"].standing(LOCAL)
    world.ways["south"].cut = True
    world.below["hill"].p_kw = -90.0  # east needs more, west is told less
    look, _ = world.live(6)
    assert not look.children[0].settled
    assert look.children[0].may_lo_kw == pytest.approx(before.kept.at(world.now_s)[0], abs=0.01)
    assert look.children[0].lo_kw > look.children[0].may_lo_kw + 5.0
    world.ways["south"].cut = False
    look, _ = world.live(8)
    assert look.children[0].settled
    assert world.may("hill")[0] <= -80.0


def test_a_region_that_begins_anew_goes_on_with_what_it_kept(world):
    """Those below live on inside their allowances; the new life tells what the former one said it keeps."""
    before, may = world.regions["west"].standing(LOCAL), {name: world.may(name) for name in world.below}
    world.end("west")
    world.live(6)
    assert {name: world.may(name) for name in REGIONS["west"]} == {
        name: may[name] for name in REGIONS["west"]
    }
    world.begin("west")
    with pytest.raises(RequestRejected, match="just begun"):
        world.regions["west"].standing(LOCAL)
    world.regions["west"].round()
    after = world.regions["west"].standing(LOCAL)
    assert (after.epoch, after.number) == (before.epoch, before.number)
    assert np.array_equal(after.kept.lo_kw, before.kept.lo_kw)
    look, looks = world.live(12)
    assert look.children[0].settled
    assert all(child.settled for child in looks["west"].children)


def test_nobody_above_means_the_default(tmp_path):
    """A region nobody has told anything keeps all below together inside what was agreed."""
    world = World(tmp_path)
    world.ways["west"].cut = True
    world.below["north"].p_kw = -90.0
    _, looks = world.live(12)
    assert looks["west"].allowed_kw == OWN
    assert sum(world.may(name)[0] for name in REGIONS["west"]) == pytest.approx(OWN[0], abs=0.01)
    world.close()


def directive_of(world, **changes):
    """Of a system above west: no more than 60 kW of import for two hours, at a price."""
    grid = TimeGrid.uniform(world.now_s - world.now_s % 900, 900, 8)
    bounds = Allowance(grid, np.full(8, -60.0), np.full(8, 20.0), OWN)
    price = np.linspace(0.1, 0.2, 8)
    said = Directive("west", world.now_s, 1, world.now_s + 30, bounds, np.full(8, np.nan), price)
    return replace(said, **changes)


def test_a_price_from_above_reaches_those_below(world):
    """Each of them is told the worth of a kWh that west was told, in the same steps."""
    west = world.regions["west"]
    world.head.close()
    world.head = World.topmost(world)  # stays silent in its first half minute
    west.direct(LOCAL, directive_said(directive_of(world)))
    world.now_s += 10
    west.round()
    for name in REGIONS["west"]:
        told = world.below[name].got[-1]
        assert np.allclose(told.price[:8], np.linspace(0.1, 0.2, 8))
    world.now_s += 10
    west.round()
    standing = west.standing(LOCAL)
    assert standing.epoch == directive_of(world).epoch - 20
    assert sum(world.may(name)[0] for name in REGIONS["west"]) >= -60.0 - 1e-6


def test_what_breaks_a_rule_is_refused_and_changes_nothing(world):
    """Of another name, by a viewer, or of part of the system: refused, recorded, and no round differs."""
    west = world.regions["west"]
    before = west.standing(LOCAL)
    with pytest.raises(RequestRejected, match="child"):
        west.direct(LOCAL, directive_said(directive_of(world, child="east")))
    with pytest.raises(RequestRejected, match="allowance"):
        west.direct(LOCAL, {"child": "west", "epoch": 1, "number": 1})
    for scope in (Scope("eve", Role.VIEWER, frozenset({"all"})), Scope("ann", Role.OPERATOR, frozenset("x"))):
        with pytest.raises(AccessDenied):
            west.direct(scope, directive_said(directive_of(world)))
    refusals = [entry.head["author"] for entry in west._record.entries(0, {"refusal"})]
    assert refusals == ["eve", "ann"]
    assert west.standing(LOCAL).epoch == before.epoch


def test_what_is_not_recorded_is_neither_adopted_nor_said_to_be_kept(world, monkeypatch):
    """On a full disk a directive is refused, and what is kept is not told; with room again it is."""
    west = world.regions["west"]

    def full(_):
        raise RecordFull("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(west._record, "append", full)
        with pytest.raises(RecordFull):
            west.direct(LOCAL, directive_said(directive_of(world)))
        world.live(1)
    assert west._up.adopted.number != 1 or west._up.adopted.epoch != directive_of(world).epoch
    look, _ = world.live(6)
    assert look.children[0].settled


def test_defaults_below_that_do_not_fit_into_its_own_are_refused(tmp_path):
    """It could not keep what it agreed to."""
    agreed = [Known(name, RATING, DEFAULT) for name in REGIONS["west"]]
    record = open_record(tmp_path)
    with pytest.raises(RequestRejected, match="beyond the limit of -15 kW"):
        Middle([], agreed, LIMIT, record, lambda: START, name="west", default_kw=(-15.0, 12.0))
    record.close()

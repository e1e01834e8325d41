"""The whole way over real TLS: orders become controls, devices obey, answer and report; restarts."""

import importlib

import numpy as np
import pytest

from gridflock.field.ieee2030_5 import _map
from gridflock.model import Orders

of = importlib.import_module("field_world")
NAMES, PLATES = of.NAMES, of.PLATES


@pytest.fixture
def world(network, tmp_path):
    """Open, and closed at the end."""
    made = of.World(network, tmp_path / "server")
    yield made
    made.close()


def test_an_order_reaches_its_device_and_its_answer_comes_back(world):
    """Charge with 3 kW, curtail to 1 kW: both do it within a poll, say so, and their meters show it."""
    world.live(120)
    world.heard()
    world.order(battery=-3.0, roof=1.0)
    world.live(120)
    assert (world.boxes["battery"].p_kw, world.boxes["roof"].p_kw) == (-3.0, 1.0)
    answers = world.answers()
    assert {each for each in answers if each[2] != "ACCEPTED"} == set()
    assert {(name, order) for name, order, _ in answers} == {("battery", 0), ("roof", 1)}
    heard = world.heard()
    assert heard["battery", "p_kw"][0] == pytest.approx(-3.0)
    assert heard["roof", "p_kw"][0] == pytest.approx(1.0)
    assert heard["roof", "p_avail_kw"][0] == pytest.approx(3.0)
    assert heard["battery", "e_kwh"][0] == pytest.approx(6.0)
    assert heard["battery", "ready"][0] == 1.0


def test_orders_expire_into_the_default(world):
    """Not renewed, it is over at its end to the visit, and the device does what it would by itself."""
    world.live(60)
    world.order(roof=0.5, life_s=300)
    world.live(280)
    assert world.boxes["roof"].p_kw == 0.5
    world.live(60)
    assert world.boxes["roof"].p_kw == 3.0


def test_renewals_carry_on_without_a_gap_and_a_change_replaces(world):
    """The same order every minute for half an hour: under it at every visit; then another, within a poll."""
    world.live(60)
    for k in range(30):
        world.order(battery=-2.0)
        world.live(60)
        assert world.boxes["battery"].p_kw == -2.0 or k < 2
    held = world.utility.server.state.offered.controls
    assert sum(map(len, held.values())) <= 4
    world.order(battery=4.0)
    world.live(80)
    assert world.boxes["battery"].p_kw == 4.0


def test_taking_back_leaves_the_device_to_itself(world):
    """An order that leaves both powers to the device cancels what stands."""
    world.live(60)
    world.order(battery=-2.0, life_s=3_000)
    world.live(100)
    world.order(battery=np.nan)
    world.live(100)
    assert world.boxes["battery"].p_kw == 0.0


def test_who_is_not_there_and_who_cannot(world):
    """No answer by the end: expired; a device without the mode: refused; not enrolled: unreachable."""
    world.live(60, who=("battery",))
    world.boxes["battery"].cannot = frozenset({"op_mod_target_w"})
    world.order(battery=-2.0, roof=1.0)
    world.live(400, who=("battery",))
    answers = world.answers()
    assert ("roof", 1, "EXPIRED") in answers
    assert ("battery", 0, "REFUSED") in answers


def _standing(world, name):
    """What the server says a device is under, as kW and kvar; NaN where it is left alone."""
    server = world.utility.server
    device = server.state.registry.of(world.lfdi(name))
    plate = next(plate for plate in PLATES if plate.id == name)
    base = world.standing(name).base
    can = world.field._able(server.state, device)
    return _map.ordered_kw(base, plate.p_max_kw, plate, can)


def test_after_any_orders_only_the_newest_that_has_not_ended_stands(world):
    """Shorter, longer, of other modes, taken back, in any sequence: no older order ever comes back."""
    rng = np.random.default_rng(7)
    newest = (np.nan, np.nan, 0)
    for _ in range(120):
        world.clock.at_s += int(rng.integers(1, 200))
        if rng.random() < 0.7:
            p_kw, kvar = rng.choice([np.nan, -3.0, 1.0, 4.0]), rng.choice([np.nan, 2.0])
            life_s = int(rng.integers(20, 900))
            one = np.ones(1, np.int64)
            world.field.send(
                Orders(
                    ("battery",), 0 * one.astype(np.int32), world.order_id * one, np.array([p_kw]),
                    (world.clock.at_s + life_s) * one, 0 * one.astype(np.int16), ("w",), world.clock.at_s,
                    np.array([kvar]),
                )
            )  # fmt: skip
            world.order_id += 1
            newest = (p_kw, np.nan, world.clock.at_s + life_s)
        p_kw, _ = _standing(world, "battery")
        wanted = newest[0] if world.clock.at_s < newest[2] else np.nan
        assert p_kw == pytest.approx(wanted, abs=0.01, nan_ok=True)


def test_a_refused_order_is_not_called_accepted_when_it_is_renewed(world):
    """A renewal after a refusal is asked anew, and the device's word on that is what counts."""
    world.live(60)
    world.boxes["battery"].cannot = frozenset({"op_mod_target_w", "op_mod_fixed_w"})
    world.order(battery=-2.0)
    world.live(100)
    assert ("battery", 0, "REFUSED") in world.answers()
    world.order(battery=-2.0)
    assert world.answers() == []
    world.live(100)
    assert {each for each in world.answers() if each[2] == "REFUSED"} == {("battery", 1, "REFUSED")}


def test_a_repeated_batch_changes_nothing(world):
    """Orders are known by their ids, readings by series and interval."""
    world.live(60)
    orders = world.order(battery=-2.0)
    before = world.utility.server.state.offered.next_control
    world.field.send(orders)
    assert world.utility.server.state.offered.next_control == before


def test_a_restart_loses_nothing_and_sends_nothing_twice(world):
    """Stopped in mid-order, started again: same controls, answers find their orders, none is doubled."""
    world.live(120)
    world.heard()
    world.order(battery=-2.0, life_s=1_200)
    controls = {
        c.mrid for held in world.utility.server.state.offered.controls.values() for c in held.values()
    }
    world.live(20, who=("roof",))
    world.shut()
    world.open()
    again = {c.mrid for held in world.utility.server.state.offered.controls.values() for c in held.values()}
    assert again == controls
    world.live(180)
    assert world.boxes["battery"].p_kw == -2.0
    assert ("battery", 0, "ACCEPTED") in world.answers()
    world.order_id -= 1
    world.order(battery=-2.0, life_s=1_200)
    assert {
        c.mrid for held in world.utility.server.state.offered.controls.values() for c in held.values()
    } == controls
    assert ("battery", "p_kw") in world.heard()


def test_what_devices_tell_of_themselves_is_compared_with_the_registry(world):
    """Settings that differ are named for people; they change nothing by themselves."""
    world.boxes["roof"].plate = _map.Plate("roof", 6.0, 0.0)
    world.live(120)
    found = world.field.differs()
    assert [(each.ids, each.field) for each in found] == [(("roof",), "p_max_kw")]
    assert found[0].reason == "its settings say 6, the registry 4"

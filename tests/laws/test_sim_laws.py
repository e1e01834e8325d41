"""Laws of the simulated world: replay, twins, energy, limits, expiry."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.grid import solve
from gridflock.grid.build import from_document
from gridflock.model import Orders, OutcomeStatus
from gridflock.schema import REGISTRY, Family, Kind
from gridflock.sim import Scenario, UnknownFeeder, World, feeder_document
from gridflock.sim._fleet import counts

SMALL = Scenario(ders=160, seed=7)
EVENING_S = 18 * 3600


def orders(world, rows, p_kw, first=1, until_s=600):
    """Orders to some rows, from now on."""
    rows = np.asarray(rows, np.int32)
    n = len(rows)
    return Orders(
        ids=world.ids,
        index=rows,
        order_id=np.arange(first, first + n, dtype=np.int64),
        p_kw=np.broadcast_to(np.asarray(p_kw, np.float64), n).copy(),
        expires_s=np.full(n, world.now_s + until_s, np.int64),
        source=np.zeros(n, np.int16),
        sources=("test",),
        issued_s=world.now_s,
    )


def bytes_of(readings):
    """Everything a batch says, for exact comparison."""
    return b"".join(
        getattr(readings, name).tobytes() for name in ("index", "quantity", "value", "time_s", "quality")
    )


def live(world, ticks, tick_s=60, seed=None):
    """Live some ticks, with random orders each tenth one if a seed is given; return what was read."""
    rng = np.random.default_rng(seed)
    heard = []
    for tick in range(ticks):
        if seed is not None and tick % 10 == 0:
            rows = np.arange(world._fleet.n)
            plate = world._fleet.plate
            ask = rng.uniform(plate["p_min_kw"] - 1, plate["p_max_kw"] + 1)
            # The ids grow with world time, so a restored world continues them.
            world.send(orders(world, rows, ask, first=world.now_s * 10_000, until_s=480))
        world.advance(world.now_s + tick_s)
        heard.append(bytes_of(world.read(world.now_s)))
        back = world.outcomes(world.now_s)
        heard.append(back.order_id.tobytes() + back.status.tobytes() + back.p_kw.tobytes())
    return heard


def same_tally(one, other):
    """Two tallies hold the same bytes."""
    a, b = one.tally.state(), other.tally.state()
    return all(a[name].tobytes() == b[name].tobytes() for name in a)


def test_equal_scenarios_are_equal_worlds():
    """The same scenario and orders give the same readings, outcomes and tally, byte for byte."""
    one, other = World(SMALL), World(SMALL)
    assert live(one, 60, seed=3) == live(other, 60, seed=3)
    assert same_tally(one, other)
    assert (
        World(Scenario(ders=160, seed=8))._fleet.plate["p_max_kw"].tobytes()
        != one._fleet.plate["p_max_kw"].tobytes()
    )


def test_a_restored_world_lives_on_bit_for_bit():
    """Snapshot and restore in the midst of orders: nothing differs afterwards."""
    world = World(SMALL)
    world.advance(world.start_s + EVENING_S)
    live(world, 25, seed=5)
    twin = World.restored(SMALL, world.snapshot())
    assert twin.now_s == world.now_s
    assert live(world, 30, seed=6) == live(twin, 30, seed=6)
    assert same_tally(world, twin)
    assert world.snapshot() == twin.snapshot()


def test_fine_and_coarse_ticks_move_the_same_energy():
    """Four-second and one-minute ticks agree on energy: 1 % of loads, 3 % of each family and 1 kWh."""
    fine, coarse = World(SMALL), World(SMALL)
    for world in (fine, coarse):
        world.advance(world.start_s + EVENING_S)
    live(fine, 900, tick_s=4)
    live(coarse, 60)
    net = [w.tally.export_kwh.sum(axis=0) - w.tally.import_kwh.sum(axis=0) for w in (fine, coarse)]
    n = fine._fleet.n
    assert net[0][n:].sum() == pytest.approx(net[1][n:].sum(), rel=0.01)
    for rows in fine._population.rows.values():
        assert net[0][rows].sum() == pytest.approx(net[1][rows].sum(), rel=0.03, abs=1.0)


def test_orders_change_no_weather_no_habit_and_no_luck():
    """The managed twin has the same sun, demand, journeys and link faults as the unmanaged one."""
    managed, unmanaged = World(SMALL), World(SMALL)
    for world in (managed, unmanaged):
        world.advance(world.start_s + EVENING_S)
    a = live(managed, 120, seed=2)
    b = live(unmanaged, 120)
    one, two = managed._population, unmanaged._population
    assert a != b
    assert managed.tally.available_kwh.tobytes() == unmanaged.tally.available_kwh.tobytes()
    assert one.demand_kw.tobytes() == two.demand_kw.tobytes()
    assert one.vehicles.left.tobytes() == two.vehicles.left.tobytes()
    assert one.vehicles.turn.tobytes() == two.vehicles.turn.tobytes()
    assert one.thermal.occupied_s.tobytes() == two.thermal.occupied_s.tobytes()
    assert managed._meters._late["index"].tobytes() == unmanaged._meters._late["index"].tobytes()


def test_battery_energy_closes():
    """What went in times efficiency, less what came out over efficiency, is what the cells hold."""
    world = World(SMALL)
    rows = world._population.rows[Family.STORAGE]
    plate = world._population.storage.plate
    before = world._population.storage.e_kwh.copy()
    live(world, 180, seed=1)
    drawn, given = world.tally.import_kwh[:, rows].sum(axis=0), world.tally.export_kwh[:, rows].sum(axis=0)
    assert drawn.sum() > 1
    assert given.sum() > 1
    moved = drawn * plate["eff_charge"] - given / plate["eff_discharge"]
    np.testing.assert_allclose(world._population.storage.e_kwh - before, moved, atol=1e-6)


WORLD = World(SMALL)
MIDNIGHT = WORLD._population.state()


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([0.5, 1.0, 30.0, np.inf]),
    seconds=st.sampled_from([4, 20, 60]),
    hour=st.sampled_from([5, 11, 17]),
)
def test_no_order_breaks_a_device(seed, scale, seconds, hour):
    """Nameplate, energy, reserve, ramp, minimum times, smallest level and comfort hold whatever is asked."""
    population = WORLD._population
    population.resume(MIDNIGHT)
    population.vehicles.start(population.start_s + hour * 3600)
    fleet, plate, rng = population.fleet, population.fleet.plate, np.random.default_rng(seed)
    reserve = np.minimum(plate["e_reserve_kwh"], np.nan_to_num(population.energy_kwh(), nan=0.0))
    battery, gen = population.rows[Family.STORAGE], population.generators
    now_s = population.start_s + hour * 3600
    for step in range(40):
        if step % 4 == 0:
            with np.errstate(invalid="ignore"):
                ask = scale * rng.uniform(-1, 1, fleet.n) * population.rating_kw
            ask = np.where(rng.random(fleet.n) < 0.2, np.nan, ask)
        ramp_from, running, locked_gen = gen.p_kw, gen.runs, gen.locked_s(now_s)
        thermal = population.thermal
        on, locked = thermal.on, thermal.locked_s(now_s)
        must, full = thermal._edges()
        population.step(now_s, seconds, ask)
        now_s += seconds
        p_kw, energy = population.p_kw, population.energy_kwh()
        assert np.isfinite(p_kw).all()
        assert (p_kw >= plate["p_min_kw"] - 1e-6).all()
        assert (p_kw <= plate["p_max_kw"] + 1e-6).all()
        assert (p_kw[population.rows[Family.RENEWABLE]] <= population.renewables.own_kw + 1e-9).all()
        assert (energy[battery] >= reserve[battery] - 1e-6).all()
        stores = np.concatenate([np.arange(fleet.n)[population.rows[f]] for f in list(Family)[1:5]])
        assert not (energy[stores] > plate["e_max_kwh"][stores] + 1e-6).any()
        assert not (energy[stores] < -1e-6).any()
        assert (np.abs(gen.p_kw - ramp_from) <= gen.plate["ramp_kw_s"] * seconds + 1e-6).all()
        assert (gen.runs == running)[locked_gen > 0].all()
        assert (thermal.on == on)[locked > 0].all()
        assert thermal.on[must & ~full & (locked <= 0)].all()
        assert not thermal.on[full & (locked <= 0)].any()
        assert set(np.unique(p_kw[population.rows[Family.THERMAL]] / -thermal.rating_kw)) <= {
            -1.0,
            -0.0,
            0.0,
            1.0,
        }


@pytest.mark.parametrize("whim", [0.0, 1.0, None])
def test_every_vehicle_leaves_with_what_it_could_get(whim):
    """Ordered to stand, to discharge, or at random all night: nobody misses energy that time allowed."""
    population = World(SMALL)._population
    vehicles, fleet = population.vehicles, population.fleet
    rng = np.random.default_rng(1)
    ask = np.full(fleet.n, np.nan)
    for now_s in range(population.start_s, population.start_s + 12 * 3600, 60):
        level = rng.uniform(-1, 1, fleet.n) if whim is None else whim
        ask[:] = level * population.rating_kw
        population.step(now_s, 60, ask)
    assert vehicles.left.sum() > 20
    np.testing.assert_allclose(vehicles.unmet_kwh, vehicles.hopeless_kwh, atol=1e-3)


def test_a_repeated_order_changes_nothing():
    """Sending the same orders again, at once or later, leaves world and outcomes as they were."""
    once, twice = World(SMALL), World(SMALL)
    rows = np.arange(once._fleet.n)
    batch = orders(once, rows, -1.0)
    heard = []
    for world in (once, twice):
        world.send(batch)
        if world is twice:
            world.send(batch)
        world.advance(world.now_s + 60)
        if world is twice:
            world.send(batch)
        world.advance(world.now_s + 240)
        back = world.outcomes(world.now_s)
        heard.append((back.order_id.tolist(), back.status.tolist(), world._population.p_kw.tobytes()))
    assert heard[0] == heard[1]


def test_each_order_is_answered_once():
    """Every order to a known id gets exactly one outcome; the silent are unreachable, meters refuse."""
    world = World(SMALL)
    rows = np.arange(len(world.ids))
    world.send(orders(world, rows, 0.0))
    seen = []
    for _ in range(10):
        world.advance(world.now_s + 60)
        back = world.outcomes(world.now_s)
        assert back.ids is world.ids
        seen.append(np.column_stack([back.order_id, back.index, back.status]))
    table = np.concatenate(seen)
    assert sorted(table[:, 0].tolist()) == list(range(1, len(rows) + 1))
    status = dict(zip(table[:, 1].tolist(), table[:, 2].tolist(), strict=True))
    silent = np.flatnonzero(world._folk.silent(world.start_s))
    assert len(silent)
    assert all(status[row] == OutcomeStatus.UNREACHABLE for row in silent.tolist())
    assert {status[row] for row in range(world._fleet.n, len(rows))} <= {
        OutcomeStatus.REFUSED,
        OutcomeStatus.UNREACHABLE,
    }


def test_past_its_expiry_a_device_is_on_its_own_again():
    """Sun held at nothing at noon gives all there is from the step after the orders' end on."""
    world = World(SMALL)
    world.advance(world.start_s + 12 * 3600)
    rows = np.arange(world._fleet.n)[world._population.rows[Family.RENEWABLE]]
    world.send(orders(world, rows, 0.0, until_s=300))
    sun = world._population.renewables
    world.advance(world.now_s + 60)
    assert (sun.p_kw == 0).mean() > 0.6
    world.advance(world.now_s + 240)
    assert (sun.p_kw == 0).mean() > 0.6
    world.advance(world.now_s + 60)
    assert sun.p_kw.tobytes() == sun.own_kw.tobytes()


def test_an_order_that_arrives_after_its_end_is_expired():
    """No order takes force past its own end."""
    world = World(SMALL)
    rows = np.arange(world._fleet.n)
    world.send(orders(world, rows, 0.0, until_s=0))
    world.advance(world.now_s + 300)
    back = world.outcomes(world.now_s)
    assert set(back.status.tolist()) == {OutcomeStatus.EXPIRED, OutcomeStatus.UNREACHABLE}


def test_four_fifths_take_part():
    """At the evening peak some 80 % of the enrolled are willing and within reach."""
    world = World(Scenario(ders=2000, seed=3))
    evening = world.start_s + 19 * 3600
    part = world._folk.willing(evening) & ~world._folk.silent(evening)
    assert 0.76 < part.mean() < 0.86


@pytest.mark.parametrize("ders", [1, 17, 500, 2000])
def test_the_register_is_complete_and_in_range(ders):
    """Every row has known columns within their ranges and phases of its bus; counts are exact."""
    world = World(Scenario(ders=ders))
    network = from_document(feeder_document("ieee123"))
    table = {entry.name: entry for entry in REGISTRY}
    place = {bus: row for row, bus in enumerate(network.buses)}
    assert sum(counts(ders).values()) == ders
    assert tuple(row["id"] for row in world.registry) == world.ids
    assert len(set(world.ids)) == ders + len(network.loads) + 3
    for row in world.registry:
        assert set(row) <= set(table)
        mask = sum(1 << "abc".index(letter) for letter in row["phases"])
        assert mask & ~int(network.bus_phases[place[row["bus"]]]) == 0
        for name, value in row.items():
            if table[name].dtype in ("f4", "u1"):
                assert table[name].low <= value <= table[name].high
    if ders == 2000:
        kinds = {row["kind"] for row in world.registry}
        assert kinds == {kind.name for kind in Kind}


def test_the_truth_is_not_the_register():
    """Impedances within ± 10 %, some wrong phases, some demand that no meter sees."""
    world = World(Scenario())
    fleet, wires = world._fleet, world._wires
    true, known = wires.network.branch_blocks, world._network.branch_blocks
    factor = np.abs(true.y[true.y_start[:-1]] / known.y[known.y_start[:-1]])
    assert factor.min() >= 1 / 1.1 - 1e-9
    assert factor.max() <= 1 / 0.9 + 1e-9
    assert factor.std() > 0.02
    assert 0.005 < (fleet.true_phases != fleet.phases).mean() < 0.04
    flow = wires.now()
    met, all_of_it = -wires.metered_kva().real.sum(), -flow.served_kva.real.sum()
    moved_kw = -(wires._asked * wires._moved).real.sum()
    assert 0.02 < 1 - met / (all_of_it + moved_kw) < 0.06


def test_the_trace_replays():
    """Solving the traced inputs at the traced taps gives the traced voltages."""
    world = World(Scenario(ders=60, trace=True))
    for _ in range(5):
        world.advance(world.now_s + 60)
    assert len(world.trace) == 6
    tick = world.trace[-1]
    flow = solve(world._wires.network, tick.load_kva, tick.inject_kva, world._wires.now().state)
    np.testing.assert_array_equal(tick.taps, flow.state.taps)
    np.testing.assert_allclose(tick.v, flow.v, rtol=1e-7)


def test_the_past_ends_where_the_day_begins():
    """History covers whole days up to midnight, in the world's ids, with loads drawing and needs negative."""
    world = World(Scenario(ders=200))
    past = world.history(days=2)
    assert past["ids"] is world.ids
    assert past["t_s"][-1] + 900 == world.start_s
    assert past["p_kw"].shape == (len(world.ids), len(past["t_s"])) == (len(world.ids), 192)
    n = world._fleet.n
    assert (past["p_kw"][n:-3] < 0).all()
    assert past["need_kw"].max() <= 0
    assert past["need_kw"].sum() < -100
    assert np.isfinite(past["p_kw"]).all()
    with pytest.raises(ValueError, match="multiple"):
        world.history(days=1, step_s=700)


def test_other_days_and_clocks():
    """A winter day, and the day summer time ends: right length, a solved flow, cooling off duty."""
    for day, hours in ((date(2026, 1, 14), 24), (date(2026, 11, 1), 25)):
        world = World(Scenario(ders=100, day=day))
        assert world.end_s - world.start_s == hours * 3600
        world.advance(world.end_s)
        assert world.tally.summary()["unsolved_ticks"] == 0
        cooling = world._fleet.kind == Kind.THERMOSTAT
        assert not world.tally.import_kwh[:, : world._fleet.n][:, cooling].any()


def test_an_unknown_feeder_names_the_known_ones():
    """The error of a wrong name lists what there is."""
    with pytest.raises(UnknownFeeder, match="ieee123"):
        feeder_document("nowhere")

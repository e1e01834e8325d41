"""Laws of the doctor: phases and transformers told by voltages, with their misses counted."""

import importlib
import sys
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.fleet import Fleet
from gridflock.fleet.doctor import Facts, Thresholds, Trace, examine
from gridflock.fleet.doctor._voltages import fluctuations, other_phase, other_transformer
from gridflock.grid.build import from_document
from gridflock.schema import Kind
from gridflock.sim import Scenario, World, feeder_document

sys.path.insert(0, str(Path(__file__).parent))
drawn = importlib.import_module("voltage_world")

WIDTH = 16
"""Four hours of quarter-hours, as ``examine`` takes it."""
FEEDERS, TRANSFORMERS, PER = 2, 24, 12
WRONG_SHARE = 0.04


def planted(seed, **more):
    """True places, registered ones with some wrong, and voltages: a transformer is on one phase."""
    rng = np.random.default_rng(seed)
    transformer = np.repeat(np.arange(FEEDERS * TRANSFORMERS), PER)
    feeder = transformer // TRANSFORMERS
    phase = rng.permuted(np.tile(np.arange(3), FEEDERS * TRANSFORMERS // 3))[transformer]
    v = drawn.voltages(rng, feeder, transformer, phase, **more)
    said_phase, said_transformer = phase.copy(), transformer.copy()
    luck = rng.random(len(phase))
    turned = luck < WRONG_SHARE
    said_phase[turned] = (phase[turned] + rng.integers(1, 3, np.count_nonzero(turned))) % 3
    for row in np.flatnonzero(luck > 1 - WRONG_SHARE):
        others = (feeder == feeder[row]) & (phase == phase[row]) & (transformer != transformer[row])
        said_transformer[row] = rng.choice(transformer[others])
    return v, feeder, (phase, said_phase), (transformer, said_transformer)


def judged(v, feeder, phase, transformer):
    """Who is suspect of another phase, then of another transformer."""
    phases = other_phase(v, WIDTH, phase, feeder, Thresholds())
    clear = phase.copy()
    clear[phases.at] = -1
    return phases, other_transformer(v, WIDTH, clear, feeder, transformer, Thresholds())


def test_wrong_phases_and_transformers_are_found():
    """At least 95 % of the planted errors are found and named, with at most 1 % false alarms.

    A week of quarter-hours; meters with 0.2 % of noise that lose 3 % of their readings; standard deviations
    0.5 % by phase, 0.3 % by transformer and 0.4 % of each resource's own; 8 % of all records are wrong.
    """
    found, named, false, wrong, right = (np.zeros(2) for _ in range(5))
    for seed in range(8):
        v, feeder, phases, transformers = planted(seed)
        answers = judged(v, feeder, phases[1], transformers[1])
        for k, (answer, (true, said)) in enumerate(zip(answers, (phases, transformers), strict=True)):
            errs = true != said
            found[k] += np.count_nonzero(errs[answer.at])
            named[k] += np.count_nonzero(answer.best == true[answer.at])
            false[k] += np.count_nonzero(~errs[answer.at])
            wrong[k] += np.count_nonzero(errs)
            right[k] += np.count_nonzero(~errs)
    assert (wrong > 100).all()
    assert (found >= 0.95 * wrong).all()
    assert (false <= 0.01 * right).all()
    assert (named >= 0.95 * wrong).all()


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=10)
def test_the_order_of_resources_does_not_matter(seed):
    """The same voltages in another order give the same suspects."""
    v, feeder, (_, phase), (_, transformer) = planted(seed, steps=96)
    order = np.random.default_rng(seed).permutation(len(phase))
    for one, other in zip(
        judged(v, feeder, phase, transformer),
        judged(v[:, order], feeder[order], phase[order], transformer[order]),
        strict=True,
    ):
        assert sorted(one.at.tolist()) == sorted(order[other.at].tolist())
        np.testing.assert_array_equal(one.judged[order], other.judged)


@given(st.integers(0, 2**32 - 1), st.floats(-0.1, 0.1), st.integers(3, 50))
def test_an_offset_of_a_meter_does_not_matter(seed, offset, width):
    """A constant error of a meter is gone from its fluctuations; what was not heard stays out."""
    rng = np.random.default_rng(seed)
    v = 1 + 0.01 * rng.standard_normal((60, 3))
    v[rng.random(v.shape) < 0.2] = np.nan
    x = fluctuations(v, width)
    np.testing.assert_allclose(fluctuations(v + offset, width), x, atol=1e-12)
    assert (x[np.isnan(v)] == 0).all()
    np.testing.assert_allclose(x.sum(axis=0), 0, atol=1e-10)


def test_too_few_neighbours_judge_nobody():
    """Two resources on a phase are no neighbourhood, and a single phase has nothing to be compared with."""
    rng = np.random.default_rng(1)
    phase = np.array([0, 0, 1, 1, 2, 2])
    nowhere = np.zeros(6, dtype=int)
    v = drawn.voltages(rng, nowhere, nowhere, phase, steps=96)
    assert not other_phase(v, WIDTH, phase, nowhere, Thresholds()).judged.any()
    assert not other_phase(v, WIDTH, nowhere, nowhere, Thresholds()).judged.any()


def test_wrong_phases_of_a_simulated_feeder_are_found():
    """On a feeder with regulators and a power flow at each step, 9 of 10 wrong phases of one day are found.

    600 resources and 85 metered loads on IEEE 123, of which 5 % of the single-phase ones sit on another phase
    than registered; meters read every five minutes with 0.2 % of noise, and some are silent all day. At most
    1 % of the others are suspect.
    """
    found = false = wrong = right = 0
    for seed in (4, 5, 6):
        fleet, seen, errs, single = simulated_day(seed)
        hit = np.zeros(len(fleet.ids), dtype=bool)
        for finding in seen.findings:
            hit[finding.rows] |= finding.rule == "wrong-phase"
        found += np.count_nonzero(hit & errs)
        false += np.count_nonzero(hit & ~errs)
        wrong += np.count_nonzero(errs)
        right += np.count_nonzero(single & ~errs)
    assert wrong > 30
    assert found >= 0.9 * wrong
    assert false <= 0.01 * right


def simulated_day(seed):
    """A fleet after a day on a feeder, what the doctor says, who sits wrong, and who is on one phase."""
    step_s = 300
    world = World(Scenario(ders=600, phase_error_share=0.05, seed=seed))
    network = from_document(feeder_document("ieee123"))
    places = dict(zip(network.buses, network.bus_phases.tolist(), strict=True))
    fleet, _ = Fleet.from_rows(world.registry, places)
    volts = []
    for now_s in range(world.start_s + step_s, world.end_s + 1, step_s):
        world.advance(now_s)
        fleet.ingest(world.read(now_s), now_s)
        image = fleet.image(now_s)
        volts.append(np.where(fleet.moment_s("v_pu") == now_s, image.v_pu, np.nan))
    bus = {name: row for row, name in enumerate(network.buses)}
    section = network.bus_section[[bus[name] for name in fleet.labels["bus"]]]
    rows = np.arange(len(fleet.ids), dtype=np.int32)
    facts = Facts(places, area=section[fleet.columns["bus"]])
    seen = examine(fleet, image, Trace(rows, step_s, v_pu=np.array(volts)), facts)
    held = world._fleet
    true = dict(zip(held.ids, np.append(held.true_phases, held.port_true_phase).tolist(), strict=False))
    phases = fleet.columns["phases"]
    single = (np.bitwise_count(phases) == 1) & (fleet.columns["kind"] != Kind.FEEDER_HEAD)
    errs = np.array([true.get(name, said) != said for name, said in zip(fleet.ids, phases, strict=True)])
    return fleet, seen, errs & single, single

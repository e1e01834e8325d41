"""Laws of systems below systems: the same plan in two or three levels, and nothing but sums in between."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.plan.coordination import Below, Limits, Problem, coordinate
from gridflock.plan.devices import Question

sys.path.insert(0, str(Path(__file__).parent))
here = importlib.import_module("coordination_world")
mixed = here.mixed

FEEDERS = 4


def part(of, groups):
    """An oracle of some of the groups."""
    start = of.start[groups.start : groups.stop + 1]
    return of.only(np.arange(start[0], start[-1]), start - start[0])


def child(of, feeders, target=0.001):
    """Some feeders with their limits as a system below."""
    count, limits = feeders.stop - feeders.start, of.problem.limits
    own = Limits(
        limits.names[feeders],
        tuple(np.array([f, count + f]) for f in range(count)),
        *(getattr(limits, name)[feeders] for name in ("fixed_kw", "floor_kw", "ceiling_kw", "slack_price")),
    )
    problem = Problem(of.problem.hours, of.problem.price, 2 * count, own)
    return Below(problem, [part(oracle, feeders) for oracle in of.oracles], target)


def above(of, systems):
    """The system's limit over systems below."""
    limits = of.problem.limits
    one = Limits(
        limits.names[-1:],
        (np.arange(len(systems)),),
        *(getattr(limits, name)[-1:] for name in ("fixed_kw", "floor_kw", "ceiling_kw", "slack_price")),
    )
    return Problem(of.problem.hours, of.problem.price, len(systems), one)


@given(st.integers(0, 1000))
@settings(max_examples=4)
def test_levels_come_to_the_same_plan(seed):
    """Feeders below two systems below one limit: within 1 % of the flat plan, proven from both sides."""
    of = mixed(seed, ders=240, feeders=FEEDERS, steps=24)
    flat = coordinate(of.problem, of.oracles, target=0.002)
    systems = [child(of, slice(0, 2)), child(of, slice(2, FEEDERS))]
    done = coordinate(above(of, systems), systems, target=0.01)
    assert done.plan.status.done
    assert done.recovered.violations == 0
    assert done.plan.status.bound <= flat.plan.status.cost + 1e-6
    assert flat.plan.status.bound <= done.plan.status.cost + 1e-6
    assert done.plan.status.cost <= flat.plan.status.cost * 1.01


def test_three_levels():
    """A system of systems answers as one, too."""
    of = mixed(5, ders=240, feeders=FEEDERS, steps=24)
    flat = coordinate(of.problem, of.oracles, target=0.002)
    feeders = [child(of, slice(f, f + 1), 5e-4) for f in range(FEEDERS)]
    middle = above(of, feeders)
    done = coordinate(
        above(of, [Below(middle, feeders, 0.002)]), [Below(middle, feeders, 0.002)], target=0.01
    )
    assert done.plan.status.cost <= flat.plan.status.cost * 1.02
    assert flat.plan.status.bound <= done.plan.status.cost + 1e-6
    assert done.plan.status.bound <= flat.plan.status.cost + 1e-6


def test_schedules_are_those_of_the_answer():
    """The devices' schedules add up to what was answered, in any order; the few are a likeness."""
    of = mixed(7, ders=240, feeders=FEEDERS, steps=24)
    system = child(of, slice(0, 2))
    rng = np.random.default_rng(2)
    questions = [Question(of.problem.price[None] + rng.normal(0.0, 0.01, (1, 24)), 0.0) for _ in range(3)]
    answers = [system.respond(question) for question in questions]
    for question, answer in reversed(list(zip(questions, answers, strict=True))):
        total = np.zeros((system.members, 24), dtype=np.float32)
        system.add_schedules(question, np.array([0.5]), total)
        assert total.sum(axis=0) == pytest.approx(0.5 * answer.p_kw[0], abs=1e-2)
        assert (answer.epsilon >= 0.0).all()
    few = system.thinned(4)
    assert few.members == pytest.approx(system.members / 4, rel=0.1)
    assert few.respond(questions[0]).p_kw.sum() == pytest.approx(answers[0].p_kw.sum() / 4, rel=0.3)


def test_a_system_below_that_cannot_plan_does_not_answer():
    """A device below whose numbers are none: the system is named above, and nothing is raised."""
    of = mixed(3, ders=240, feeders=FEEDERS, steps=12)
    stores, *others = of.oracles
    wear = stores.wear.copy()
    wear[0] = np.nan
    broken = replace(of, oracles=(replace(stores, wear=wear), *others))
    systems = [child(broken, slice(0, 2)), child(broken, slice(2, FEEDERS))]
    answer = systems[0].respond(Question(of.problem.price[None], 0.0))
    assert np.isnan(answer.cost).all()
    got = coordinate(above(of, systems), systems)
    assert got.plan is None
    assert [(fault.component, fault.ids) for fault in got.rejected] == [("answer", ("group 0",))]

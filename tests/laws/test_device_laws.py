"""Laws of all that answers prices: supply, sums, shares of a plan, and answers that repeat themselves."""

import importlib
import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.plan.devices import Question

sys.path.insert(0, str(Path(__file__).parents[1] / "cases"))
MEMBERS, STEPS = 12, 10
laws = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**32 - 1)


def oracle(kind, rng):
    """Some random devices of a kind, in four groups of unequal size, one of them empty."""
    start = np.array([0, 5, 5, 6, MEMBERS])
    made = importlib.import_module(f"test_device_{kind}" if kind != "units" else "units_world")
    if kind == "programs":
        programs = [made.program(rng, str(k)) for k in range(MEMBERS)]
        return made.Programs(np.full(made.STEPS, 0.5), start, programs), made.STEPS
    if kind == "sources":
        of, steps = made.sources(rng, MEMBERS), made.STEPS
    elif kind == "units":
        of, steps = made.units(rng, MEMBERS, STEPS, 3, 3), STEPS
    else:
        of, steps = made.blocks(rng, MEMBERS, STEPS), STEPS
    return replace(of, start=start, parts=2), steps


def nobody(of):
    """The same kind without a single device, in one group."""
    start = np.array([0, 0])
    if not is_dataclass(of):
        return type(of)(of.hours, start, [])
    return of.only(np.arange(0), start)


def value(of, answer, price):
    """(G,) cost less worth."""
    return answer.cost - (answer.p_kw * price) @ of.hours


@pytest.mark.parametrize("kind", ["sources", "units", "blocks", "programs"])
@laws
@given(seeds)
def test_no_answer_is_beaten_by_one_to_another_price(kind, seed):
    """At its own prices an answer costs no more than any other answer does there; twice that is supply."""
    rng = np.random.default_rng(seed)
    of, steps = oracle(kind, rng)
    prices = rng.normal(0.1, 0.2, (3, 4, steps))
    answers = [of.respond(Question(price, 0.0)) for price in prices]
    for price, own in zip(prices, answers, strict=True):
        for other in answers:
            assert (value(of, own, price) <= value(of, other, price) + 1e-6).all()


@pytest.mark.parametrize("kind", ["sources", "units", "blocks", "programs"])
@laws
@given(seeds)
def test_shares_of_schedules_add_up_to_the_mix_of_answers(kind, seed):
    """Weights of two questions, by group: members' schedules add up to the same mix of the groups' sums."""
    rng = np.random.default_rng(seed)
    of, steps = oracle(kind, rng)
    weight, total = rng.uniform(0.0, 1.0, (2, 4)), np.zeros((MEMBERS, steps), dtype=np.float32)
    mix = 0.0
    for share in weight:
        question = Question(rng.normal(0.1, 0.2, (4, steps)), 0.0)
        answer = of.respond(question)
        again = of.respond(question)
        assert (answer.p_kw == again.p_kw).all()
        assert (answer.cost == again.cost).all()
        of.add_schedules(question, share, total)
        mix = mix + share[:, None] * answer.p_kw
    sums = np.array(
        [total[a:b].sum(axis=0, dtype=float) for a, b in zip(of.start, of.start[1:], strict=False)]
    )
    np.testing.assert_allclose(sums, mix, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", ["sources", "units", "blocks", "programs"])
@laws
@given(seeds)
def test_a_stronger_pull_brings_no_answer_further_from_its_target(kind, seed):
    """With more pull the distance to the target shrinks or stays, and the rest of the cost grows or stays."""
    rng = np.random.default_rng(seed)
    of, steps = oracle(kind, rng)
    price, target = rng.normal(0.1, 0.2, (MEMBERS, steps)), rng.normal(0.0, 10.0, (MEMBERS, steps))
    weak, cheap = of.nearest(price, target, 0.01)
    strong, dear = of.nearest(price, target, 0.1)
    far, near = (((p - target) ** 2).sum(axis=1) for p in (weak, strong))
    assert (near <= far + 1e-6 * np.maximum(far, 1.0)).all()
    worth = [(p * price) @ of.hours for p in (weak, strong)]
    assert (cheap - worth[0] <= dear - worth[1] + 1e-6 * np.maximum(np.abs(dear), 1.0)).all()


@pytest.mark.parametrize("kind", ["sources", "units", "blocks", "programs"])
def test_nobody_answers_with_nothing(kind):
    """A group without devices: sums and costs are 0, lists are empty, and nothing is wrong."""
    of, steps = oracle(kind, np.random.default_rng(1))
    of = nobody(of)
    answer = of.respond(Question(np.ones((1, steps)), 0.0))
    assert not answer.p_kw.any()
    assert answer.cost.tolist() == [0.0]
    of.add_schedules(Question(np.ones((1, steps)), 0.0), np.ones(1), np.zeros((0, steps), dtype=np.float32))
    for p_kw, cost in (of.respond_rows(np.ones((0, steps))), of.nearest(*np.ones((2, 0, steps)), 0.1)):
        assert (p_kw.shape, cost.shape) == ((0, steps), (0,))
    assert (of.groups, of.members, of.thinned(2).members) == (1, 0, 0)
    assert (of.rejected() if kind == "programs" else of.rejected(())) == ()


@pytest.mark.parametrize("kind", ["sources", "units", "blocks", "programs"])
def test_a_price_that_is_no_number_gets_no_answer(kind):
    """Its group's cost is NaN, the other groups answer as ever."""
    rng = np.random.default_rng(2)
    of, steps = oracle(kind, rng)
    price = rng.normal(0.1, 0.2, (4, steps))
    sound = of.respond(Question(price, 0.0))
    price[2, 1] = np.nan
    answer = of.respond(Question(price, 0.0))
    assert np.isnan(answer.cost).tolist() == [False, False, True, False]
    np.testing.assert_array_equal(np.delete(answer.p_kw, 2, 0), np.delete(sound.p_kw, 2, 0))
    assert np.isfinite(answer.p_kw).all()


@pytest.mark.parametrize("kind", ["sources", "units", "blocks"])
def test_columns_and_groups_that_do_not_fit_are_named_and_never_raised(kind):
    """A column without its last device or step is the one refused, and so are groups of other devices."""
    of, _ = oracle(kind, np.random.default_rng(4))
    names = [str(k) for k in range(MEMBERS)]
    columns = [f.name for f in fields(of) if isinstance(getattr(of, f.name), np.ndarray)]
    assert of.rejected(names) == ()
    for name in sorted({*columns} - {"hours", "start"}):
        short = getattr(of, name)
        for cut in (short[:-1], short[..., :-1], short[0]):
            named = {fault.field for fault in replace(of, **{name: cut}).rejected(names)}
            # How many levels there are is told by the levels: it is the others that do not fit.
            assert name in named or (name == "level_kw" and named == {"burn", "heat_kw"})
    for start in ([0, MEMBERS + 1], [1, MEMBERS], [0, 7, 5, MEMBERS], [], [[0, MEMBERS]]):
        (fault,) = replace(of, start=np.array(start, dtype=np.int64)).rejected(names)
        assert fault.field == "start"

"""What every ``ports.Field`` keeps, whatever it speaks."""

from dataclasses import replace

import numpy as np
import pytest

from gridflock.model import Orders, OutcomeStatus, Quality
from gridflock.schema import QUANTITY, TELEMETRY
from gridflock.sim import Scenario, World

TICK_S = 60


class Simulated:
    """A field that is the simulated world; ``later`` lets its time pass."""

    def __init__(self):
        self.port = World(Scenario(ders=150, seed=2))
        self.ids = tuple(self.port.ids[: 150 - 1])

    def now_s(self):
        """Its clock."""
        return self.port.now_s

    def later(self, seconds):
        """Let time pass."""
        self.port.advance(self.port.now_s + seconds)


@pytest.fixture(params=[Simulated], ids=["world"])
def field(request):
    """Each implementation, fresh."""
    return request.param()


def batch(field, first=1, p_kw=0.0, until_s=900):
    """One order to each id."""
    n = len(field.ids)
    return Orders(
        ids=field.ids,
        index=np.arange(n, dtype=np.int32),
        order_id=np.arange(first, first + n, dtype=np.int64),
        p_kw=np.full(n, p_kw),
        expires_s=np.full(n, field.now_s() + until_s, np.int64),
        source=np.zeros(n, np.int16),
        sources=("contract",),
        issued_s=field.now_s(),
    )


def answers(field, ticks=6):
    """All outcomes of the next minutes."""
    found = []
    for _ in range(ticks):
        field.later(TICK_S)
        back = field.port.outcomes(field.now_s())
        found += list(zip(back.order_id.tolist(), back.status.tolist(), strict=True))
    return found


def test_readings_are_columns_of_one_length(field):
    """Equal lengths, known quantities, places inside the vocabulary, finite values, no time to come."""
    for _ in range(8):
        field.later(TICK_S)
        got = field.port.read(field.now_s())
        n = len(got.index)
        assert n > 0
        assert {len(got.quantity), len(got.value), len(got.time_s), len(got.quality)} == {n}
        assert got.index.min() >= 0
        assert got.index.max() < len(got.ids)
        assert np.isin(got.quantity, list(QUANTITY.values())).all()
        assert np.isin(got.quality, list(Quality)).all()
        assert (got.time_s <= field.now_s()).all()
        assert np.isfinite(got.value).all()


def test_values_are_possible(field):
    """Every value lies in the range the attribute table gives."""
    field.later(TICK_S)
    got = field.port.read(field.now_s())
    low = np.array([entry.low for entry in TELEMETRY])[got.quantity]
    high = np.array([entry.high for entry in TELEMETRY])[got.quantity]
    assert (got.value >= low).all()
    assert (got.value <= high).all()


def test_the_vocabulary_is_the_same_object(field):
    """Receivers resolve identities once: the tuple is passed again unchanged."""
    first = field.port.read(field.now_s())
    field.later(TICK_S)
    assert field.port.read(field.now_s()).ids is first.ids
    assert field.port.outcomes(field.now_s()).ids is field.port.outcomes(field.now_s()).ids


def test_reading_twice_gives_nothing_new(field):
    """What has been handed over is not handed over again at the same moment."""
    field.later(TICK_S)
    field.port.read(field.now_s())
    assert len(field.port.read(field.now_s()).index) == 0


def test_late_readings_keep_their_moment(field):
    """A value that was under way arrives later with the time it was measured at."""
    late = 0
    for _ in range(15):
        field.later(TICK_S)
        late += int((field.port.read(field.now_s()).time_s < field.now_s()).sum())
    assert late > 0


def test_each_order_is_answered_at_most_once(field):
    """An outcome names an order that was sent, once, with a known status."""
    field.port.send(batch(field))
    found = answers(field)
    number = [order for order, _ in found]
    assert len(number) == len(set(number))
    assert set(number) <= set(range(1, len(field.ids) + 1))
    assert {status for _, status in found} <= set(OutcomeStatus)
    assert OutcomeStatus.ACCEPTED in {status for _, status in found}


def test_a_repeated_batch_is_not_answered_again(field):
    """Idempotent by ``order_id``, in the same minute and later."""
    sent = batch(field)
    field.port.send(sent)
    field.port.send(sent)
    first = answers(field, 3)
    field.port.send(sent)
    both = [order for order, _ in first + answers(field)]
    assert len(both) == len(set(both))


def test_an_empty_batch_is_nothing(field):
    """No orders, no outcomes."""
    none = batch(field)
    empty = Orders(
        none.ids, none.index[:0], none.order_id[:0], none.p_kw[:0], none.expires_s[:0], none.source[:0],
        none.sources, none.issued_s,
    )  # fmt: skip
    field.port.send(empty)
    assert answers(field, 2) == []


def test_impossible_orders_are_outcomes_not_exceptions(field):
    """Infinity, absurd power and strangers' ids: the world says no, it does not break."""
    n = len(field.ids)
    bad = batch(field)
    odd = Orders(
        (*bad.ids, "nobody-0001"),
        np.append(bad.index, n).astype(np.int32),
        np.append(bad.order_id, n + 1),
        np.resize([np.inf, -np.inf, np.inf, 1e12, -1e12], n + 1),
        np.append(bad.expires_s, bad.expires_s[0]),
        np.append(bad.source, 0).astype(np.int16),
        bad.sources,
        bad.issued_s,
    )
    field.port.send(odd)
    status = dict(answers(field))
    answered = {status[order] for order in range(1, n + 1, 5) if order in status}
    assert answered <= {OutcomeStatus.REFUSED, OutcomeStatus.UNREACHABLE}
    assert n + 1 not in status or status[n + 1] == OutcomeStatus.UNREACHABLE


def test_an_order_that_asks_nothing_takes_back_what_was_ordered(field):
    """Revocation: neither active nor reactive power is asked; it is no fault, and who hears it says yes."""
    first = batch(field)
    field.port.send(first)
    answers(field)
    none = np.full(len(first.index), np.nan, dtype=np.float32)
    ids = first.order_id + len(first.order_id) + 10
    later = replace(first, order_id=ids, p_kw=none, q_kvar=none, issued_s=first.issued_s)
    field.port.send(later)
    said = [status for order, status in answers(field) if order in set(ids.tolist())]
    assert said
    assert set(said) <= {OutcomeStatus.ACCEPTED, OutcomeStatus.UNREACHABLE, OutcomeStatus.REFUSED}
    assert OutcomeStatus.ACCEPTED in said

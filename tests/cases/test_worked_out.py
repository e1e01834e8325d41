"""Answers that take long are worked out once, one after the other, and no more than a share of a core."""

from threading import Event, Thread
from time import sleep

import pytest

from gridflock.runtime import LOCAL, RequestRejected, Role, Scope
from gridflock.runtime._worked_out import WorkedOut

EVE, BOB = (Scope(name, Role.VIEWER, frozenset({"all"})) for name in ("eve", "bob"))


class Clocks:
    """Time that passes and work that takes as much as is said."""

    def __init__(self):
        self.now, self.spent = 0.0, 0.0
        self.done = []
        self.of = WorkedOut(lambda: self.now, lambda: self.spent)

    def ask(self, scope, question, until=0, takes=0.0):
        """Ask; what is worked out is noted, and takes so long."""

        def work():
            self.done.append(question)
            self.spent += takes
            return question

        return self.of.ask(scope, question, until, work)


def test_an_answer_serves_all_until_it_is_of_the_past():
    """Who asks the same gets the same; after the next plan it is worked out anew."""
    clocks = Clocks()
    assert [clocks.ask(who, "q") for who in (EVE, BOB, EVE)] == ["q"] * 3
    assert clocks.done == ["q"]
    clocks.ask(BOB, "q", until=1)
    assert clocks.done == ["q", "q"]


def test_who_asks_too_much_is_told_when_to_come_again():
    """One user's debt stops that user, all users' debt everybody; what is at hand is told all the same."""
    clocks = Clocks()
    clocks.ask(EVE, 1, takes=21.0)
    with pytest.raises(RequestRejected) as refused:
        clocks.ask(EVE, 2)
    assert [fault.field for fault in refused.value.faults] == ["busy"]
    assert 5 <= refused.value.later_s <= 7
    assert clocks.ask(EVE, 1) == 1
    clocks.ask(BOB, 3, takes=20.0)
    with pytest.raises(RequestRejected):
        clocks.ask(Scope("amy", Role.VIEWER, frozenset({"all"})), 4)
    assert clocks.ask(LOCAL, 5) == 5
    clocks.now = 60.0
    assert clocks.ask(EVE, 2) == 2
    assert clocks.done == [1, 3, 5, 2]


def test_no_more_than_a_fifth_of_a_core_goes_to_questions():
    """Somebody who asks something new all the time, for an hour."""
    clocks = Clocks()
    for clocks.now in range(3_600):
        try:
            clocks.ask(EVE, clocks.now, takes=3.0)
        except RequestRejected:
            continue
    assert clocks.spent <= 0.2 * 3_600 + 25.0


def test_answers_do_not_pile_up():
    """The oldest go."""
    clocks = Clocks()
    for k in range(40):
        clocks.ask(EVE, k)
    clocks.ask(EVE, 39)
    clocks.ask(EVE, 0)
    assert clocks.done == [*range(40), 0]


def test_what_fails_fails_for_who_asked_and_is_tried_again():
    """A fault is raised, and not kept as an answer."""
    found = WorkedOut()

    def broken():
        raise ValueError("no flow")

    for _ in range(2):
        with pytest.raises(ValueError, match="no flow"):
            found.ask(EVE, "q", 0, broken)
    assert found.ask(EVE, "q", 0, lambda: 7) == 7


def test_one_is_worked_out_at_a_time_and_few_wait():
    """While one is at work a user's second question waits, the third is refused; the same question shares."""
    found, go, begun = WorkedOut(), Event(), Event()
    answers = []

    def slow():
        begun.set()
        assert go.wait(20)
        return "slow"

    def ask(question, work):
        answers.append(found.ask(EVE, question, 0, work))

    threads = [Thread(target=ask, args=("a", slow))]
    threads[0].start()
    assert begun.wait(20)
    threads.append(Thread(target=ask, args=("a", slow)))
    threads[1].start()
    while found._waiting["eve"] < 2:
        sleep(0.01)
    with pytest.raises(RequestRejected):
        found.ask(EVE, "b", 0, lambda: "b")
    go.set()
    for thread in threads:
        thread.join()
    assert answers == ["slow", "slow"]
    assert found.ask(EVE, "b", 0, lambda: "b") == "b"
    assert not found._waiting

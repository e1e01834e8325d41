"""What a loop knows between two ticks, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from gridflock.dispatch import GuardState, Response
from gridflock.dispatch.feedback import Feedback
from gridflock.grid import ControlState
from gridflock.model import Directive, Outcomes, Proposal
from gridflock.plan import Prices
from gridflock.runtime._agreed import Agreement
from gridflock.runtime._could_have import CouldHave
from gridflock.runtime._market import Market
from gridflock.runtime._near_marks import NearMarks
from gridflock.runtime._settings import Settings

FLOW = ("state", "load_kva", "inject_kva", "v", "iterations", "residual_kva", "converged")
"""Fields of a flow that are kept; its network is the system's."""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What a loop knows between two ticks; with what it hears from then on, all that follows is decided.

    The plan in force is left out: this is only kept before a tick that makes a new one.

    Attributes:
        seq: ledger position that all of this is from.
        tick: number of the last tick; 0 before the first.
        now_s: its moment.
        flow: the last estimate without its network; None before the first.
        state: regulator and capacitor positions.
        response: the conversation with every resource.
        guarded: what the guard knows.
        prices: where the next plan starts from.
        peak: import peak, kW, of which local day (ordinal).
        broken: causes of broken limits that were told.
        troubles: ways to devices that were told to be troubled.
        wishes: proposals as the last tick saw them.
        groups_seq: newest change of groups that it obeyed.
        readings: the fleet's cells.
        past: what forecasts learn from, and what has been heard of the weather.
        past_s: moment of its last image; -1 for none.
        imaged_s: when the readings were last written to history.
        settings: tempos and limits, and how orders are made.
        unrecorded_s: since when nothing could be recorded; 0 where all was.
        owed: answers heard since then.
        directive: of a system above, as the last tick saw it.
        lessons: name of what was learnt last, which is a snapshot of its own; empty for nothing.
        feedback: what feedback from the network knows; None where there is none.
        could_have: what groups could have done, beside what was said of it.
        market: what is known of prices.
        near: marks of forecasts an hour ahead.
        agreement: what devices have agreed with their server.
    """

    seq: int
    tick: int
    now_s: int
    flow: tuple[Any, ...] | None
    state: ControlState
    response: Response
    guarded: GuardState
    prices: Prices | None
    peak: tuple[float, int]
    broken: frozenset[str]
    troubles: frozenset[str]
    wishes: tuple[Proposal, ...]
    groups_seq: int
    readings: Mapping[str, NDArray[Any]]
    past: bytes
    past_s: int
    imaged_s: int
    settings: Settings
    unrecorded_s: int
    owed: tuple[Outcomes, ...]
    directive: Directive | None = None
    lessons: str = ""
    feedback: Feedback | None = None
    could_have: CouldHave = field(default_factory=CouldHave)
    market: Market = field(default_factory=Market)
    near: NearMarks = field(default_factory=NearMarks)
    agreement: Agreement = field(default_factory=Agreement)

"""A system in the middle: it stands above others, and under one itself.

Upwards it is one child as any other: it is directed, keeps bounds, and tells how it stands. What it is given
it hands on to those below, and says that it keeps it when nobody below can be outside of it any more. It has
no devices: a region, an aggregator of aggregators, the feeders of a substation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any

import numpy as np

from gridflock.dispatch.hierarchy import Between, Child, Known, overcommitted
from gridflock.field.peer import directive_from
from gridflock.model import Entry, Json, Rejected, Standing
from gridflock.ports import Record
from gridflock.record import RecordFull
from gridflock.runtime._above import LIFE_S, Above, AboveView, Below, wanted
from gridflock.runtime._access import AccessDenied, Role, Scope
from gridflock.runtime._allowed import KIND, SKEW_S, entry_of, mean_over, remembered
from gridflock.runtime._peer import refused
from gridflock.runtime._requests import Busy, RequestRejected
from gridflock.runtime._views import Fault
from gridflock.units import DAY_S, Kw, Money, TimeGrid

_STEP_S = 900
_SOON_S = 10
_FAR_KW = 1e9


class Middle(Above):
    """One life of a system in the middle. Rounds have one caller at a time; verbs may be called beside them.

    Args:
        peers: as of ``Above``, like all that is not named here.
        name: its own, as the system above knows it.
        default_kw: lowest and highest injection of all below together while nothing is said from above.

    Raises:
        RequestRejected: what those below do by default does not fit into its own default.
    """

    _lease_s = 2 * DAY_S
    """What is handed on may reach a little beyond what it was given, so that no default cuts into that."""

    def __init__(
        self,
        peers: Sequence[Below],
        children: Sequence[Known],
        limit_kw: tuple[float, float],
        record: Record,
        clock: Callable[[], int],
        *,
        name: str,
        default_kw: tuple[float, float],
        life_s: int = LIFE_S,
        skew_s: int = SKEW_S,
        reserve_kw: float = 0.0,
        patience_s: float = 3.0,
    ) -> None:
        over = overcommitted(children, default_kw)
        if over is not None:
            rule = "all defaults below together fit into its own"
            raise RequestRejected((Fault("default_kw", rule, over.reason),))
        kept = remembered(record.entries(0, {KIND}), name, default_kw)
        self._up = kept or Child.begun(name, default_kw, clock())
        self._writing, self._asked = Lock(), False
        super().__init__(
            peers, children, limit_kw, record, clock,
            life_s=life_s, skew_s=skew_s, reserve_kw=reserve_kw, patience_s=patience_s,
        )  # fmt: skip

    def round(self) -> AboveView:
        """A round of those below; what they keep by its end, the system above may be told."""
        view = super().round()
        self._asked = True
        with self._writing:
            settled = self._between.settled(self._clock())
            if settled.settled_on != self._up.settled_on:
                try:
                    self._record.append([entry_of(settled, self._clock())])
                except RecordFull as full:
                    view = replace(view, halted=str(full))  # what is not recorded is not said
                else:
                    self._up = settled
            low, high = self._up.aims.at(self._clock())
        return replace(view, allowed_kw=(max(low, -_FAR_KW), min(high, _FAR_KW)))

    # ---- verbs ------------------------------------------------------------------------------

    def direct(self, scope: Scope, document: Mapping[str, Any]) -> Standing:
        """Say, from above, between which powers all below have to stay together; the next round keeps to it.

        Args:
            scope: authority; operators over the whole system.
            document: a directive as ``field.peer.directive_said`` writes it.

        Returns:
            What this system tells upwards.

        Raises:
            RequestRejected: with every fault; what held before still holds.
            AccessDenied: recorded as a refusal.
        """
        self._authorise(scope)
        found = directive_from(document)
        if isinstance(found, Rejected):
            raise refused(found)
        with self._writing:
            now_s = self._clock()
            child, fault = self._up.heard(replace(found, author=scope.user), now_s)
            if fault is not None:
                raise refused(fault)
            if child is not self._up:
                self._record.append([entry_of(child, now_s, scope.user)])
                self._up = child
        return self._standing()

    def standing(self, scope: Scope) -> Standing:
        """What this system tells the one above: bounds that it and all below it keep, and their sums.

        Raises:
            Busy: its life has just begun, and nobody below has been asked yet.
        """
        scope.require(Role.VIEWER)
        if not self._asked:
            reason = "this life has just begun: nobody below has been asked yet"
            raise Busy((Fault("standing", "known after a first round", reason),), _SOON_S)
        return self._standing()

    # ---- inside -----------------------------------------------------------------------------

    def _standing(self) -> Standing:
        up, below = self._up, [self._as_told(child) for child in self._parent.children]
        able = np.array([_able(child) for child in below]).sum(axis=0)
        plan_kw = np.sum([wanted(child, up.kept.grid) for child in below], axis=0)
        p_kw, cost, bound = (
            float(sum(np.nan if child.standing is None else getattr(child.standing, of) for child in below))
            for of in ("p_kw", "cost", "bound")
        )
        able_kw = float(able[0]), float(able[1])
        return up.standing(self._clock(), p_kw, able_kw, plan_kw, (cost, bound))

    def _as_told(self, child: Known) -> Known:
        """One below with its newest word, though in the first seconds of a life that proves no bounds yet."""
        return replace(child, standing=self._latest.get(child.name, child.standing))

    @property
    def _between(self) -> Between:
        return Between(self._up, self._parent, self._shared_kw, self._reserve_kw)

    def _to_share(self, now_s: int) -> tuple[TimeGrid, tuple[Kw, Kw], Money]:
        """What it was given, and the price with it, to just beyond the end of that."""
        grid, _, worth = super()._to_share(now_s)
        adopted = self._up.adopted
        if adopted is not None:
            last_s = min(adopted.allowance.grid.end_s, now_s + DAY_S) + self._parent.skew_s
            more = np.arange(grid.end_s + _STEP_S, max(last_s, grid.end_s) + 2 * _STEP_S, _STEP_S)
            grid = TimeGrid(np.concatenate([grid.edges_s, more.astype(np.int64)]))
            worth = np.nan_to_num(mean_over(adopted.allowance.grid, adopted.price, grid))
        return grid, self._between.bounds(grid), worth

    def _authorise(self, scope: Scope) -> None:
        """Operators over everything; a refusal is recorded before it is raised."""
        try:
            scope.require(Role.OPERATOR)
            scope.require_group(frozenset({"all"}))
        except AccessDenied as refusal:
            head: dict[str, Json] = {
                "author": scope.user,
                "group": "all",
                "verb": "direct",
                "text": str(refusal),
            }
            self._record.append([Entry("refusal", self._clock(), head)])
            raise


def _able(child: Known) -> tuple[float, float]:
    """Lowest and highest power that a system below can come to, as it told; else its rating."""
    told = child.standing
    return child.rating_kw if told is None or not np.isfinite(told.able_kw).all() else told.able_kw

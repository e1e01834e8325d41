"""Who was curtailed, how much and how often; fading with time, weighing what comes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

_CALLED_KWH = 1e-3
"""Less than this is nobody's call: the solver's rounding."""
_TIE = 1e-3


def jain(values: NDArray[np.float64]) -> float:
    """Jain's index of shares (n,), all >= 0: 1 where all are equal, else down to 1/n.

    ``(sum x)^2 / (n sum x^2)``. All zero counts as equal; of nobody it is NaN. (R. Jain, D. Chiu,
    W. Hawe, DEC-TR-301, 1984.)
    """
    x = np.asarray(values, dtype=np.float64)
    if not x.size:
        return float("nan")
    if x.max() <= 0:
        return 1.0
    x = x / x.max()
    return float(x.sum() ** 2 / (x.size * (x * x).sum()))


def gini(values: NDArray[np.float64]) -> float:
    """Gini coefficient of burdens (n,), all >= 0: 0 where all are equal, up to 1 - 1/n.

    Mean absolute difference over twice the mean. All zero counts as equal; of nobody it is NaN.
    """
    x = np.sort(np.asarray(values, dtype=np.float64))
    if not x.size:
        return float("nan")
    if x[-1] <= 0:
        return 0.0
    x, rank = x / x[-1], np.arange(1, x.size + 1)
    return float(((2 * rank - x.size - 1) * x).sum() / (x.size * x.sum()))


@dataclass(frozen=True, slots=True)
class Ledger:
    """What each participant gave so far; a new value for each day and each event.

    A day begins with ``faded``, is planned with ``weights`` and ``spared``, and ends with ``after``.

    Attributes:
        kwh: by participant, energy curtailed, faded.
        calls: by participant, how often, faded.
        keep: what is left of both after a day, above 0 and at most 1: 0.9 halves in a week.
    """

    kwh: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    calls: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    keep: float = 1.0

    def faded(self, days: float = 1.0) -> Ledger:
        """The ledger ``days`` later, nothing having happened."""
        left = self.keep**days
        return Ledger(
            MappingProxyType({who: left * kwh for who, kwh in self.kwh.items()}),
            MappingProxyType({who: left * calls for who, calls in self.calls.items()}),
            self.keep,
        )

    def after(self, curtailed_kwh: Mapping[str, float]) -> Ledger:
        """The ledger with what was curtailed now; more than nothing is one call.

        Args:
            curtailed_kwh: by participant; NaN (not known) counts as nothing.
        """
        given = {who: kwh for who, kwh in curtailed_kwh.items() if kwh > _CALLED_KWH}
        everybody = [*self.calls, *(who for who in curtailed_kwh if who not in self.calls)]
        return Ledger(
            MappingProxyType({who: self.kwh.get(who, 0.0) + given.get(who, 0.0) for who in everybody}),
            MappingProxyType({who: self.calls.get(who, 0.0) + (who in given) for who in everybody}),
            self.keep,
        )

    def weights(self, participants: Iterable[str], strength: float = 1.0) -> dict[str, float]:
        """How much more the share of each counts, from 1/4 to 4, by what each gave against the mean.

        Equal past gives 1 for all, but for a last thousandth by rank: whoever gave more yields later, so
        ties turn from day to day.

        Args:
            participants: who shares now; unknown ones gave nothing.
            strength: 0 for ties only.
        """
        who = list(participants)
        given = np.array([self.kwh.get(name, 0.0) for name in who])
        mean = float(given.mean()) if who else 0.0
        relative = given / mean if mean > 0 else np.ones(len(who))
        factor = np.clip(relative ** max(strength, 0.0) if strength > 0 else np.ones(len(who)), 0.25, 4.0)
        calls = np.array([self.calls.get(name, 0.0) for name in who])
        order = np.lexsort((np.arange(len(who)), given, calls))
        rank = np.empty(len(who))
        rank[order] = np.arange(len(who))
        factor = factor * (1.0 + _TIE * rank / max(len(who), 1))
        return dict(zip(who, factor.tolist(), strict=True))

    def most_calls(self, participants: Iterable[str], times_median: float = 1.5) -> float:
        """Calls nobody may exceed: ``times_median`` of the median, and never less than one above it.

        Without that one more nobody could be called first, nor again while the median is small. As the
        median only rises by calls, and fading scales all alike, what was within the bound stays so.
        """
        calls = [self.calls.get(name, 0.0) for name in participants]
        median = float(np.median(calls)) if calls else 0.0
        return max(times_median * median, median + 1.0)

    def spared(self, participants: Iterable[str], times_median: float = 1.5) -> tuple[str, ...]:
        """Who may not be called now: one more call would exceed the bound."""
        who = tuple(participants)
        most = self.most_calls(who, times_median)
        return tuple(name for name in who if self.calls.get(name, 0.0) + 1.0 > most + 1e-9)

    def report(self, participants: Iterable[str]) -> dict[str, float]:
        """Gini and Jain of energy and calls, and the largest number of calls over the median (NaN at 0)."""
        who = tuple(participants)
        kwh = np.array([self.kwh.get(name, 0.0) for name in who])
        calls = np.array([self.calls.get(name, 0.0) for name in who])
        median = float(np.median(calls)) if who else 0.0
        return {
            "gini_kwh": gini(kwh),
            "jain_kwh": jain(kwh),
            "gini_calls": gini(calls),
            "jain_calls": jain(calls),
            "most_over_median": float(calls.max()) / median if median > 0 else float("nan"),
        }

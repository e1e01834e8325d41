"""Who takes part: opt-outs, hands on the device, and devices that have gone silent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.sim._scenario import Draw, Scenario, draws
from gridflock.units import NEVER_S, Mask, Seconds


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Windows of the day in which an owner refuses or a device is silent, fixed in advance.

    Attributes:
        refuse_from_s: (n,) start of the owner's refusal; -1 where there is none.
        refuse_until_s: (n,) its end.
        silent_from_s: (n,) start of the silence.
        silent_until_s: (n,) its end.
    """

    refuse_from_s: Seconds
    refuse_until_s: Seconds
    silent_from_s: Seconds
    silent_until_s: Seconds

    def willing(self, now_s: float) -> Mask:
        """(n,) True where the owner lets orders through."""
        return ~((self.refuse_from_s <= now_s) & (now_s < self.refuse_until_s))

    def silent(self, now_s: float) -> Mask:
        """(n,) True where the device neither hears nor speaks."""
        return (self.silent_from_s <= now_s) & (now_s < self.silent_until_s)


def people(scenario: Scenario, n: int, start_s: int, end_s: int) -> People:
    """Draw the windows of one day.

    The shares are fitted so that about four fifths of the enrolled take part in an evening
    event, as the programmes named in ``docs/world.md`` report.
    """
    rng = draws(scenario.seed, Draw.PEOPLE, scenario.day.toordinal())
    refuse = _windows(rng, (scenario.opt_out_share, scenario.override_share), n, start_s, end_s)
    silent = _windows(rng, (scenario.offline_day_share, scenario.offline_hours_share), n, start_s, end_s)
    return People(*refuse, *silent)


def _windows(
    rng: np.random.Generator, shares: tuple[float, float], n: int, start_s: int, end_s: int
) -> tuple[Seconds, Seconds]:
    """Whole-day windows for the first share, windows of one to five hours for the second."""
    luck = rng.random(n)
    all_day = luck < shares[0]
    some = ~all_day & (luck < sum(shares))
    begin = start_s + np.round(rng.beta(3.0, 2.0, n) * (end_s - start_s - 3600) / 60).astype(np.int64) * 60
    length = np.round(rng.uniform(60, 300, n)).astype(np.int64) * 60
    start = np.where(all_day, start_s, np.where(some, begin, NEVER_S))
    end = np.where(all_day, end_s, np.where(some, begin + length, NEVER_S))
    return start, end

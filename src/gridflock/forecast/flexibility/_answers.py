"""Who would follow an order: draws from what became of earlier ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet._health import Evidence
from gridflock.units import HOUR_S, Rows

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Chances:
    """Beta posteriors of n resources and of the groups that tell what is usual among them.

    Attributes:
        kept: (n,) share of its own orders that each kept, summed, old ones counting less.
        missed: (n,) the missed share likewise.
        group: (n,) number of the group whose usual each starts from.
        usual_kept: (g,) first parameter of the posterior of a group's usual probability.
        usual_missed: (g,) the second.
        weight: how many orders of its own weigh as much as what is usual.
        link: (n,) provider of each.
        common: (l,) correlation of the failures behind each provider.
        floor: least probability.
    """

    kept: Floats
    missed: Floats
    group: Rows
    usual_kept: Floats
    usual_missed: Floats
    weight: float
    link: Rows
    common: Floats
    floor: float

    @classmethod
    def of(cls, evidence: Evidence, now_s: int) -> Chances:
        """The posteriors at a moment, from what a fleet's health knows."""
        rules, hour = evidence.rules, now_s // HOUR_S
        slot = hour % 24 if rules.hourly else 0

        def left(since: NDArray[np.integer]) -> Floats:
            age_s = np.maximum(hour - since.astype(np.int64), 0) * HOUR_S
            return np.asarray(np.exp2(-age_s / rules.half_life_s))

        own, of_group = left(evidence.hour), left(evidence.groups_hour[slot])
        kept = (evidence.groups_kept[slot] * of_group).reshape(-1) + rules.prior * rules.group_asked
        missed = (evidence.groups_missed[slot] * of_group).reshape(-1) + (1 - rules.prior) * rules.group_asked
        return cls(
            evidence.kept * own, evidence.missed * own, evidence.group, kept, missed, rules.prior_asked,
            evidence.link, np.asarray(evidence.common, dtype=np.float64), rules.floor,
        )  # fmt: skip

    def probability(self) -> Floats:
        """(n,) mean of each posterior, at least the floor."""
        return self.given(self.usual_kept / (self.usual_kept + self.usual_missed))

    def given(self, usual: Floats) -> Floats:
        """(..., n) probabilities where (..., g) is usual in the groups."""
        start = self.weight * usual[..., self.group]
        return np.asarray(
            np.maximum((self.kept + start) / (self.kept + self.missed + self.weight), self.floor)
        )


def answers(chances: Chances, count: int, seed: int) -> NDArray[np.bool_]:
    """Draw who answers: the posteriors' predictive distribution, jointly.

    In each path a group's usual probability is one draw of its own posterior for all its members, and a
    member shares its provider's luck with the root of the common share as probability: two members behind
    one provider are then correlated by that share. Who answers in a path does so at all its steps.

    Args:
        chances: n resources.
        count: how many paths.
        seed: of the draws; the same seed gives the same paths.

    Returns:
        (count, n).
    """
    rng = np.random.default_rng(seed)
    usual = rng.beta(chances.usual_kept, chances.usual_missed, (count, len(chances.usual_kept)))
    likely = chances.given(usual)
    own, luck = rng.random(likely.shape), rng.random((count, max(len(chances.common), 1)))
    together = rng.random(likely.shape) < np.sqrt(chances.common[chances.link])
    return np.asarray(np.where(together, luck[:, chances.link], own) < likely)

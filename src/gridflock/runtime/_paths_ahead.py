"""Joint paths of a fleet's future under the forecast that its plan was made from."""

from __future__ import annotations

import numpy as np

from gridflock.fleet import Image
from gridflock.forecast.flexibility import Chances, Part, futures
from gridflock.forecast.flexibility._futures import Futures
from gridflock.model import Forecast
from gridflock.runtime._expected import drawn
from gridflock.runtime._past import Past
from gridflock.runtime._system import System
from gridflock.units import Rows

_MOST_PATHS, _FEWEST_PATHS, _PATHS_TIMES_MEMBERS = 100, 30, 20_000


def paths_ahead(
    system: System, past: Past, seen: Forecast, image: Image, chances: Chances | None, rows: Rows
) -> Futures:
    """Draw futures: what all do unasked, who answers, which vehicles leave when; fewer for many members.

    Args:
        system: fleet and groups.
        past: ranks of past days.
        seen: the forecast.
        image: of the moment.
        chances: who answers; None: all.
        rows: resources that will be counted; of others nothing is asked of when they leave.
    """
    count = int(np.clip(_PATHS_TIMES_MEMBERS // max(len(rows), 1), _FEWEST_PATHS, _MOST_PATHS))
    path_kw = drawn(past, seen, count, seen.known_at_s)
    parts = [
        Part(system.rows_of[name], np.asarray(path_kw[:, s], dtype=np.float64))
        for s, name in enumerate(seen.series)
        if name in past.plan_groups
    ]
    stays_s = past.leaving(image, system.site, rows)
    return futures(image, seen.grid, parts, chances, seen.known_at_s, stays_s)

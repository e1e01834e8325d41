"""One timing of our lanes in a process of its own: ``python -m gridflock.bench._child FOLDER TARGET``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from gridflock.bench._case import TOLERANCE_PU, least, spend
from gridflock.bench._processors import PLAIN, handed_over

REPEATS = 5


def measured(folder: Path, target: str) -> dict[str, float]:
    """Microseconds per flow, the best of first answers by new batches, and the largest error checked."""
    case, checked, truth = handed_over(folder)
    plain = target == PLAIN
    batch, loads = case.batch(plain=plain), case.loads
    room = batch.room(len(loads))
    flows = batch.solve(loads, tol=TOLERANCE_PU, v_pu=True, room=room)
    assert flows.v_pu is not None
    error = float(np.abs(flows.v_pu[checked] - truth).max())
    best = least([spend(case, room, plain=plain) for _ in range(REPEATS)])
    return {
        "us_per_flow": round(1e6 * best.solve_s / len(loads), 2),
        "max_error_pu": float(f"{error:.2e}"),
    }


if __name__ == "__main__":
    with threadpool_limits(1):
        figures = measured(Path(sys.argv[1]), sys.argv[2])
    sys.stdout.write(json.dumps(figures))

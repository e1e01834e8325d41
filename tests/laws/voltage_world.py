"""Voltages as a feeder's wires make them, drawn: what resources share by feeder, phase and transformer."""

import numpy as np

STEP_S = 900
WEEK = 672


def drift(rng, steps, count, sd, keep):
    """Series (steps, count) of a first-order autoregression with that standard deviation."""
    push = rng.standard_normal((steps, count)) * sd * np.sqrt(1.0 - keep**2)
    x = np.empty((steps, count))
    x[0] = rng.standard_normal(count) * sd
    for t in range(1, steps):
        x[t] = keep * x[t - 1] + push[t]
    return x


def voltages(rng, feeder, transformer, phase, steps=WEEK, noise=0.002, lost=0.03):
    """Voltages (steps, n) in pu of resources at true places, as meters tell them.

    Standard deviations: 0.010 shared by a feeder (common to all phases), 0.005 by its phase, 0.003 by a
    transformer, 0.004 a resource's own; ``noise`` of the meter; a share ``lost`` never arrives. Quarter-hours
    of one week.
    """
    areas, many = int(feeder.max()) + 1, int(transformer.max()) + 1
    v = 1.0 + drift(rng, steps, areas, 0.010, 0.95)[:, feeder]
    v += drift(rng, steps, areas * 3, 0.005, 0.8)[:, feeder * 3 + phase]
    v += drift(rng, steps, many, 0.003, 0.8)[:, transformer]
    v += drift(rng, steps, len(phase), 0.004, 0.8)
    v = np.round(v + noise * rng.standard_normal(v.shape), 4)
    v[rng.random(v.shape) < lost] = np.nan
    return v.astype(np.float32)

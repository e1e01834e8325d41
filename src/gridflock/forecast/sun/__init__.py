"""What the sun offers a generator: the plane it acts like, its clear-sky power, how it stands.

The sky over a site comes as four columns (``clear_sky``): direct light on planes that face up, north and
east, and diffuse light. A plane's power under a clear sky is a sum of them, so its size and its orientation
are fitted to the past like a line, to the upper edge of the points: ``fit_planes``. ``clear_power`` is what
such a plane gives at any time, exactly 0 while the sun is down; ``orientation`` says tilt and azimuth.
``with_clear_sky`` sets the clear sky beside a weather forecast, step by step.
"""

from gridflock.forecast.sun._offered import CLEAR_GHI, with_clear_sky
from gridflock.forecast.sun._plane import USUAL_INDEX, Orientation, clear_power, fit_planes, orientation

__all__ = [
    "CLEAR_GHI",
    "USUAL_INDEX",
    "Orientation",
    "clear_power",
    "fit_planes",
    "orientation",
    "with_clear_sky",
]

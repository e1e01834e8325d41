"""Solar generation behind meters: told from the total and the light where it can be, refused where not.

``separate`` takes one total apart, ``separated`` every net series of a mended history. Where other
generation or the load's own moods would drown the sun, the answer is ``NotSeparable`` with the numbers.
"""

from gridflock.forecast.hidden._separate import Hidden, NotSeparable, Separation, separate, separated

__all__ = ["Hidden", "NotSeparable", "Separation", "separate", "separated"]

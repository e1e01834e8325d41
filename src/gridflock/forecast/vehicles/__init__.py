"""Vehicles at a site: how many plug in when, how long each stays and what it needs, as quantiles.

``plug_ins`` says how many arrive in each step ahead; ``stay`` says of single vehicles, expected or already
there, when they leave and how much they take. Both learn from a table of past sessions and know nothing
that ended after the moment they are asked at.
"""

from gridflock.forecast.vehicles._arrivals import plug_ins
from gridflock.forecast.vehicles._sessions import Sessions
from gridflock.forecast.vehicles._stay import Stay, stay

__all__ = ["Sessions", "Stay", "plug_ins", "stay"]

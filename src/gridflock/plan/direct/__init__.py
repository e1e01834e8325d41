"""A few hundred groups at most: the whole problem as one program, handed to the solver as arrays.

``build`` makes a ``Model`` (which column and row is what) of flexibility and terms, ``solve`` finds the
optimum with the price of every row.
"""

from gridflock.plan.direct._model import GroupRows, Model, band_penalty, build, strained_stores, values_of
from gridflock.plan.direct._solve import Floats, Indices, Program, Solution, solve

__all__ = [
    "Floats",
    "GroupRows",
    "Indices",
    "Model",
    "Program",
    "Solution",
    "band_penalty",
    "build",
    "solve",
    "strained_stores",
    "values_of",
]

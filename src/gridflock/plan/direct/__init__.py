"""A few hundred groups at most: the whole problem as one program, handed to the solver as arrays.

``build`` makes a ``Model`` (which column and row is what) of flexibility and terms, ``solve`` finds the
optimum with the price of every row. Where the problem is stores under shared limits and no more, it is
also stated as ``Chains``, whose ``optimum`` an interior-point method finds device by device and proves;
everything else, and what cannot be proven, goes to the simplex method.
"""

from gridflock.plan.direct._chains import Chains
from gridflock.plan.direct._model import GroupRows, Model, band_penalty, build, values_of
from gridflock.plan.direct._optimum import optimum
from gridflock.plan.direct._rows import Placed
from gridflock.plan.direct._solve import Floats, Indices, Program, Solution, solve

__all__ = [
    "Chains",
    "Floats",
    "GroupRows",
    "Indices",
    "Model",
    "Placed",
    "Program",
    "Solution",
    "band_penalty",
    "build",
    "optimum",
    "solve",
    "values_of",
]

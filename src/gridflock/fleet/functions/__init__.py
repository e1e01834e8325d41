"""The functions of IEC 61968-5 on groups: create, change, delete, query, status, forecast, dispatch, control.

``GroupRegister`` takes one ``model.GroupMessage`` after the other, each giving the next register and a
``model.GroupReply``. Status and forecast of all twelve parameters are computed from the fleet's
``Present``; dispatches and controls become wishes with an end, which others decide on and carry out.
What happens is queued for subscribers; somebody else sends it.
"""

from gridflock.fleet.functions._discovery import Ability, discovered
from gridflock.fleet.functions._forecast import Foretold, group_forecast, group_forecast_of_rows
from gridflock.fleet.functions._register import GroupRegister
from gridflock.fleet.functions._status import FAST_S, SLOW_S, Present, parameter_status

__all__ = [
    "FAST_S",
    "SLOW_S",
    "Ability",
    "Foretold",
    "GroupRegister",
    "Present",
    "discovered",
    "group_forecast",
    "group_forecast_of_rows",
    "parameter_status",
]

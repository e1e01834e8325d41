"""Subjects measured against rivals in the same run, each with its own JSON.

A missing rival is an error and never a silent skip. Times count only beside equal answers: where they do
not, the figures say so (``counts``) and why (``why_not``).
"""

from gridflock.bench._coordination import coordination
from gridflock.bench._dispatch import dispatch
from gridflock.bench._estimation import estimation
from gridflock.bench._feedback import feedback
from gridflock.bench._fleet import ImportFailed, fleet
from gridflock.bench._flexibility import flexibility
from gridflock.bench._flexibility_forecast import flexibility_forecast
from gridflock.bench._forecast import FORECAST_SETS, forecast_protocol
from gridflock.bench._forecast_joint import FORECAST_JOINT, forecast_joint
from gridflock.bench._forecast_speed import forecast_speed
from gridflock.bench._network_dispatch import network_dispatch
from gridflock.bench._power_grid_model import against_power_grid_model
from gridflock.bench._powerflow import WIDE_PU, powerflow
from gridflock.bench._processors import ProcessorFailed
from gridflock.bench._schedule import schedule
from gridflock.bench._series import series

__all__ = [
    "FORECAST_JOINT",
    "FORECAST_SETS",
    "WIDE_PU",
    "ImportFailed",
    "ProcessorFailed",
    "against_power_grid_model",
    "coordination",
    "dispatch",
    "estimation",
    "feedback",
    "fleet",
    "flexibility",
    "flexibility_forecast",
    "forecast_joint",
    "forecast_protocol",
    "forecast_speed",
    "network_dispatch",
    "powerflow",
    "schedule",
    "series",
]

"""Subjects measured against rivals in the same run, each with its own JSON.

A missing rival is an error and never a silent skip; equal answers are shown before times.
"""

from gridflock.bench._power_grid_model import against_power_grid_model
from gridflock.bench._powerflow import powerflow

__all__ = ["against_power_grid_model", "powerflow"]

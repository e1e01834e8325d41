"""Measured series in files, through the gate and into forecasts, without a running system.

``series_file`` reads and mends a file; ``series_ahead`` forecasts it from its last moment on, each series by
the method that did best on its last days, and keeps the marks that say so.
"""

from gridflock.runtime.series._ahead import SeriesAhead, Tried, series_ahead
from gridflock.runtime.series._file import SeriesFile, series_file

__all__ = ["SeriesAhead", "SeriesFile", "Tried", "series_ahead", "series_file"]

"""Measured or forecast series in files: CSV or Parquet, a column a series.

``read_series`` takes a file apart into stamps and columns in our units, and says row by row what it could
not read. What is wrong with the values is not judged here.
"""

from gridflock.field.series._read import SeriesColumns, Unreadable, read_series

__all__ = ["SeriesColumns", "Unreadable", "read_series"]

"""Forecasts of the weather, from files or over HTTP, behind ``ports.Weather``.

``FileWeather`` reads the newest table of a file or of a folder that others fill, tables made of GRIB messages
among them; ``HttpWeather`` asks a service, whose address and words a ``Service`` tells; ``NoWeather`` is for
who has none. Whatever is delivered is judged by one measure (``_table.py``): names and units, stamps, issue,
ranges; what is wrong is named, and the rest is used.
"""

from gridflock.field.weather._files import FileWeather
from gridflock.field.weather._http import HttpWeather, Service, service_from
from gridflock.field.weather._none import NoWeather
from gridflock.field.weather._table import QUANTITIES

__all__ = ["QUANTITIES", "FileWeather", "HttpWeather", "NoWeather", "Service", "service_from"]

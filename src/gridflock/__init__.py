"""Gridflock: an open, grid-aware DERMS."""

__version__ = "0.1.0"

"""What resources and groups can do over a horizon."""

from gridflock.fleet.flexible._bands import arrivals_kwh, flexibility

__all__ = ["arrivals_kwh", "flexibility"]

"""No weather at all."""

from __future__ import annotations

from gridflock.model import Rejected, Weather


class NoWeather:
    """A source that has nothing to say."""

    def newest(self, now_s: int) -> tuple[Weather | None, tuple[Rejected, ...]]:
        """Nothing, and nothing wrong with it."""
        del now_s
        return None, ()

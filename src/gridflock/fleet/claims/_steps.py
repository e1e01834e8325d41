"""A number that changes in steps over time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class Steps:
    """A whole number over time, 0 where nothing was added; the same function has one form only.

    ``level[k]`` holds from ``at[k]`` until ``at[k+1]``; neighbours differ, and the last level is 0.
    """

    __slots__ = ("at", "level")

    def __init__(self) -> None:
        self.at: list[int] = []
        self.level: list[int] = []

    def add(self, start_s: int, until_s: int, size: int) -> None:
        """Raise it (lower it, where negative) from ``start_s`` until ``until_s``."""
        if not size:
            return
        first = self._cut(start_s)
        last = self._cut(until_s)
        self.level[first:last] = [level + size for level in self.level[first:last]]
        self._join(last)
        self._join(first)

    def _cut(self, t_s: int) -> int:
        k = bisect_left(self.at, t_s)
        if k == len(self.at) or self.at[k] != t_s:
            self.at.insert(k, t_s)
            self.level.insert(k, self.level[k - 1] if k else 0)
        return k

    def _join(self, k: int) -> None:
        if self.level[k] == (self.level[k - 1] if k else 0):
            del self.at[k], self.level[k]

    def include(self, other: Steps) -> None:
        """Add another one, for all time."""
        for k in range(len(other.at) - 1):
            self.add(other.at[k], other.at[k + 1], other.level[k])

    def peak(self, start_s: int, until_s: int) -> int:
        """The highest level between, at least 0."""
        first = max(bisect_right(self.at, start_s) - 1, 0)
        return max(self.level[first : bisect_left(self.at, until_s)], default=0)

    def above(self, limit: int, start_s: int, until_s: int) -> tuple[int, int]:
        """The first stretch between with levels above a limit that is not negative.

        Raises:
            ValueError: there is none.
        """
        k = max(bisect_right(self.at, start_s) - 1, 0)
        while k < len(self.at) and self.at[k] < until_s:
            if self.level[k] > limit:
                return max(self.at[k], start_s), min(self.at[k + 1], until_s)
            k += 1
        raise ValueError("never above the limit")

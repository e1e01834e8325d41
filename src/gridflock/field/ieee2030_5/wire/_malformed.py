"""What is said of a body that is not taken."""

from __future__ import annotations

from dataclasses import dataclass

from gridflock.field.ieee2030_5.resources import Error, ReasonCode

_SHOWN = 48


@dataclass(frozen=True, slots=True)
class Malformed:
    """Why a body was not taken.

    Attributes:
        path: the element or attribute, from the root: ``EndDevice/lFDI``; empty for the body as a whole.
        reason: what is wrong with it, for the log.
        code: what the sender is told.
    """

    path: str
    reason: str
    code: ReasonCode = ReasonCode.FORMAT

    def error(self) -> Error:
        """The answer to the sender."""
        return Error(reason_code=self.code)


class Wrong(ValueError):  # noqa: N818 - what is wrong, and where
    """Inside the reader: a rule broken, and the way up to the root as it is found."""

    def __init__(self, reason: str, code: ReasonCode = ReasonCode.FORMAT) -> None:
        super().__init__(reason)
        self.code = code
        self.path: list[str] = []

    def malformed(self) -> Malformed:
        """The same as a value."""
        return Malformed(
            "/".join(ascii(step)[1:-1][:_SHOWN] for step in reversed(self.path)), str(self), self.code
        )


def shown(text: str | None) -> str:
    """A foreign text for a log: quoted, printable, short."""
    if text is None:
        return "nothing"
    said = ascii(text[: _SHOWN + 1])
    return said if len(said) <= _SHOWN else f"{said[:_SHOWN]}..."

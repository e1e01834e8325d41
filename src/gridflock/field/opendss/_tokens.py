"""One line of an OpenDSS file cut into words, the way the engine's own parser does it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_CLOSING = {'"': '"', "'": "'", "(": ")", "[": "]", "{": "}"}
_ATOM = re.compile(
    r"""[ \t]*(?:
        (?P<end>!|//|$)
      | (?P<comma>,)
      | (?P<text>"[^"]*"? | '[^']*'? | \([^)]*\)? | \[[^\]]*\]? | \{[^}]*\}? | (?:(?!//)[^\s,=!])+ | (?==))
        [ \t]* (?P<eq>=)?
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One value of a line.

    Attributes:
        name: property it is given to, lower case; empty for a value by position.
        raw: the value as written, with its quotes or brackets.
    """

    name: str
    raw: str

    @property
    def value(self) -> str:
        """The value without its quotes or brackets."""
        return unquoted(self.raw)

    def __str__(self) -> str:
        return f"{self.name}={self.raw}" if self.name else self.raw


def unquoted(raw: str) -> str:
    """The inside of a quoted or bracketed value."""
    closing = _CLOSING.get(raw[:1])
    if closing is None:
        return raw
    return raw[1:-1].strip() if len(raw) > 1 and raw.endswith(closing) else raw[1:].strip()


def tokens(line: str) -> Iterator[Token]:
    """The values of a line up to its comment; two commas in a row give an empty one between."""
    name, at, filled = "", 0, True
    while match := _ATOM.match(line, at):
        at = match.end()
        if match["end"] is not None:
            break
        if match["comma"] is not None:
            if not filled:
                yield Token("", '""')
            filled = False
            continue
        if match["eq"] and not name:
            name = unquoted(match["text"]).lower()
            continue
        at = match.end("text")
        yield Token(name, match["text"])
        name, filled = "", True
    if name:
        yield Token(name, '""')

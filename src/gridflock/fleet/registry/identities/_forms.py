"""One form of each name with others, and whether it has the form that its standard gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from gridflock.units import Rows

_HEXADECIMAL = "0123456789ABCDEF"
_PRINTED = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True, slots=True)
class Form:
    """What a name looks like.

    Attributes:
        rule: the form in words.
        letters: characters it may have, once it is canonical; empty = any.
        lengths: how many.
        fold: whether upper and lower case mean the same, so that the canonical form is upper case.
        without: separators and prefixes that mean nothing and are taken out; a prefix begins with ``^``.
    """

    rule: str
    letters: str
    lengths: range
    fold: bool = True
    without: tuple[str, ...] = ()


FORMS: Mapping[str, Form] = MappingProxyType(
    {
        "mrid": Form(
            "expected 32 hexadecimal digits or a UUID",
            _HEXADECIMAL,
            range(32, 33),
            without=("^URN:UUID:", "^_", "-"),
        ),
        "lfdi": Form(
            "expected 40 hexadecimal digits",
            _HEXADECIMAL,
            range(40, 41),
            without=("^0X", "-", ":", " "),
        ),
        "serial": Form("expected at most 64 characters", "", range(1, 65), without=("-", " ")),
        "ocpp": Form(
            "expected at most 48 characters without blanks and /",
            _PRINTED.replace("/", ""),
            range(1, 49),
            fold=False,
        ),
        "openadr": Form("expected at most 128 characters", "", range(1, 129), fold=False),
    }
)
"""By ``schema.IDENTITIES`` name. Lengths: IEEE 2030.5 for the LFDI (a SHA-256 fingerprint cut to 20 bytes),
RFC 9562 for the UUID of an mRID, OCPP 2.0.1 for a charging station, OpenADR 3 for a resource name; of a
serial number no standard says anything, and case, hyphens and blanks of it are taken as typing."""


def canonical(name: str, text: str) -> str:
    """The one form of a name: what two ways of writing it have in common; ``""`` of ``""``."""
    return canonical_column(name, (text,))[0]


def canonical_column(name: str, texts: Sequence[str]) -> list[str]:
    """The canonical forms of many texts at once, in the same order; printable texts only."""
    form = FORMS[name]
    if not texts:
        return []
    # One text of all lines: each change is then one pass of compiled code.
    joined = "\n" + "\n".join(texts)
    if form.fold:
        joined = joined.upper()
    for part in form.without:
        joined = joined.replace("\n" + part[1:], "\n") if part[0] == "^" else joined.replace(part, "")
    return joined[1:].split("\n")


def misfits(name: str, canonicals: Sequence[str]) -> Rows:
    """Rows whose canonical name has not the form of its standard; an absent one has no form at all."""
    form = FORMS[name]
    length = np.fromiter(map(len, canonicals), dtype=np.int32, count=len(canonicals))
    wrong = (length > 0) & ((length < form.lengths[0]) | (length > form.lengths[-1]))
    if form.letters:
        wrong[_with_strange_letters(form.letters, canonicals, length)] = True
    return np.flatnonzero(wrong).astype(np.int32)


def _with_strange_letters(letters: str, texts: Sequence[str], length: NDArray[np.int32]) -> NDArray[np.intp]:
    """Rows of texts with a character that is none of the letters."""
    joined = np.frombuffer("".join(texts).encode("ascii", "replace"), dtype=np.uint8)
    strange = np.ones(256, dtype=bool)
    strange[np.frombuffer(letters.encode(), dtype=np.uint8)] = False
    # What is not ASCII was replaced by a question mark, so that characters and bytes stay in step.
    at = np.flatnonzero(strange[joined])
    return np.searchsorted(np.cumsum(length), at, side="right")

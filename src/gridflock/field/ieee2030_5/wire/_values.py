"""Simple values: from the text of an element or attribute, and back into it, each within its bound."""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Callable
from typing import Any

from gridflock.field.ieee2030_5.resources import (
    Address,
    Bits,
    Flag,
    Kind,
    Octets,
    ReasonCode,
    Text,
    Whole,
    Words,
)
from gridflock.field.ieee2030_5.wire._malformed import Wrong, shown

Decode = Callable[[str | None], Any]
Encode = Callable[[Any], str]

_BLANK = " \t\r\n"
_DIGITS = 40
_REMEMBERED = 300
"""Texts and values, for each place where few are common; no long ones."""
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_SPECIAL = re.compile('[&<>"\t\n\r\x00-\x1f\ufffe\uffff\ud800-\udfff]')
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


# ---- in ----------------------------------------------------------------------------------------------


class _Few(dict[Any, Any]):
    """What was made of a text or value before, of a kind that has few."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, given: Any) -> Any:  # noqa: ANN401 a text, or a value of the kind
        made = self._make(given)
        if len(self) < _REMEMBERED and len(str(given)) <= _DIGITS:
            self[given] = made
        return made


def decoder(kind: Kind) -> Decode:
    """The function from an element's text to the value; it raises ``Wrong``."""
    match kind:
        case Whole(lo, hi):
            decode = _whole_from(lo, hi)
        case Bits(octets):
            decode = _bits_from(octets)
        case Octets(octets):
            decode = _octets_from(octets)
        case Text(most) | Words(most):
            decode = _text_from(most)
        case Address(most):
            decode = _address_from(most)
        case Flag():
            decode = _flag_from
    return _Few(decode).__getitem__ if _has_few(kind) else decode


def _has_few(kind: Kind) -> bool:
    """Whether few of its values are common: codes, multipliers, bitmaps, flags."""
    return isinstance(kind, Bits | Flag) or (isinstance(kind, Whole) and kind.hi - kind.lo < _REMEMBERED)


def _whole_from(lo: int, hi: int) -> Decode:
    def whole(text: str | None) -> int:
        try:
            value = int(text or "")
        except ValueError:
            raise Wrong(f"{shown(text)} is no whole number", ReasonCode.VALUES) from None
        # int() takes more than the schema does: other scripts' digits and underscores.
        if lo <= value <= hi and text and text.isascii() and "_" not in text and len(text) <= _DIGITS:
            return value
        raise Wrong(f"{shown(text)} is no whole number from {lo} to {hi}", ReasonCode.VALUES)

    return whole


def _octets(text: str | None, most: int) -> bytes:
    try:
        octets = unhexlify((text or "").strip(_BLANK))
    except ValueError:
        raise Wrong(f"{shown(text)} is no hexadecimal number of whole octets", ReasonCode.VALUES) from None
    if 1 <= len(octets) <= most:
        return octets
    raise Wrong(f"{shown(text)} has not 1 to {most} octets", ReasonCode.VALUES)


def _bits_from(octets: int) -> Decode:
    def bits(text: str | None) -> int:
        return int.from_bytes(_octets(text, octets))

    return bits


def _octets_from(octets: int) -> Decode:
    def identifier(text: str | None) -> str:
        return _octets(text, octets).hex().upper()

    return identifier


def _text_from(most: int) -> Decode:
    def within(text: str | None) -> str:
        if text is None:
            return ""
        if len(text) <= most:
            return text
        raise Wrong(f"{shown(text)} is longer than {most} characters", ReasonCode.VALUES)

    return within


def _address_from(most: int) -> Decode:
    def address(text: str | None) -> str:
        where = (text or "").strip(_BLANK)
        if 1 <= len(where) <= most and len(where.split(maxsplit=1)) == 1:
            return where
        raise Wrong(f"{shown(text)} is no address of 1 to {most} characters", ReasonCode.VALUES)

    return address


def _flag_from(text: str | None) -> bool:
    try:
        return _FLAGS[(text or "").strip(_BLANK)]
    except KeyError:
        raise Wrong(f"{shown(text)} is neither true nor false", ReasonCode.VALUES) from None


# ---- out ---------------------------------------------------------------------------------------------


def encoder(kind: Kind, before: str = "", after: str = "") -> Encode:
    """The function from a value to its text between two others.

    It raises ``ValueError``, or ``TypeError``, for what the schema does not admit.
    """
    match kind:
        case Whole(lo, hi):
            encode = _whole_to(lo, hi, before, after)
        case Bits(octets):
            encode = _bits_to(octets, before, after)
        case Octets(octets):
            encode = _octets_to(octets, before, after)
        case Text(most) | Address(most):
            encode = _text_to(most, before, after)
        case Words(most):
            encode = _words_to(most, before, after)
        case Flag():
            encode = _flag_to(before, after)
    return _Few(encode).__getitem__ if _has_few(kind) else encode


def _flag_to(before: str, after: str) -> Encode:
    true, false = f"{before}true{after}", f"{before}false{after}"
    return lambda value: true if value else false


def _whole_to(lo: int, hi: int, before: str, after: str) -> Encode:
    digits = int.__repr__  # of codes and flags too, whatever they are called

    def whole(value: int) -> str:
        if lo <= value <= hi:
            return f"{before}{digits(value)}{after}"
        raise ValueError(f"{value!r} is not from {lo} to {hi}")

    return whole


def _bits_to(octets: int, before: str, after: str) -> Encode:
    form, most = f"{before}%0{2 * octets}X{after}", 1 << 8 * octets

    def bits(value: int) -> str:
        if 0 <= value < most:
            return form % value
        raise ValueError(f"{value!r} has more than {octets} octets")

    return bits


def _octets_to(octets: int, before: str, after: str) -> Encode:
    def identifier(value: str) -> str:
        if 1 <= len(unhexlify(value)) <= octets:
            return f"{before}{value.upper()}{after}"
        raise ValueError(f"{value!r} has not 1 to {octets} octets")

    return identifier


def _text_to(most: int, before: str, after: str) -> Encode:
    def text(value: str) -> str:
        if len(value) <= most:
            return f"{before}{_escaped(value)}{after}"
        raise ValueError(f"{value!r} is longer than {most} characters")

    return text


def _words_to(most: int, before: str, after: str) -> Encode:
    def words(value: str) -> str:
        if not value.isascii():
            value = value.encode(errors="replace")[: most - 1].decode(errors="ignore")
        return f"{before}{_escaped(value[: most - 1])}{after}"

    return words


def _escaped(text: str) -> str:
    if _SPECIAL.search(text) is None:
        return text
    return _SPECIAL.sub(lambda found: _ESCAPES.get(found[0], "\ufffd"), text)

"""What a value on the wire may be: whole numbers, bits, octets, texts and addresses, each with its bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from ``lo`` to ``hi``, both included."""

    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Bits:
    """A bitmap of ``octets`` octets, a whole number here and upper-case hex on the wire."""

    octets: int


@dataclass(frozen=True, slots=True)
class Octets:
    """An identifier of at most ``octets`` octets, upper-case hex here and on the wire."""

    octets: int


@dataclass(frozen=True, slots=True)
class Text:
    """A text of at most ``most`` characters that means something: it is never cut."""

    most: int


@dataclass(frozen=True, slots=True)
class Words:
    """Words for people, of at most ``most`` characters.

    What we write is cut to fewer octets than that: a peer was seen to fail at exactly the schema's length.
    """

    most: int


@dataclass(frozen=True, slots=True)
class Address:
    """A URI, absolute or relative, of at most ``most`` characters."""

    most: int


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""


Kind = Whole | Bits | Octets | Text | Words | Address | Flag


def _unsigned(bits: int) -> Whole:
    return Whole(0, 2**bits - 1)


def _signed(bits: int) -> Whole:
    return Whole(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


UInt8 = Annotated[int, _unsigned(8)]
UInt16 = Annotated[int, _unsigned(16)]
UInt32 = Annotated[int, _unsigned(32)]
UInt40 = Annotated[int, _unsigned(40)]
UInt48 = Annotated[int, _unsigned(48)]
Int16 = Annotated[int, _signed(16)]
Int32 = Annotated[int, _signed(32)]
Int48 = Annotated[int, _signed(48)]
Int64 = Annotated[int, _signed(64)]
Moment = Annotated[int, Whole(-62_135_596_800, 253_402_300_799)]
"""Unix seconds within the years 1 to 9999. The schema admits all 64 bits; who reckons with such moments, or
writes them down, goes beyond every clock and calendar, so what is further off is a mistake and is refused."""
PowerOfTen = Annotated[int, Whole(-9, 9)]
"""The schema admits any octet; beyond these a value is a mistake and is refused."""
PerCent = Annotated[int, Whole(0, 10_000)]
"""Hundredths of a percent."""
SignedPerCent = Annotated[int, Whole(-10_000, 10_000)]
"""Hundredths of a percent."""
OneHour = Annotated[int, Whole(-3_600, 3_600)]
"""Seconds."""
Pin = Annotated[int, Whole(0, 999_999)]
Bits8 = Annotated[int, Bits(1)]
Bits16 = Annotated[int, Bits(2)]
Bits32 = Annotated[int, Bits(4)]
Bits64 = Annotated[int, Bits(8)]
Hex128 = Annotated[str, Octets(16)]
Hex160 = Annotated[str, Octets(20)]
Text6 = Annotated[str, Text(6)]
Text16 = Annotated[str, Text(16)]
Text20 = Annotated[str, Text(20)]
Text32 = Annotated[str, Text(32)]
Text42 = Annotated[str, Text(42)]
Words32 = Annotated[str, Words(32)]
Words192 = Annotated[str, Words(192)]
Uri = Annotated[str, Address(1_024)]

"""Identifiers that follow from a certificate, and the PIN that two people compare.

IEEE 2030.5-2018, 6.3.2 to 6.3.5: all of them are derived from, or protected by, sums anybody can do again.
"""

from __future__ import annotations

import hashlib

LFDI_DIGITS = 40
_HEX = frozenset("0123456789ABCDEF")
_MOST_PIN = 999_999


def lfdi_of(certificate: bytes) -> str:
    """The long form device identifier of a DER-encoded certificate.

    Args:
        certificate: DER, as it came over the wire.

    Returns:
        The first 20 bytes of its SHA-256 as 40 uppercase hexadecimal digits.
    """
    return hashlib.sha256(certificate).hexdigest()[:LFDI_DIGITS].upper()


def is_lfdi(text: str) -> bool:
    """Whether a text is 40 uppercase hexadecimal digits."""
    return len(text) == LFDI_DIGITS and _HEX.issuperset(text)


def sfdi_of(lfdi: str) -> int:
    """The short form device identifier: the first 36 bits in decimal and one check digit.

    Args:
        lfdi: as of ``lfdi_of``.

    Returns:
        A number of which all digits add up to a multiple of 10.

    Raises:
        ValueError: the text is no LFDI.
    """
    if not is_lfdi(lfdi):
        raise ValueError(f"{lfdi!r} is not {LFDI_DIGITS} uppercase hexadecimal digits")
    return with_check_digit(int(lfdi[:9], 16))


def with_check_digit(number: int) -> int:
    """A number with the digit appended that makes the sum of its digits a multiple of 10."""
    return number * 10 + -_digit_sum(number) % 10


def is_checked(number: int) -> bool:
    """Whether the digits of an SFDI or PIN add up to a multiple of 10."""
    return number >= 0 and _digit_sum(number) % 10 == 0


def is_pin(number: int) -> bool:
    """Whether a number is five digits and their check digit; leading zeros are lost on the wire."""
    return 0 <= number <= _MOST_PIN and is_checked(number)


def _digit_sum(number: int) -> int:
    return sum(map(int, str(number)))

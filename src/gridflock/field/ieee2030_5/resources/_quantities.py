"""Numbers with a unit, each a value times ten to a multiplier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gridflock.field.ieee2030_5.resources._kinds import (
    Int16,
    Int48,
    PowerOfTen,
    SignedPerCent,
    UInt8,
    UInt16,
    UInt48,
)
from gridflock.field.ieee2030_5.resources._table import El


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedPointType:
    """``value`` times ten to the ``multiplier``."""

    multiplier: Annotated[PowerOfTen, El("multiplier")]
    value: Annotated[Int16, El("value")]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsignedFixedPointType:
    """``value`` times ten to the ``multiplier``, never negative."""

    multiplier: Annotated[PowerOfTen, El("multiplier")]
    value: Annotated[UInt16, El("value")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivePower(FixedPointType):
    """W."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactivePower(FixedPointType):
    """var."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApparentPower(UnsignedFixedPointType):
    """VA."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentRMS(UnsignedFixedPointType):
    """A."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoltageRMS(UnsignedFixedPointType):
    """V."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AmpereHour(UnsignedFixedPointType):
    """Ah."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WattHour(UnsignedFixedPointType):
    """Wh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactiveSusceptance(UnsignedFixedPointType):
    """S."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerFactor:
    """``displacement`` times ten to the ``multiplier``."""

    displacement: Annotated[UInt16, El("displacement")]
    multiplier: Annotated[PowerOfTen, El("multiplier")]


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerFactorWithExcitation:
    """A power factor; ``excitation`` true is under-excited (absorbing vars), false over-excited."""

    displacement: Annotated[UInt16, El("displacement")]
    excitation: Annotated[bool, El("excitation")]
    multiplier: Annotated[PowerOfTen, El("multiplier")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedVar:
    """Hundredths of a percent of what ``ref_type`` (``DERUnitRefType``) names."""

    ref_type: Annotated[UInt8, El("refType")]
    value: Annotated[SignedPerCent, El("value")]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRealEnergy:
    """Wh; of a flow reservation positive is charging."""

    multiplier: Annotated[PowerOfTen, El("multiplier")]
    value: Annotated[Int48, El("value")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RealEnergy:
    """Wh."""

    multiplier: Annotated[PowerOfTen, El("multiplier")]
    value: Annotated[UInt48, El("value")]

"""Tariffs: their components, and which price holds when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from gridflock.field.ieee2030_5.resources._kinds import (
    Bits16,
    Int32,
    PowerOfTen,
    Text20,
    UInt8,
    UInt16,
    UInt32,
    UInt48,
)
from gridflock.field.ieee2030_5.resources._objects import (
    IdentifiedObject,
    Link,
    List,
    ListLink,
    RandomizableEvent,
    Resource,
    SubscribableList,
    UnitValueType,
)
from gridflock.field.ieee2030_5.resources._table import At, El, Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffProfile(IdentifiedObject):
    """A tariff; prices are in ``currency`` (ISO 4217) times ten to the multiplier."""

    currency: Annotated[UInt16 | None, El("currency")] = None
    price_power_of_ten_multiplier: Annotated[PowerOfTen | None, El("pricePowerOfTenMultiplier")] = None
    primacy: Annotated[UInt8, El("primacy")]
    rate_code: Annotated[Text20 | None, El("rateCode")] = None
    rate_component_list_link: Annotated[ListLink | None, El("RateComponentListLink")] = None
    service_category_kind: Annotated[UInt8, El("serviceCategoryKind")]
    combined_time_tariff_interval_list_link: Annotated[
        ListLink | None, El("CombinedTimeTariffIntervalListLink", Profile.CSIPAUS13, aus=True, required=True)
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffProfileList(SubscribableList):
    """The tariffs somebody may see."""

    poll_rate: Annotated[UInt32, At("pollRate", always=True)] = 900
    tariff_profile: Annotated[tuple[TariffProfile, ...], El("TariffProfile")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RateComponent(IdentifiedObject):
    """One component of a tariff: what is charged for which quantity."""

    active_time_tariff_interval_list_link: Annotated[
        ListLink | None, El("ActiveTimeTariffIntervalListLink")
    ] = None
    flow_rate_end_limit: Annotated[UnitValueType | None, El("flowRateEndLimit")] = None
    flow_rate_start_limit: Annotated[UnitValueType | None, El("flowRateStartLimit")] = None
    reading_type_link: Annotated[Link, El("ReadingTypeLink")]
    role_flags: Annotated[Bits16, El("roleFlags")]
    time_tariff_interval_list_link: Annotated[ListLink, El("TimeTariffIntervalListLink")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateComponentList(List):
    """The components of one tariff."""

    subscribable: Annotated[UInt8, At("subscribable", Profile.CSIPAUS13)] = 0
    rate_component: Annotated[tuple[RateComponent, ...], El("RateComponent")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentalCost:
    """What a unit costs the environment."""

    amount: Annotated[UInt32, El("amount")]
    cost_kind: Annotated[UInt8, El("costKind")]
    cost_level: Annotated[UInt8, El("costLevel")]
    num_cost_levels: Annotated[UInt8, El("numCostLevels")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumptionTariffInterval(Resource):
    """The price of one block of consumption, which begins at ``start_value``."""

    consumption_block: Annotated[UInt8, El("consumptionBlock")]
    environmental_cost: Annotated[tuple[EnvironmentalCost, ...], El("EnvironmentalCost")] = ()
    price: Annotated[Int32 | None, El("price")] = None
    start_value: Annotated[UInt48, El("startValue")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumptionTariffIntervalList(List):
    """The blocks of one interval."""

    consumption_tariff_interval: Annotated[
        tuple[ConsumptionTariffInterval, ...], El("ConsumptionTariffInterval")
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumptionTariffIntervalListSummary(List):
    """The same blocks, carried inside the interval."""

    SINCE: ClassVar[Profile] = Profile.CSIPAUS13

    consumption_tariff_interval: Annotated[
        tuple[ConsumptionTariffInterval, ...], El("ConsumptionTariffInterval")
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeTariffInterval(RandomizableEvent):
    """Which price tier holds for a time."""

    consumption_tariff_interval_list_link: Annotated[
        ListLink | None, El("ConsumptionTariffIntervalListLink")
    ] = None
    tou_tier: Annotated[UInt8, El("touTier")]
    consumption_tariff_interval_list_summary: Annotated[
        ConsumptionTariffIntervalListSummary | None,
        El("ConsumptionTariffIntervalListSummary", Profile.CSIPAUS13, aus=True, required=True),
    ] = None
    rate_component_link: Annotated[Link | None, El("RateComponentLink", Profile.CSIPAUS13, required=True)] = (
        None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeTariffIntervalList(SubscribableList):
    """The intervals of one component, or of all components of a tariff."""

    poll_rate: Annotated[UInt32, At("pollRate", Profile.CSIPAUS13, always=True)] = 900
    time_tariff_interval: Annotated[tuple[TimeTariffInterval, ...], El("TimeTariffInterval")] = ()

"""The mix of a fleet: how many of each kind in 2,000, and what is on their nameplates."""

# ruff: noqa: E501 - one make, one line: a table is read across

from __future__ import annotations

from dataclasses import dataclass, replace

from gridflock.schema import Kind

_HOMES = ("hearthpool", "sunward", "voltshare")
_BUSINESS = ("voltshare", "utility")


@dataclass(frozen=True, slots=True)
class Make:
    """What devices of a kind have in common.

    Attributes:
        prefix: of their ids.
        count: how many in a fleet of 2,000.
        ratings_kw: a range, or the ratings on the market when ``listed``.
        customer: class the bill is made for.
        program: programme they are enrolled in.
        providers: who may speak for them.
        listed: ``ratings_kw`` is a list to choose from.
        up: largest injection over rating.
        down: largest consumption over rating.
        hours: energy over rating.
        energy_spread: factor range on that energy.
        reserve: the usual owner's reserve, as a share of the energy.
        cautious: share of owners who keep 80 % instead.
        floor: smallest level over rating.
        floor_kw: the same, absolute.
        ramp: kW/s over rating.
        on_off: knows only on and off.
        min_on_s: shortest time on.
        min_off_s: shortest time off.
        eff_charge: stored over drawn.
        eff_discharge: delivered over withdrawn.
        cost_kwh: own cost, money/kWh.
    """

    prefix: str
    count: int
    ratings_kw: tuple[float, ...]
    customer: str
    program: str
    providers: tuple[str, ...]
    listed: bool = False
    up: float = 0.0
    down: float = 0.0
    hours: float = 0.0
    energy_spread: tuple[float, float] = (1.0, 1.0)
    reserve: float = 0.0
    cautious: float = 0.0
    floor: float = 0.0
    floor_kw: float = 0.0
    ramp: float = 1e3
    on_off: bool = False
    min_on_s: float = 0.0
    min_off_s: float = 0.0
    eff_charge: float = 1.0
    eff_discharge: float = 1.0
    cost_kwh: float = 0.0


_SIX_AMPERE_KW = 1.44
"""6 A at 240 V: the least a charging cable may carry (IEC 61851-1)."""
# fmt: off
_CAR = Make("ev", 260, (7.2, 7.2, 7.2, 9.6, 3.6), "residential", "managed-charging", _HOMES, listed=True, down=1.0, hours=9.0, energy_spread=(0.7, 1.3), floor_kw=_SIX_AMPERE_KW, eff_charge=0.92)
_CAR_BOTH_WAYS = replace(_CAR, prefix="v2g", count=50, ratings_kw=(7.2,), up=1.0, reserve=0.3, eff_discharge=0.92, cost_kwh=0.05)
_COOLER = Make("ac", 400, (2.0, 3.5), "residential", "smart-comfort", _HOMES, down=1.0, on_off=True, min_on_s=240.0, min_off_s=240.0, cost_kwh=0.01)

MAKES: dict[Kind, Make] = {
    Kind.PV_ROOFTOP: Make("pv", 480, (3, 9), "residential", "solar-limit", _HOMES, up=1.0, cost_kwh=0.0),
    Kind.PV_COMMUNITY: Make("pvc", 4, (100, 150), "utility", "flexible-connection", ("utility",), up=1.0),
    Kind.WIND: Make("wind", 12, (10, 20), "commercial", "flexible-connection", _BUSINESS, up=1.0),
    Kind.BATTERY_HOME: Make("bat", 240, (5, 5), "residential", "battery-rewards", _HOMES, up=1.0, down=1.0, hours=2.7, reserve=0.2, cautious=0.35, eff_charge=0.95, eff_discharge=0.95, cost_kwh=0.03),
    Kind.BATTERY_COMMERCIAL: Make("batc", 20, (50, 50), "industrial", "battery-rewards", _BUSINESS, up=1.0, down=1.0, hours=3.0, reserve=0.1, eff_charge=0.96, eff_discharge=0.96, cost_kwh=0.02),
    Kind.EV_V1G: _CAR,
    Kind.EV_V2G: _CAR_BOTH_WAYS,
    Kind.EV_V2H: replace(_CAR_BOTH_WAYS, prefix="v2h", count=40, up=0.7),
    Kind.EVSE: replace(_CAR, prefix="evse", count=70, ratings_kw=(7.2,), customer="commercial", providers=_BUSINESS, hours=10.0, energy_spread=(1.0, 1.0)),
    Kind.CHP: Make("chp", 6, (60, 60), "industrial", "capacity", _BUSINESS, up=1.0, hours=2.0, floor=0.5, ramp=0.01, min_on_s=1800, min_off_s=1200, cost_kwh=0.09),
    Kind.TRIGENERATION: Make("trig", 3, (120, 120), "commercial", "capacity", _BUSINESS, up=1.0, hours=2.0, floor=0.5, ramp=0.008, min_on_s=1800, min_off_s=1200, cost_kwh=0.08),
    Kind.GENSET: Make("gen", 5, (100, 100), "utility", "capacity", ("utility",), up=1.0, floor=0.3, ramp=0.01, min_on_s=900, min_off_s=600, cost_kwh=0.38),
    Kind.CURTAILABLE: Make("ci", 30, (20, 40), "industrial", "capacity", _BUSINESS, down=1.0, hours=2.0, cost_kwh=0.45),
    Kind.THERMOSTAT: _COOLER,
    Kind.HEAT_PUMP: replace(_COOLER, prefix="hp", count=130, min_on_s=600.0, min_off_s=300.0),
    Kind.WATER_HEATER: Make("wh", 250, (4.5, 4.5), "residential", "smart-comfort", _HOMES, down=1.0, on_off=True, min_on_s=60.0, min_off_s=60.0, cost_kwh=0.005),
}
# fmt: on

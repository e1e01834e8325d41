"""Goals that are a price: energy, carbon, losses, wear, what is sold, and the demand charge."""

from gridflock.plan.goals.money._energy import Carbon, EnergyCost, Losses, SelfConsumption, Wear
from gridflock.plan.goals.money._peak import DemandCharge

__all__ = ["Carbon", "DemandCharge", "EnergyCost", "Losses", "SelfConsumption", "Wear"]

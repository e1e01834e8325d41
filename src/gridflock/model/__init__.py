"""The nouns: frozen values that the stages and adapters hand to each other.

Arrays inside, typed objects at the rim; never one object per DER in a loop.
"""

from gridflock.model._field import Orders, Outcomes, OutcomeStatus, Quality, Readings, Rejected
from gridflock.model._memory import Entry, Json, Verdict
from gridflock.model._wish import (
    BoundSource,
    Capability,
    Envelope,
    Flexibility,
    Forecast,
    History,
    Priority,
    Proposal,
    Reason,
    Schedule,
)

__all__ = [
    "BoundSource",
    "Capability",
    "Entry",
    "Envelope",
    "Flexibility",
    "Forecast",
    "History",
    "Json",
    "Orders",
    "OutcomeStatus",
    "Outcomes",
    "Priority",
    "Proposal",
    "Quality",
    "Readings",
    "Reason",
    "Rejected",
    "Schedule",
    "Verdict",
]

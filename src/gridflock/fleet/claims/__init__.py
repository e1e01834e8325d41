"""Claims: what of each resource is promised to whom, so that no kilowatt is promised twice.

Every resource has an account of kW up, kW down and kWh (``Accounts``). A ``Claim`` of a programme, an
offer, a reserve, an envelope or the owner takes something of a resource or group over a time. ``Claims``
takes a claim only if there is a way to serve it beside all others, whatever groups they lie on; otherwise
its ``Answer`` is a ``Refusal`` that names who stands in the way, when, and how much is free.

A claim on a group is a need that its members must be able to meet together. It is not pinned to any of
them, so that a later claim on one member is refused only if the others cannot stand in.
"""

from gridflock.fleet.claims._accounts import Accounts, nameplate_accounts
from gridflock.fleet.claims._claim import Answer, Claim, ClaimKind, Free, Held, Refusal
from gridflock.fleet.claims._ledger import Claims, RowsOf, Yields

__all__ = [
    "Accounts",
    "Answer",
    "Claim",
    "ClaimKind",
    "Claims",
    "Free",
    "Held",
    "Refusal",
    "RowsOf",
    "Yields",
    "nameplate_accounts",
]

"""What is enrolled: nameplates, settings and identities of every resource.

Rows from files become columns; every broken rule becomes a ``Rejected`` that names field, row and
rule, and the rows without one still land. The same rows twice change nothing.
"""

from gridflock.fleet.registry._query import Condition, QueryRejected, parse, select
from gridflock.fleet.registry._reading import TEXTS, Registry, merged, read_registry

__all__ = [
    "TEXTS",
    "Condition",
    "QueryRejected",
    "Registry",
    "merged",
    "parse",
    "read_registry",
    "select",
]

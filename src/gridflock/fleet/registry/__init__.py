"""What is enrolled: nameplates, settings and identities of every resource.

Rows from files become columns; every broken rule becomes a ``Rejected`` that names field, row and
rule, and the rows without one still land. The same rows twice change nothing.
"""

from gridflock.fleet.registry._merge import merge
from gridflock.fleet.registry._query import Condition, QueryRejected, parse, select
from gridflock.fleet.registry._reading import Reader, read_registry, read_table
from gridflock.fleet.registry._rows import TEXTS, Registry
from gridflock.fleet.registry._versions import Change, Versions

__all__ = [
    "TEXTS",
    "Change",
    "Condition",
    "QueryRejected",
    "Reader",
    "Registry",
    "Versions",
    "merge",
    "parse",
    "read_registry",
    "read_table",
    "select",
]

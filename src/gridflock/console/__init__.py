"""The people: command line, REST, live stream, and the web console's files.

Every verb of the façade has a command, a route and a heading in the docs; ``_cli.py`` and
``_rest.py`` are thin skins that a test keeps equal. Both load what they need when they are used,
so that ``gridflock status`` need not wait for the whole house.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gridflock.console._cli import main
    from gridflock.console._rest import build

__all__ = ["build", "main"]
_ROOMS = {"build": "gridflock.console._rest", "main": "gridflock.console._cli"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562: one of the names above
    """Load a name of the face from its room."""
    if name not in _ROOMS:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(_ROOMS[name]), name)

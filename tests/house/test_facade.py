"""One façade for Python, REST and the command line: no verb is missing anywhere, none is unguarded."""

import asyncio
import inspect
import re

import httpx
import pytest
import typer
from fastapi.routing import APIRoute

from gridflock.console import build
from gridflock.console._cli import app as commands
from gridflock.runtime import Derms

LIFE = {
    "tick": "the loop's thread lives by it",
    "run": "the loop's thread lives by it",
    "close": "the end of the process",
    "wait": "the live stream waits on it and then asks guarded verbs",
    "moment": "the state that dry runs and tests look into",
    "clock": "tests and studies ask what time it is there",
    "field": "tests and studies listen at the devices' side",
    "day": "what the progress bar spans",
    "refused_rows": "told once on start",
    "summary": "the line in the owner's terminal",
    "speak_above": "the client of a server above lets itself be asked",
}
"""Public members that are not verbs, and who may call them without a scope."""

COMMAND = {
    "verify": "audit verify",
    "feeder": "feeder map",
    "group": "group show",
    "define_group": "group define",
    "change_group": "group change",
    "delete_group": "group delete",
    "examine": "doctor",
    "guard": "guard show",
    "set_mode": "guard mode",
    "approve": "guard approve",
    "refuse": "guard refuse",
    "all_to_default": "guard default",
    "end_default": "guard end",
    "shadow": "shadow show",
    "start_shadow": "shadow start",
    "stop_shadow": "shadow stop",
    "utility": "devices status",
    "devices": "devices list",
    "device": "devices show",
    "enrol": "devices enrol",
    "set_access": "devices approve",
    "set_pin": "devices pin",
    "rates": "devices rates",
    "set_rates": "devices rate",
    "load_points": "devices points",
    "differs": "devices differs",
    "offered": "devices above",
    "deny": "devices deny",
    "readmit": "devices readmit",
    "read_revoked": "devices revoked",
}
"""Where the command is not the verb's own name."""


class _Nobody:
    """Users of a folder that has none."""

    def scope(self, token):
        """No token is known."""
        del token


def _verbs():
    members = [name for name in dir(Derms) if not name.startswith("_")]
    return [name for name in members if name not in LIFE]


def _commands(command, path=()):
    """Every command's words, sub-commands spelled out."""
    below = getattr(command, "commands", None)
    if below is None:
        return [" ".join(path)]
    return [words for name, child in below.items() for words in _commands(child, (*path, name))]


@pytest.fixture(scope="module")
def application():
    """The REST application; no route may get as far as asking its ``Derms``."""
    return build(object(), _Nobody())


@pytest.fixture(scope="module")
def routes(application):
    """Verb -> method and path."""
    api = [route for route in application.routes if isinstance(route, APIRoute)]
    return {
        route.endpoint.__name__: f"{min(route.methods)} {route.path.replace(':path', '')}"
        for route in api
        if route.path.startswith("/api/")
    }


@pytest.fixture(scope="module")
def headings(root):
    """Second-level headings of docs/verbs.md with the text below each."""
    parts = re.split(r"^## (.+)$", (root / "docs/verbs.md").read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("verb", _verbs())
def test_a_verb_takes_authority_first(verb):
    """CONVENTIONS §12: without a ``Scope`` a verb cannot be called."""
    first = list(inspect.signature(getattr(Derms, verb)).parameters.values())[1]
    assert (first.name, first.annotation, first.default) == ("scope", "Scope", inspect.Parameter.empty)


@pytest.mark.parametrize("verb", _verbs())
def test_a_verb_is_the_same_everywhere(verb, routes, headings):
    """A verb has a route, a command, and a section of docs/verbs.md that names both and the call."""
    command = COMMAND.get(verb, verb)
    assert verb in routes
    assert command in _commands(typer.main.get_command(commands))
    wanted = (f"`{routes[verb]}`", f"derms.{verb}(", f"gridflock {command}")
    assert not [words for words in wanted if words not in headings[verb]]


def test_routes_and_life_name_nothing_that_is_gone(routes):
    """Every API route is a verb or the stream; every listed part of life still exists."""
    assert set(routes) - set(_verbs()) == {"stream"}
    assert all(hasattr(Derms, name) for name in LIFE)


def test_every_route_and_command_is_in_the_docs(routes, pages):
    """Whoever reads the docs has heard of everything that can be called."""
    text = "\n".join(pages.values())
    spoken = [f"gridflock {words}" for words in _commands(typer.main.get_command(commands))]
    spoken += routes.values()
    assert not [words for words in spoken if not re.search(rf"{re.escape(words)}(?![\w-])", text)]


def test_no_route_answers_without_a_token(application):
    """Deny by default: every method of every API route refuses a caller it does not know."""
    routes = [r for r in application.routes if isinstance(r, APIRoute) and r.path.startswith("/api/")]
    calls = [(method, re.sub(r"{.*?}", "x", route.path)) for route in routes for method in route.methods]
    callers = ({}, {"Authorization": "Bearer gf_unknown"})

    async def codes():
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://gridflock") as client:
            answers = [await client.request(*call, headers=headers) for call in calls for headers in callers]
        return [answer.status_code for answer in answers]

    assert calls
    assert asyncio.run(codes()) == [401] * len(calls) * len(callers)

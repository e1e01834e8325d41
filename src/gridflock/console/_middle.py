"""How a system in the middle is reached from above: the two routes of the border, on this machine only."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from gridflock.console._peer_rest import Directed, peer_routes
from gridflock.console._rest import bare
from gridflock.console._screen import stop
from gridflock.runtime import Users

_HOST = "127.0.0.1"
_GRACE_S = 2


def build_middle(life: Directed, users: Users) -> FastAPI:
    """The application of a system in the middle."""
    app, authority = bare(users)
    peer_routes(app, life, authority)
    return app


@contextlib.contextmanager
def served(life: Directed, users: Users, port: int) -> Iterator[None]:
    """While this lasts the system above can reach it; a port that is taken ends the command."""
    with socket.socket() as waiting:
        waiting.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            waiting.bind((_HOST, port))
        except OSError as error:
            raise stop(f"port: {port} cannot be used: {error.strerror}") from error
        config = uvicorn.Config(
            build_middle(life, users), log_level="warning", timeout_graceful_shutdown=_GRACE_S,
            h11_max_incomplete_event_size=65_536, limit_concurrency=64,
        )  # fmt: skip
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([waiting],), name="gridflock-border")
        thread.start()
        try:
            yield
        finally:
            server.should_exit = True
            thread.join()

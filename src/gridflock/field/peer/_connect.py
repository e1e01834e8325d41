"""The client by which a system above reaches one below."""

from __future__ import annotations

import httpx

from gridflock.field.peer._wire import directive_said, standing_from
from gridflock.model import Directive, Rejected, Standing

TIMEOUT_S = 5.0
_LARGEST_ANSWER = 1_000_000
"""Bytes."""


class Unanswered(Exception):  # noqa: N818 - the world said nothing, or no
    """No usable answer from the other system, in words."""


class Peer:
    """One system below.

    Args:
        name: as this system calls it, and as it calls itself.
        url: where its façade is served; other than on this machine only ``https``.
        token: of the account it made for the system above.
        transport: instead of the network, for tests.

    Raises:
        ValueError: an address that would send the token in the clear.
    """

    def __init__(self, name: str, url: str, token: str, transport: httpx.BaseTransport | None = None) -> None:
        address = httpx.URL(url)
        if address.scheme != "https" and address.host not in {"127.0.0.1", "localhost", "::1"}:
            raise ValueError(f"{url}: a token goes over https only, except on this machine")
        self.name = name
        self._client = httpx.Client(
            base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_S,
            transport=transport, follow_redirects=False,
        )  # fmt: skip

    def standing(self) -> Standing:
        """What it tells of itself.

        Raises:
            Unanswered: nothing came, or nothing that keeps the rules.
        """
        found = standing_from(self._ask("GET", "/api/standing"))
        if isinstance(found, Rejected):
            raise Unanswered(f"{self.name}: {found.field} {found.reason}")
        if found.child != self.name:
            raise Unanswered(f"{self.name}: calls itself {found.child!r}")
        return found

    def direct(self, directive: Directive) -> None:
        """Hand a directive over.

        Raises:
            Unanswered: it did not arrive, or was refused.
        """
        self._ask("POST", "/api/directive", directive_said(directive))

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, object]:
        try:
            answer = self._client.request(method, path, json=body)
            answer.raise_for_status()
            if len(answer.content) > _LARGEST_ANSWER:
                raise Unanswered(f"{self.name}: an answer of {len(answer.content)} bytes")
            found = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unanswered(f"{self.name}: {type(error).__name__}: {error}") from error
        if not isinstance(found, dict):
            raise Unanswered(f"{self.name}: no object in the answer")
        return found

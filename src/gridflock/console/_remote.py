"""The command line's way to a running server: REST, with readable errors."""

from __future__ import annotations

import os
from typing import Any

import httpx
import typer

DEFAULT_URL = "http://127.0.0.1:8080"
_TIMEOUT_S = 30.0


class Remote:
    """One server and one token, from options or ``GRIDFLOCK_URL`` and ``GRIDFLOCK_TOKEN``."""

    def __init__(self, url: str | None, token: str | None) -> None:
        self._url = (url or os.environ.get("GRIDFLOCK_URL") or DEFAULT_URL).rstrip("/")
        self._token = token or os.environ.get("GRIDFLOCK_TOKEN") or ""

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        body: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - JSON
        """The answer's JSON; a refusal ends the command with every fault named and exit code 1."""
        try:
            answer = httpx.request(
                method,
                self._url + path,
                params=params,
                json=body,
                headers={"Authorization": f"Bearer {self._token}"},
                timeout=_TIMEOUT_S,
            )
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeEncodeError) as error:
            typer.echo(f"no answer from {self._url}: {error}\nIs it running? Try `gridflock demo`.", err=True)
            raise typer.Exit(1) from error
        if answer.is_success:
            return _document(answer, self._url)
        for line in faults(answer):
            typer.echo(line, err=True)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            typer.echo("Set GRIDFLOCK_TOKEN or --token; make one with `gridflock users add NAME`.", err=True)
        raise typer.Exit(1)


def _document(answer: httpx.Response, url: str) -> Any:  # noqa: ANN401 - JSON
    """The answer's JSON, or an end that says that somebody else answers there."""
    try:
        return answer.json()
    except ValueError as error:
        typer.echo(f"{url} does not answer in JSON: is it Gridflock?", err=True)
        raise typer.Exit(1) from error


def faults(answer: httpx.Response) -> list[str]:
    """A refusal's faults, one line each: field, rule, reason."""
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return [f"{answer.status_code} {answer.reason_phrase}"]
    lines = []
    for fault in detail if isinstance(detail, list) else [detail]:
        if isinstance(fault, dict):
            field = fault.get("field") or ".".join(map(str, fault.get("loc", ())))
            reason, rule = fault.get("reason") or fault.get("msg"), fault.get("rule") or fault.get("type")
            lines.append(f"{field}: {reason} (rule: {rule})")
        else:
            lines.append(str(fault))
    return lines

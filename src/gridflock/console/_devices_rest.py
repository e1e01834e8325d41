"""REST routes of the IEEE 2030.5 server: devices, rates, who is kept out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field

from gridflock.runtime import Derms, Scope, plain

_WHY = "In words; kept in the ledger."
_Why = Annotated[str, Query(description=_WHY)]
_Lfdi = Annotated[str, Field(max_length=40)]
_Host = Annotated[str, Field(max_length=253)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    why: str = Field("", description=_WHY)


class EnrolBody(_Body):
    """What is known of a device; what is absent stays as it is."""

    resource: str = Field("", description="Of the fleet that it is.", max_length=200)
    pin: int | None = Field(None, description="Five digits and their check digit.")
    aggregator: bool | None = Field(None, description="The holder of the certificate speaks for sites.")
    owner: _Lfdi = Field("", description="LFDI of the aggregator that speaks for it.")
    profile: str = Field("", description="sep2018, csipaus12 or csipaus13.", max_length=20)
    name: str = Field("", description="For people.", max_length=100)
    hosts: list[_Host] | None = Field(None, description="That notifications may be sent to.", max_length=100)
    point: str = Field("", description="Connection point.", max_length=64)


class AccessBody(_Body):
    """Where a device is to stand with its operators."""

    access: str = Field(description="enabled, suspended or removed.", max_length=20)
    resource: str = Field("", description="That it is joined to by the way.", max_length=200)


class PinBody(_Body):
    """A device's PIN."""

    pin: int | None = Field(None, description="Five digits and their check digit; one by lot if absent.")


class RatesBody(_Body):
    """How often clients are to ask and to report."""

    poll_s: int | None = Field(None, description="Seconds between two requests.")
    post_s: int | None = Field(None, description="Seconds between two reports.")
    kind: str = Field("", description="Resource that is asked for so often; empty = all.", max_length=60)
    lfdi: _Lfdi = Field("", description="Of one device or aggregator; empty = all.")


class PointsBody(_Body):
    """The connection points that may be named."""

    points: dict[str, str] = Field(description="Identifier to the resource there, or to nothing.")


def device_routes(app: FastAPI, derms: Derms, authority: Callable[..., Scope]) -> None:
    """Devices that speak IEEE 2030.5, and the server that they speak to."""
    _looks(app, derms, authority)
    _of_one(app, derms, authority)
    _of_all(app, derms, authority)


def _looks(app: FastAPI, derms: Derms, authority: Callable[..., Scope]) -> None:
    who = Depends(authority)

    @app.get("/api/utility", tags=["read"])
    def utility(scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """The server at a glance: devices by state, refusals by cause, who is kept out."""
        return plain(derms.utility(scope))

    @app.get("/api/utility/rates", tags=["read"])
    def rates(scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """How often clients are told to ask and to report."""
        return plain(derms.rates(scope))

    @app.get("/api/utility/differs", tags=["read"])
    def differs(scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """Settings that devices tell and that are not what the registry says."""
        return plain(derms.differs(scope))

    @app.get("/api/utility/above", tags=["read"])
    def offered(scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """How this system stands as a client of a server above it."""
        return plain(derms.offered(scope))

    @app.get("/api/devices", tags=["read"])
    def devices(
        access: str = "",
        text: Annotated[str, Query(max_length=200)] = "",
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
        offset: Annotated[int, Query(ge=0)] = 0,
        scope: Scope = who,
    ) -> Any:  # noqa: ANN401 - plain JSON values
        """Devices, a page at a time."""
        return plain(derms.devices(scope, access=access, text=text, limit=limit, offset=offset))

    @app.get("/api/devices/{lfdi}", tags=["read"])
    def device(lfdi: str, scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """One device with all that is known of it."""
        return plain(derms.device(scope, lfdi))


def _of_one(app: FastAPI, derms: Derms, authority: Callable[..., Scope]) -> None:
    who = Depends(authority)

    @app.put("/api/devices/{lfdi}", tags=["write"])
    def enrol(lfdi: str, body: EnrolBody, scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """Register a device out of band, or say more of one that is known."""
        return plain(derms.enrol(scope, lfdi, **body.model_dump()))

    @app.put("/api/devices/{lfdi}/access", tags=["write"])
    def set_access(lfdi: str, body: AccessBody, scope: Scope = who) -> Any:  # noqa: ANN401 - the same
        """Approve, refuse, suspend or enable a device."""
        return plain(derms.set_access(scope, lfdi, **body.model_dump()))

    @app.put("/api/devices/{lfdi}/pin", tags=["write"])
    def set_pin(lfdi: str, body: PinBody, scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """Give a device another PIN."""
        return plain(derms.set_pin(scope, lfdi, **body.model_dump()))

    @app.put("/api/utility/denied/{lfdi}", tags=["write"])
    def deny(lfdi: str, *, why: _Why = "", scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """Keep a certificate out at the connection."""
        return plain(derms.deny(scope, lfdi, why=why))

    @app.delete("/api/utility/denied/{lfdi}", tags=["write"])
    def readmit(lfdi: str, *, why: _Why = "", scope: Scope = who) -> Any:  # noqa: ANN401 - the same
        """Let a certificate in again that was denied."""
        return plain(derms.readmit(scope, lfdi, why=why))


def _of_all(app: FastAPI, derms: Derms, authority: Callable[..., Scope]) -> None:
    who = Depends(authority)

    @app.put("/api/utility/rates", tags=["write"])
    def set_rates(body: RatesBody, scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """Tell clients to ask or to report more or less often."""
        return plain(derms.set_rates(scope, **body.model_dump()))

    @app.put("/api/utility/points", tags=["write"])
    def load_points(body: PointsBody, scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """Say which connection points devices may name from now on."""
        return plain(derms.load_points(scope, body.points, why=body.why))

    @app.post("/api/utility/revoked", tags=["write"])
    def read_revoked(*, why: _Why = "", scope: Scope = who) -> Any:  # noqa: ANN401 - plain JSON values
        """Read the revocation lists of the authority's folder again."""
        return plain(derms.read_revoked(scope, why=why))

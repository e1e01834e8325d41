"""REST: the façade's verbs over HTTP, a live stream, and the console's files."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as StarletteHTTPException

from gridflock import __version__
from gridflock.console._devices_rest import device_routes
from gridflock.console._flexibility_rest import flexibility_route
from gridflock.console._foresight_rest import foresight_routes
from gridflock.console._guard_rest import guard_routes
from gridflock.console._outlook import outlook_route
from gridflock.console._peer_rest import peer_routes
from gridflock.console._publish import publish_route
from gridflock.record import RecordError
from gridflock.runtime import AccessDenied, Derms, RequestRejected, Scope, UnknownName, Users, plain

LARGEST_BODY = 1_048_576
_LOOK_S = 0.1
_SIGN_OF_LIFE_S = 5.0
_BEARER = HTTPBearer(auto_error=False, description="Token printed once by `gridflock users add`.")
_POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
# The page at /docs starts its viewer by an inline script; the console has none.
_INLINE = "; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'"


Authority = Callable[..., Scope]
_UNKNOWN_CALLER = [{"field": "Authorization", "rule": "a valid bearer token", "reason": "missing or unknown"}]


class ProposalBody(BaseModel):
    """A proposal on a group: a wanted injection or bounds, for some minutes."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    group: str = Field(description="Group or resource id.", max_length=200)
    p_kw: float | None = Field(None, description="Wanted sum, kW, injection positive.")
    p_lo_kw: float | None = Field(None, description="Lower bound of the sum, kW.")
    p_hi_kw: float | None = Field(None, description="Upper bound of the sum, kW.")
    minutes: float = Field(60.0, description="How long.")
    why: str = Field("", description="In words; kept in the ledger.")


_Ids = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=100_000)]


class GroupBody(BaseModel):
    """A virtual DER: of resources, of groups, by rule, or all of these."""

    model_config = ConfigDict(extra="forbid")

    group: str = Field(description="Its id.", max_length=200)
    title: str = Field("", description="For the screen.", max_length=255)
    members: _Ids = Field([], description="Resource ids.")
    children: _Ids = Field([], description="Groups inside it.")
    parents: _Ids = Field([], description="Defined groups it becomes part of.")
    rule: str = Field("", description="Query over any attribute: who fulfils it is a member.")
    place: dict[str, Any] | None = Field(None, description="GeoJSON Polygon or MultiPolygon.")
    inside: _Ids = Field([], description="By rule only who is in one of these groups.")
    outside: _Ids = Field([], description="By rule only who is in none of these groups.")


class GroupChangeBody(BaseModel):
    """What is to be different with a virtual DER; what is absent stays."""

    model_config = ConfigDict(extra="forbid")

    version: str = Field("", description="The version the author knows; another is refused.", max_length=40)
    title: str | None = Field(None, description="For the screen.", max_length=255)
    join: _Ids = Field([], description="Resources that become members.")
    leave: _Ids = Field([], description="Resources that are members no longer.")
    children: _Ids | None = Field(None, description="All groups inside it from now on.")
    parents: _Ids | None = Field(None, description="All defined groups it is part of from now on.")
    rule: str | None = Field(None, description="Instead of the query it follows.")
    place: dict[str, Any] | None = Field(None, description="Instead of the polygon it follows.")
    inside: _Ids | None = Field(None, description="Instead of the groups its rule looks into.")
    outside: _Ids | None = Field(None, description="Instead of the groups its rule keeps out.")


class ClaimBody(BaseModel):
    """Something of a group or resource that is to be promised over a time."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    group: str = Field(description="Group or resource id.", max_length=200)
    kind: str = Field(description="What for: programme, offer, reserve, award …", max_length=40)
    up_kw: float = Field(0.0, description="Power to inject more or draw less, kW.")
    down_kw: float = Field(0.0, description="Power to inject less or draw more, kW.")
    e_kwh: float = Field(0.0, description="Energy in every day (UTC) that the time touches, kWh.")
    start: str = Field("", description="ISO 8601; now where empty.", max_length=40)
    minutes: float = Field(60.0, description="How long.")
    owner: str = Field("", description="To whom; the user where empty.")
    priority: str = Field("market", description="operator, event, market, schedule or regulation.")
    service: str = Field("", description="Name of the service; the kind where empty.")
    why: str = Field("", description="In words; kept in the ledger.")
    displace: bool = Field(default=False, description="Claims of weaker priority give way.")
    replaces: str = Field("", description="Id of a claim that goes if this one is held.", max_length=200)


class ShadowBody(BaseModel):
    """A second policy beside the one in force."""

    model_config = ConfigDict(extra="forbid")

    changes: dict[str, Any] = Field(
        {}, description="Settings in which it differs, by name; parts of parts with dots.", max_length=100
    )


def bare(users: Users) -> tuple[FastAPI, Authority]:
    """An application without a route, and what tells whose authority a caller has."""
    app: FastAPI = FastAPIOffline(
        title="Gridflock",
        version=__version__,
        description="An open, grid-aware DERMS. Sign: positive power is injection into the grid.",
        docs_url="/docs",
        redoc_url=None,
    )

    def authority(
        claims: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    ) -> Scope:
        scope = users.scope(claims.credentials) if claims else None
        if scope is None:
            raise HTTPException(401, _UNKNOWN_CALLER, {"WWW-Authenticate": "Bearer"})
        return scope

    _guards(app)
    return app, authority


def build(derms: Derms, users: Users) -> FastAPI:
    """The application of one running system."""
    app, authority = bare(users)
    _reads(app, derms, authority)
    _lists(app, derms, authority)
    _writes(app, derms, authority)
    _regroups(app, derms, authority)
    _compares(app, derms, authority)
    guard_routes(app, derms, authority)
    device_routes(app, derms, authority)
    foresight_routes(app, derms, authority)
    flexibility_route(app, derms, authority)
    publish_route(app, derms, authority)
    outlook_route(app, derms, authority)
    peer_routes(app, derms, authority)
    _stream(app, derms, users)
    _pages(app)
    return app


def _guards(app: FastAPI) -> None:
    """Bounds, headers, and errors in one shape: ``detail`` is a list of field, rule, reason."""

    @app.middleware("http")
    async def bound(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        length = request.headers.get("content-length", "0")
        known = length.isdecimal() and len(length) < 12 and "transfer-encoding" not in request.headers
        if not known or int(length) > LARGEST_BODY:
            return _fault(413, "body", f"at most {LARGEST_BODY} bytes, with its length", "too large")
        response = await call(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        if request.url.path.startswith("/docs"):
            response.headers["Content-Security-Policy"] = _POLICY + _INLINE
        return response

    _refusals(app)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        faults = [
            {"field": ".".join(map(str, e["loc"][1:])) or "body", "rule": e["type"], "reason": e["msg"]}
            for e in error.errors()
        ]
        return JSONResponse({"detail": faults}, 422, _HEADERS)

    @app.exception_handler(StarletteHTTPException)
    async def refused(_: Request, error: StarletteHTTPException) -> Response:
        if isinstance(error.detail, list):
            return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
        answer = _fault(error.status_code, "request", "a route of this API", str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        del error  # the server logs it; the caller learns nothing of our insides
        return _fault(500, "server", "no fault of the request", "an error inside; see the server's log")


def _refusals(app: FastAPI) -> None:
    """What the façade says no to."""

    @app.exception_handler(UnknownName)
    async def unknown(_: Request, error: UnknownName) -> Response:
        return _fault(404, "id", "must exist", str(error))

    @app.exception_handler(AccessDenied)
    async def denied(_: Request, error: AccessDenied) -> Response:
        return _fault(403, "Authorization", "authority over the group", str(error))

    @app.exception_handler(RequestRejected)
    async def rejected(_: Request, error: RequestRejected) -> Response:
        faults = {"detail": [plain(fault) for fault in error.faults]}
        later = {"Retry-After": str(error.later_s)} if error.later_s else None
        return JSONResponse(faults, 429 if later else 422, later)

    @app.exception_handler(RecordError)
    async def unrecorded(_: Request, error: RecordError) -> Response:
        reason = f"{type(error).__name__}: nothing was changed or sent"
        return _fault(503, "record", "recorded before it is sent", reason)

    @app.exception_handler(TimeoutError)
    async def unanswered(_: Request, error: TimeoutError) -> Response:
        return _fault(503, "server", "answers in time; what was asked may be done all the same", str(error))


def _fault(code: int, field: str, rule: str, reason: str) -> Response:
    return JSONResponse({"detail": [{"field": field, "rule": rule, "reason": reason}]}, code, _HEADERS)


def _reads(app: FastAPI, derms: Derms, authority: Authority) -> None:
    """What can be looked at. Work is array code in a worker thread, never in the event loop."""
    who = Depends(authority)

    @app.get("/api/status", tags=["read"])
    def status(scope: Scope = who) -> Any:
        """The system at a glance."""
        return plain(derms.status(scope))

    @app.get("/api/feeder", tags=["read"])
    def feeder(scope: Scope = who) -> Any:
        """The map: buses, branches, sections."""
        return plain(derms.feeder(scope))

    @app.get("/api/feeder/state", tags=["read"])
    def state(scope: Scope = who) -> Any:
        """Voltages, loadings, taps and broken limits as estimated now."""
        return plain(derms.state(scope))

    @app.get("/api/goals", tags=["read"])
    def goals(scope: Scope = who) -> Any:
        """What is wanted of the plans, and how far the plan in force got."""
        return plain(derms.goals(scope))

    @app.get("/api/groups", tags=["read"])
    def groups(scope: Scope = who) -> Any:
        """All virtual DERs with status and capability."""
        return plain(derms.groups(scope))

    @app.get("/api/groups/{group:path}", tags=["read"])
    def group(group: str, scope: Scope = who) -> Any:
        """One virtual DER: status, capability, forecast, children, members."""
        found = plain(derms.group(scope, group))
        return found.pop("group") | found

    @app.get("/api/delivery", tags=["read"])
    def delivery(scope: Scope = who) -> Any:
        return plain(derms.delivery(scope))


def _lists(app: FastAPI, derms: Derms, authority: Authority) -> None:
    """What can be listed."""
    who = Depends(authority)

    @app.get("/api/resources", tags=["read"])
    def resources(
        group: str = "all",
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
        query: str = "",
        scope: Scope = who,
    ) -> Any:
        """Members of a group that fulfil a query over any attribute."""
        return plain(derms.resources(scope, group, limit, query))

    @app.get("/api/doctor", tags=["read"])
    def examine(scope: Scope = who) -> Any:
        """What cannot be right in the data of the fleet."""
        return plain(derms.examine(scope))

    @app.get("/api/timeline", tags=["read"])
    def timeline(scope: Scope = who) -> Any:
        """Net load of the day: actual, forecast, plan."""
        return plain(derms.timeline(scope))

    @app.get("/api/plan", tags=["read"])
    def plan(scope: Scope = who) -> Any:
        """The plan in force and why it is so."""
        return plain(derms.plan(scope))

    @app.get("/api/explain", tags=["read"])
    def explain(
        name: Annotated[str, Query(max_length=200)],
        at: Annotated[str, Query(max_length=40)] = "",
        scope: Scope = who,
    ) -> Any:
        """Why a resource or group is, or was, to do what it does."""
        return plain(derms.explain(scope, name, at))

    @app.get("/api/events", tags=["read"])
    def events(after: int = 0, limit: Annotated[int, Query(ge=1, le=2_000)] = 100, scope: Scope = who) -> Any:
        """The newest events first."""
        return plain(derms.events(scope, after, limit))

    @app.get("/api/proposals", tags=["read"])
    def proposals(scope: Scope = who) -> Any:
        """Wishes in force or to come."""
        return plain(derms.proposals(scope))

    @app.get("/api/claims", tags=["read"])
    def claims(scope: Scope = who) -> Any:
        """What is promised, now or to come."""
        return plain(derms.claims(scope))

    @app.get("/api/audit", tags=["read"])
    def verify(scope: Scope = who) -> Any:
        """Walk the ledger's hash chain."""
        return plain(derms.verify(scope))


def _writes(app: FastAPI, derms: Derms, authority: Authority) -> None:
    """What can be asked."""
    who = Depends(authority)

    @app.post("/api/proposals", tags=["write"])
    def propose(body: ProposalBody, *, dry_run: bool = False, scope: Scope = who) -> Any:
        """Ask a group for an injection, or bound it. With ``dry_run`` nothing is recorded or sent."""
        return plain(derms.propose(scope, **body.model_dump(), dry_run=dry_run))

    @app.put("/api/goals", tags=["write"])
    def pursue(document: dict[str, Any], scope: Scope = who) -> Any:
        """State the goals of the system anew, all of them."""
        return plain(derms.pursue(scope, document))

    @app.delete("/api/proposals/{proposal_id}", tags=["write"])
    def withdraw(proposal_id: str, scope: Scope = who) -> Any:
        """Take a proposal back."""
        return plain(derms.withdraw(scope, proposal_id))


def _compares(app: FastAPI, derms: Derms, authority: Authority) -> None:
    """A second policy beside the one in force."""
    who = Depends(authority)

    @app.get("/api/shadow", tags=["read"])
    def shadow(scope: Scope = who) -> Any:
        """What the second policy would have done differently so far."""
        return plain(derms.shadow(scope))

    @app.post("/api/shadow", tags=["write"])
    def start_shadow(body: ShadowBody, scope: Scope = who) -> Any:
        """Let another policy decide beside the one in force; it sends nothing."""
        return plain(derms.start_shadow(scope, body.changes))

    @app.delete("/api/shadow", tags=["write"])
    def stop_shadow(scope: Scope = who) -> Any:
        """Take the second policy away; the difference is kept in the ledger."""
        return plain(derms.stop_shadow(scope))


def _regroups(app: FastAPI, derms: Derms, authority: Authority) -> None:
    """Virtual DERs defined, changed and deleted; claims made and given up."""
    who = Depends(authority)

    @app.post("/api/groups", tags=["write"])
    def define_group(body: GroupBody, scope: Scope = who) -> Any:
        """Make a virtual DER; it can be proposed on at once."""
        return plain(derms.define_group(scope, **body.model_dump()))

    @app.patch("/api/groups/{group:path}", tags=["write"])
    def change_group(group: str, body: GroupChangeBody, scope: Scope = who) -> Any:
        """Change a virtual DER that was defined; a stale version is refused."""
        return plain(derms.change_group(scope, group, **body.model_dump()))

    @app.delete("/api/groups/{group:path}", tags=["write"])
    def delete_group(group: str, *, version: str = "", cascade: bool = False, scope: Scope = who) -> Any:
        """Delete a virtual DER that was defined; with ``cascade`` proposals on it end."""
        return plain(derms.delete_group(scope, group, version=version, cascade=cascade))

    @app.post("/api/claims", tags=["write"])
    def claim(body: ClaimBody, scope: Scope = who) -> Any:
        """Promise something, if it can be served beside all that is promised."""
        return plain(derms.claim(scope, **body.model_dump()))

    @app.delete("/api/claims/{claim_id}", tags=["write"])
    def release(claim_id: str, scope: Scope = who) -> Any:
        """Give a claim up."""
        return plain(derms.release(scope, claim_id))


def _stream(app: FastAPI, derms: Derms, users: Users) -> None:
    """One JSON line per tick, for as long as the client listens and is known."""

    @app.get("/api/stream", tags=["read"])
    async def stream(
        request: Request, claims: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
    ) -> StreamingResponse:
        """Newline-delimited JSON, one object per tick."""
        token = claims.credentials if claims else ""
        if users.scope(token) is None:
            raise HTTPException(401, _UNKNOWN_CALLER, {"WWW-Authenticate": "Bearer"})

        async def lines() -> AsyncIterator[bytes]:
            tick, seq, told = -1, 0, time.monotonic()
            while not await request.is_disconnected():
                # Looking costs nothing; a thread that waited for each listener would.
                moment = derms.wait(tick, 0.0)
                if moment is not None:
                    scope = users.scope(token)
                    if scope is None:
                        return
                    # A tick may pass while the line is made: remember the one that it tells of.
                    tick, seq, line = await asyncio.to_thread(_line, derms, scope, seq)
                    told = time.monotonic()
                    yield line
                elif time.monotonic() - told > _SIGN_OF_LIFE_S:
                    told = time.monotonic()
                    yield b"\n"
                await asyncio.sleep(_LOOK_S)

        return StreamingResponse(lines(), media_type="application/x-ndjson")


def _line(derms: Derms, scope: Scope, seq: int) -> tuple[int, int, bytes]:
    """The newest tick and event, and the line that tells of them: events after ``seq`` (0: none yet)."""
    newest = max((e.seq for e in derms.events(scope, 0, 1)), default=0)
    events = derms.events(scope, seq, 100) if seq else []
    state, status = derms.state(scope), derms.status(scope)
    line = {
        "type": "tick",
        "status": plain(status),
        "v_pu": state.v_pu,
        "loading": state.loading,
        "events": plain(events),
        "delivery": plain(derms.delivery(scope)),
    }
    last = max([newest, *(e.seq for e in events)])
    return status.tick, last, json.dumps(line, allow_nan=False).encode() + b"\n"


def _pages(app: FastAPI) -> None:
    """The console's built files, or a page that says why they are not there."""
    static = Path(str(files("gridflock.console") / "static"))
    if (static / "index.html").is_file():
        app.mount("/", StaticFiles(directory=static, html=True), name="console")
        return

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def absent() -> str:
        return "<h1>Gridflock</h1><p>The console was not built. The API is at <a href='/docs'>/docs</a>.</p>"

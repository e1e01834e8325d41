"""Log events: what devices report of alarms and of themselves, newest first, so many of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gridflock.field.ieee2030_5._http import Answer
from gridflock.field.ieee2030_5.resources import LogEvent, LogEventList, LogFunctionSet
from gridflock.field.ieee2030_5.server._ownership import Need
from gridflock.field.ieee2030_5.server._paging import page, posted, single
from gridflock.field.ieee2030_5.server._rates import poll_s
from gridflock.field.ieee2030_5.server._registry import Device
from gridflock.field.ieee2030_5.server._routes import Route
from gridflock.field.ieee2030_5.server._state import Logged, State
from gridflock.field.ieee2030_5.server._turn import Ask, Change, Refused

_STANDARD = 2
"""``LogEvent.profile_id`` of IEEE 2030.5 itself; others name their function sets themselves."""
_SETS = {int(each): each.name.lower().replace("_", " ") for each in LogFunctionSet}
_SETS[LogFunctionSet.DER] = "DER"


@dataclass(frozen=True, slots=True)
class EventLogged(Change):
    """A device reported something."""

    device: int
    logged: Logged
    kept: int

    def __call__(self, state: State) -> None:
        state.logs[self.device] = (*state.logs.get(self.device, ()), self.logged)[-self.kept :]


CHANGES: tuple[type[Change], ...] = (EventLogged,)


def log_list(ask: Ask, about: Device) -> Answer:
    """A device's reports by the time they give, newest first."""
    rate_s = poll_s(ask.state, ask.policy, "LogEventList", ask.lfdi)
    head = LogEventList(href=f"{about.path}/lel", subscribable=1, poll_rate=rate_s)
    newest = sorted(
        ask.state.logs.get(about.number, ()),
        key=lambda each: (-each.event.created_date_time, -each.event.log_event_id, -each.number),
    )
    return page(
        ask,
        head,
        newest,
        lambda each: _shown(about, each),
        time_of=lambda each: each.event.created_date_time,
    )


def log_event(ask: Ask, about: Device, number: str) -> Answer:
    """One report."""
    logs = ask.state.logs.get(about.number, ())
    found = next((each for each in logs if str(each.number) == number), None)
    if found is None:
        raise Refused(404, "is no log event")
    return single(ask, f"{about.path}/lel/{number}", lambda: _shown(about, found))


def report(ask: Ask, about: Device) -> Answer:
    """A device reports something; the same again is known already."""
    sent = replace(posted(ask, LogEvent), href=None)
    logs = ask.state.logs.get(about.number, ())
    for each in logs:
        if each.event == sent:
            return Answer(201, location=f"{about.path}/lel/{each.number}")
    number = logs[-1].number + 1 if logs else 1
    ask.do(EventLogged(about.number, Logged(number, ask.now_s, sent), ask.policy.kept_logs))
    ask.touch(f"{about.path}/lel")
    return Answer(201, location=f"{about.path}/lel/{number}")


def logged_words(event: LogEvent) -> str:
    """A report as people read it."""
    name = function_set(event)
    words = f"function set {event.function_set}{name and f' ({name})'}, code {event.log_event_code}"
    return f"{words}: {event.details}" if event.details else words


def function_set(event: LogEvent) -> str:
    """Name of the function set that a report is about; empty where the standard gives it none."""
    return _SETS.get(event.function_set, "") if event.profile_id == _STANDARD else ""


def _shown(about: Device, logged: Logged) -> LogEvent:
    return replace(logged.event, href=f"{about.path}/lel/{logged.number}")


ROUTES = (
    Route("/edev/{}/lel", Need.DEVICE, {"GET": log_list, "POST": report}),
    Route("/edev/{}/lel/{}", Need.DEVICE, {"GET": log_event}),
)

"""A server in a process of its own that posts a reading, makes it durable and says so, until it is killed."""

import sys
from pathlib import Path

from gridflock.field.ieee2030_5._http import Caller, Request
from gridflock.field.ieee2030_5.identity import sfdi_of
from gridflock.field.ieee2030_5.resources import (
    DateTimeInterval,
    MirrorMeterReading,
    MirrorUsagePoint,
    Profile,
    Reading,
    ReadingType,
)
from gridflock.field.ieee2030_5.server import CHANGES, By, Journal, Policy, State, UtilityServer
from gridflock.field.ieee2030_5.server._devices import Enrolment, load
from gridflock.field.ieee2030_5.wire import write
from gridflock.record import open_record

LFDI = "AB" * 20


def ask(server, journal, now_s, path, resource):
    """Post a resource and make what it changed durable."""
    body = write(resource, Profile.SEP2018)
    request = Request("POST", path, {}, "", "application/sep+xml", body, Caller(LFDI, sfdi_of(LFDI), ""))
    answer, changes = server.answer(request, now_s)
    journal.write(changes, now_s)
    return answer


def main(folder):
    """Run for ever."""
    journal = Journal(open_record(Path(folder)), CHANGES)
    server = UtilityServer(Policy(pen=37250), State(), 0)
    _, changes = server.act(0, load, Enrolment(LFDI), By("operator", "a test"))
    journal.write(changes, 0)
    series = MirrorMeterReading(mrid="1" * 32, reading_type=ReadingType(uom=38))
    point = MirrorUsagePoint(
        mrid="A" * 32,
        role_flags=3,
        service_category_kind=0,
        status=1,
        device_lfdi=LFDI,
        mirror_meter_reading=(series,),
    )
    ask(server, journal, 0, "/mup", point)
    number = 0
    while True:
        period = DateTimeInterval(start=number * 300, duration=300)
        reading = MirrorMeterReading(mrid="1" * 32, reading=Reading(value=number, time_period=period))
        assert ask(server, journal, number, "/mup/1", reading).status == 201
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        number += 1
        if number == 20:
            journal.snapshot(server.state)


if __name__ == "__main__":
    main(sys.argv[1])

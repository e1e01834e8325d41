"""A utility server without sockets, clients that speak to it, and a world of them that asks at random."""

import hashlib
import random
from pathlib import Path

from lxml import etree

from gridflock.field.ieee2030_5 import resources
from gridflock.field.ieee2030_5._http import Caller, Request
from gridflock.field.ieee2030_5.identity import sfdi_of
from gridflock.field.ieee2030_5.resources import (
    ConnectionPoint,
    DateTimeInterval,
    DERControlBase,
    DERControlResponse,
    DERSettings,
    DERStatus,
    EndDevice,
    FlowReservationRequest,
    LogEvent,
    MirrorMeterReading,
    MirrorUsagePoint,
    Profile,
    Reading,
    ReadingType,
    Subscription,
)
from gridflock.field.ieee2030_5.server import CHANGES, Access, Assignment, By, Policy, State, UtilityServer
from gridflock.field.ieee2030_5.server._assignments import assign
from gridflock.field.ieee2030_5.server._controls import Wanted, make_control
from gridflock.field.ieee2030_5.server._devices import Enrolment, load, set_access
from gridflock.field.ieee2030_5.server._journal import changes_of, entry
from gridflock.field.ieee2030_5.server._priced import Block
from gridflock.field.ieee2030_5.server._prices import add_component, make_tariff, set_price
from gridflock.field.ieee2030_5.server._programs import make_program
from gridflock.field.ieee2030_5.server._serving import ROUTES
from gridflock.field.ieee2030_5.server._turn import make
from gridflock.field.ieee2030_5.wire import read, write

PEN = 37250
BY = By("operator", "a test")
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE"]
START = 1_699_999_800
ODD_NUMBERS = ["", "0", "-1", "9" * 30, "²", "1 ", "0x1", "5", "255", "1.5"]
ODD_OCTETS = [b"-", b"9" * 20, b"<x/>", b"&amp;", b" ", b"\xff", b"1e5", b"<!--a-->", b"<?a b?>"]


def schemas_of(shared):
    """From a profile to its schema, of the folder of reference data; empty where they are not at hand."""
    folder = Path(shared) / "data" / "schemas" / "ieee2030_5"
    if not folder.is_dir():
        return {}
    return {
        Profile.SEP2018: etree.XMLSchema(file=str(folder / "sep.xsd")),
        Profile.CSIPAUS12: etree.XMLSchema(file=str(folder / "csipaus-core.xsd")),
    }


def lfdi(number, pen=PEN):
    """An identifier that nobody else has: of a device, or of a site of the provider ``pen``."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:32].upper() + f"{pen:08X}"


class Speaker:
    """A client with a certificate of this LFDI; every answer is judged by the schema of its profile."""

    def __init__(self, utility, identifier, profile=Profile.SEP2018):
        self.utility, self.lfdi, self.profile = utility, identifier, profile

    def ask(self, method, path, body=b"", **query):
        """The answer, whatever it is."""
        caller = Caller(self.lfdi, sfdi_of(self.lfdi), "")
        kind = "application/sep+xml" if body else ""
        queried = {name: str(value) for name, value in query.items()}
        answer = self.utility.answer(Request(method, path, queried, "", kind, body, caller))
        if answer.body and path != "/.well-known/csipaus":
            self.utility.judge(answer.body, self.profile)
        return answer

    def get(self, path, of=None, **query):
        """The answer to a GET, or the resource in it if its class is given."""
        answer = self.ask("GET", path, **query)
        if of is None:
            return answer
        assert answer.status == 200, (path, answer)
        found = read(answer.body, of, self.profile)
        assert isinstance(found, of), found
        return found

    def post(self, path, resource):
        """The answer to a POST of a resource, or of bytes."""
        return self.ask("POST", path, self._body(resource))

    def put(self, path, resource):
        """The answer to a PUT of a resource, or of bytes."""
        return self.ask("PUT", path, self._body(resource))

    def delete(self, path):
        """The answer to a DELETE."""
        return self.ask("DELETE", path)

    def end_device(self, identifier=None, **more):
        """What it posts to register itself, or a site."""
        identifier = identifier or self.lfdi
        return EndDevice(
            **{"lfdi": identifier, "sfdi": sfdi_of(identifier), "changed_time": self.utility.now_s, **more}
        )

    def _body(self, resource):
        return resource if isinstance(resource, bytes) else write(resource, self.profile)


class Utility:
    """A server, its time, and its journal."""

    def __init__(self, schemas, now_s=1_700_000_000, **policy):
        self.now_s = now_s
        self.server = UtilityServer(Policy(**{"pen": PEN, **policy}), State(), now_s)
        self.journal = []
        self.alarms = []
        self._schemas = schemas

    def answer(self, request):
        """The server's answer now."""
        answer, changes = self.server.answer(request, self.now_s)
        self._keep(changes)
        return answer

    def act(self, verb, *args, **kwargs):
        """The result of an operator's verb now."""
        result, changes = self.server.act(self.now_s, verb, *args, **kwargs)
        self._keep(changes)
        return result

    def wait(self, seconds):
        """Time passes; what was due is returned, alarms are kept too."""
        self.now_s += seconds
        due, changes = self.server.advance(self.now_s)
        self._keep(changes)
        self.alarms.extend(due.alarms)
        return due

    def _keep(self, changes):
        if changes:
            self.journal.append(entry(changes, self.now_s))

    def enrol(self, number, profile=Profile.SEP2018, **more):
        """A client that the operator has loaded."""
        identifier = lfdi(number)
        loaded = self.act(load, Enrolment(**{"lfdi": identifier, "profile": profile, **more}), BY)
        assert loaded.lfdi == identifier
        return Speaker(self, identifier, profile)

    def stranger(self, number, profile=Profile.SEP2018):
        """Somebody with a good certificate whom nobody has loaded."""
        return Speaker(self, lfdi(number), profile)

    def judge(self, body, profile):
        """Nothing leaves that the schema does not admit."""
        schema = self._schemas.get(profile)
        if schema is not None:
            schema.assertValid(etree.fromstring(body))

    def relived(self):
        """The state that the journal gives."""
        state = State()
        for each in self.journal:
            for change in changes_of(each, CHANGES):
                make(change, state)
        return state


# ---- random requests ---------------------------------------------------------------------------------


def _patterns(place, prefix=""):
    """Every address there is, with ``{}`` at its numbers, and what can be done there."""
    if place.route is not None:
        yield prefix, sorted(place.route.methods)
    for name, inner in place.named.items():
        yield from _patterns(inner, f"{prefix}/{name}")
    if place.any is not None:
        yield from _patterns(place.any, prefix + "/{}")


class World:
    """Two aggregators with sites, two devices, a stranger; programs for some; and what each may see."""

    def __init__(self, utility, seed):
        self.utility, self.dice, self.steps = utility, random.Random(seed), 0
        self.speakers = [
            utility.enrol(
                "aggregator 1", Profile.CSIPAUS12, aggregator=True, pin=111115, hosts=("a.example",)
            ),
            utility.enrol("aggregator 2", aggregator=True, hosts=("b.example",)),
            utility.enrol("device 1", pin=111115),
            utility.enrol("device 2", Profile.CSIPAUS12),
            utility.stranger("stranger"),
        ]
        for k, speaker in enumerate(self.speakers[:2]):
            for site in range(2):
                identifier = utility.stranger(f"site {k} {site}").lfdi
                utility.act(load, Enrolment(identifier, owner=speaker.lfdi, point=f"NMI{k}{site}"), BY)
        self.programs = [utility.act(make_program, f"program-{k}", k, BY) for k in range(4)]
        self.assigned = {speaker.lfdi: k for k, speaker in enumerate(self.speakers[:4])}
        for program in self.programs:
            interval = DateTimeInterval(start=utility.now_s - 10, duration=86_400)
            wanted = Wanted(DERControlBase(op_mod_connect=True), interval.start, interval.duration)
            control = utility.act(make_control, program.number, wanted, BY)
            assert isinstance(control, resources.DERControl), control
        for k, program in enumerate(self.programs):
            tariff = utility.act(make_tariff, f"tariff-{k}", BY)
            assert tariff.number == program.number
            component = utility.act(add_component, tariff.number, "energy", ReadingType(uom=72), BY)
            utility.act(set_price, component.number, utility.now_s, 86_400, (Block(0, k),), BY)
        held = {
            lfdi: (Assignment("own", (self.programs[k].number,), (k + 1,)),)
            for lfdi, k in self.assigned.items()
        }
        assert utility.act(assign, held, BY) == ()
        self.patterns = sorted(_patterns(ROUTES._root))
        self.patterns += [each for each in self.patterns if each[1] != ["GET"]] * 2
        self.lfdis = [*(each.lfdi for each in self.speakers), *utility.server.state.registry.by_lfdi]

    def body(self, speaker, path):
        """Something to post: mostly what belongs at the address, often about somebody else."""
        kinds = {
            "edev": self._end_device,
            "mup": self._point,
            "ders": self._status,
            "derg": self._settings,
            "lel": self._log,
            "rsp": self._response,
            "sub": self._subscription,
            "frq": self._reservation,
            "cp": self._connection,
        }
        parts = path.split("/")
        kind = kinds.get(parts[-1]) or kinds.get(parts[1]) or self._log
        if len(parts) == 3 and parts[1] == "mup":
            kind = self._series
        if self.dice.random() < 0.2:
            kind = self.dice.choice([*kinds.values(), self._series])
        body = speaker._body(kind(speaker, self.dice.choice([speaker.lfdi, *self.lfdis])))
        return body[: self.dice.randrange(len(body))] if self.dice.random() < 0.05 else body

    def _end_device(self, speaker, lfdi):
        if self.dice.random() < 0.1:
            return EndDevice(sfdi=1, changed_time=0)
        return speaker.end_device(lfdi, device_category=self.dice.randrange(9))

    def _series(self, *_):
        number = self.dice.randrange(3)
        period = DateTimeInterval(start=START + 300 * number, duration=300)
        return MirrorMeterReading(
            mrid=f"{number:032X}",
            reading_type=ReadingType(uom=38),
            reading=Reading(value=self.dice.randrange(99), time_period=period),
        )

    def _point(self, _, lfdi):
        return MirrorUsagePoint(
            mrid=f"{self.dice.randrange(3):032X}",
            description=f"of {lfdi}"[:31],
            role_flags=3,
            service_category_kind=0,
            status=1,
            device_lfdi=lfdi,
            mirror_meter_reading=(self._series(),),
        )

    def _status(self, *_):
        return DERStatus(reading_time=self.dice.randrange(99))

    def _settings(self, *_):
        power = resources.ActivePower(multiplier=0, value=self.dice.randrange(99))
        return DERSettings(set_grad_w=1, set_max_w=power, updated_time=START)

    def _log(self, speaker, _):
        return LogEvent(
            created_date_time=START,
            details=f"secret {speaker.lfdi}"[:31],
            function_set=11,
            log_event_code=1,
            log_event_id=self.dice.randrange(99),
            log_event_pen=1,
            profile_id=2,
        )

    def _response(self, _, lfdi):
        subject = self.dice.choice([*self.utility.server.state.offered.by_mrid, "AB" * 16])
        return DERControlResponse(
            end_device_lfdi=lfdi, status=self.dice.choice([1, 2, 3, 99]), subject=subject
        )

    def _subscription(self, speaker, _):
        return Subscription(
            subscribed_resource=self.path(speaker)[1],
            encoding=0,
            level="+S1",
            limit=1,
            notification_uri=f"https://{self.dice.choice('abc')}.example/n",
        )

    def _reservation(self, *_):
        return FlowReservationRequest(
            mrid=f"{self.dice.randrange(3):032X}",
            creation_time=START,
            energy_requested=resources.SignedRealEnergy(multiplier=0, value=1),
            interval_requested=DateTimeInterval(start=self.utility.now_s, duration=3_600),
            power_requested=resources.ActivePower(multiplier=0, value=1),
            request_status=resources.RequestStatus(date_time=START, request_status=0),
        )

    def _connection(self, speaker, _):
        if speaker.profile < Profile.CSIPAUS12:
            return self._status()
        return ConnectionPoint(connection_point_id=f"NMI{self.dice.randrange(3)}{self.dice.randrange(3)}")

    def path(self, speaker):
        """A method and an address; its numbers are the speaker's own, somebody else's, or nobody's."""
        pattern, methods = self.dice.choice(self.patterns)
        method = self.dice.choice(methods if self.dice.random() < 0.8 else METHODS)
        numbers = [str(self.dice.choice([1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 99])) for _ in range(4)]
        state, own = self.utility.server.state, {}
        own["edev"] = [n for n, each in state.registry.devices.items() if each.owner == speaker.lfdi]
        own["mup"] = list(state.metering.of_owner.get(speaker.lfdi, ()))
        own["derp"] = own["tp"] = [self.assigned.get(speaker.lfdi, 0) + 1]
        mine = own.get(pattern.split("/")[1])
        if mine and self.dice.random() < 0.5:
            numbers[0] = str(self.dice.choice(mine))
        return method, pattern.format(*numbers)

    def owned(self, lfdi):
        """Identifiers that a caller may read."""
        devices = self.utility.server.state.registry.devices.values()
        return {lfdi, *(each.lfdi for each in devices if each.owner == lfdi)}

    def step(self, hostile=0.0):
        """Time passes, an operator may suspend and restore, and one request is answered and judged.

        Args:
            hostile: how often a request is broken: its method, address, query or body.

        Returns:
            The status of the answer.
        """
        self.utility.wait(self.dice.randrange(30))
        self._operate()
        speaker = self.dice.choice(self.speakers)
        method, path = self.path(speaker)
        body = self.body(speaker, path) if method in {"POST", "PUT"} else b""
        query = {} if self.dice.random() < 0.3 else {"l": self.dice.choice([0, 3, 255]), "s": 0}
        if self.dice.random() < hostile:
            method, path, query, body = self._broken(method, path, query, body)
        before = self.belongings(speaker)
        answer = speaker.ask(method, path, body, **query)
        assert answer.status < 500, (method, path, query, body)
        self.judge(speaker, answer, (method, path))
        assert self.belongings(speaker) == before, (method, path, query, body)
        return answer.status

    def _operate(self):
        self.steps += 1
        if self.steps % 100 == 50:
            victim = self.dice.choice(self.speakers[:4]).lfdi
            self.utility.act(set_access, victim, Access.SUSPENDED, BY)
        if self.steps % 100 == 80:
            for speaker in self.speakers[:4]:
                self.utility.act(set_access, speaker.lfdi, Access.ENABLED, BY)

    def _broken(self, method, path, query, body):
        """The request with one part of it as nobody should send it."""
        match self.dice.randrange(6):
            case 0:
                method = self.dice.choice(["PATCH", "", "get"])
            case 1:
                path = "".join(
                    self.dice.choice("/edvmup123%\0é²{}..") for _ in range(self.dice.randrange(20))
                )
            case 2:
                query = {self.dice.choice("slax"): self.dice.choice(ODD_NUMBERS) for _ in range(2)}
            case _:
                for _ in range(self.dice.randrange(1, 4)):
                    body = self._broken_body(body)
        return method, path, query, body

    def _broken_body(self, body):
        at, many = self.dice.randrange(len(body) + 1), self.dice.randrange(1, 200)
        match self.dice.randrange(4):
            case 0:
                return body[:at] + bytes([self.dice.randrange(256)]) + body[at + 1 :]
            case 1:
                return body[:at] + body[at + many :]
            case 2:
                return body[:at] + body[at : at + many] + body[at:]
            case _:
                return body[:at] + self.dice.choice(ODD_OCTETS) + body[at:]

    def judge(self, speaker, answer, what):
        """Nothing of anybody else is in an answer."""
        text = answer.body.decode() + answer.location
        strangers = set(self.lfdis) - self.owned(speaker.lfdi)
        assert not [each for each in strangers if each in text], what
        own = self.assigned.get(speaker.lfdi)
        others = [k for k in range(len(self.programs)) if k != own]
        assert not [k for k in others if f"program-{k}" in text or f"tariff-{k}" in text], what
        secrets = [f"secret {each.lfdi[:20]}" for each in self.speakers if each is not speaker]
        assert not [each for each in secrets if each in text], what

    def belongings(self, speaker):
        """What is not the speaker's: none of it may change by what the speaker asks.

        What somebody merely claims of the speaker itself is nobody's: it ends when the speaker comes.
        """
        state, me = self.utility.server.state, speaker.lfdi
        claimed = {n for n, each in state.registry.devices.items() if each.claim and each.lfdi == me}
        devices = {
            n: each for n, each in state.registry.devices.items() if each.owner != me and n not in claimed
        }
        mirrors = {
            n: each
            for n, each in state.metering.mirrors.items()
            if each.owner != me and each.device not in claimed
        }
        held = {n: each for n, each in state.assignments.held.items() if n in devices}
        logs = {n: each for n, each in state.logs.items() if n in devices}
        told = {n: dict(each) for n, each in state.equipment.told.items() if n in devices}
        series = {n: each for n, each in state.metering.series.items() if each.mirror in mirrors}
        said = {n: each for n, each in state.responses.said.items() if each.device in devices}
        clients = {n: each for n, each in state.registry.clients.items() if n != me}
        programs = dict(state.offered.programs)
        asked = {n: dict(each) for n, each in state.reserved.asked_for.items() if n in devices}
        wishes = {n: each for n, each in state.subscribed.wishes.items() if each.device in devices}
        return (
            *(devices, mirrors, held, logs, told, series, said, clients, programs, asked, wishes),
            dict(state.prices.tariffs),
        )

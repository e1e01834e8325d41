"""Very many devices over mutual TLS at twenty times the usual rates, with losses and a restart in between."""

import time
from collections import Counter, defaultdict

import numpy as np
import pytest

from gridflock.field.ieee2030_5 import _map, identity
from gridflock.field.ieee2030_5._connect import Connection, Server
from gridflock.field.ieee2030_5._field import UtilityField
from gridflock.field.ieee2030_5._limits import Limits
from gridflock.field.ieee2030_5._listen import Security
from gridflock.field.ieee2030_5._tls import client_context, server_context
from gridflock.field.ieee2030_5._utility import Reachable, Utility
from gridflock.field.ieee2030_5.device import Identity
from gridflock.field.ieee2030_5.events import latest_end_s
from gridflock.field.ieee2030_5.resources import DefaultDERControl, DERControlBase
from gridflock.field.ieee2030_5.server import By, Policy
from gridflock.field.ieee2030_5.server._devices import Enrolment, load
from gridflock.field.ieee2030_5.server._rates import set_poll_rate
from gridflock.model import Orders, OutcomeStatus
from gridflock.record import open_record
from gridflock.runtime.devices import Faults, Simulated, VirtualDevices
from gridflock.runtime.devices._speaking import Steps
from gridflock.schema import QUANTITY, Kind

T0 = 1_750_000_020 - 1_750_000_020 % 60
PERIOD_S, VALID_S, MINUTES = 15, 120, 30
CUT_AT, RESTART_AT, BACK_AT = 8, 15, 24
"""Minutes: a tenth of the devices lose all contact, the server starts again, they are back."""
LATE = 2
"""Minutes without losses at the end, in which what is kept is told and the last orders end."""
SELDOM_S = 45
"""Between two requests for the first page, or for the time: a twentieth of the usual 15 minutes."""
DEFAULT = 5_000
PIN = 111_115
BY = By("operator", "a story")
HARDWARE = "1.3.6.1.4.1.40732.99.1"
P_KW = list(QUANTITY).index("p_kw")


class _Network:
    """A server that can start again, and its devices."""

    def __init__(self, folder, count):
        self.folder, self.names = folder, tuple(f"d-{k}" for k in range(count))
        self.clock, self.port, self.order_id = Steps(T0), 0, 0
        issued_s = int(time.time()) - 60
        self.authority = identity.Authority.make(folder / "pki", "Story", issued_s, tests=True)
        self.authority.issue_devices(
            [(name, identity.HardwareName(HARDWARE, name.encode())) for name in self.names], issued_s
        )
        self.authority.issue_service("utility", ["localhost"], 30, issued_s)
        self.people = {each.name: each for each in self.authority.issued}
        self.trust = identity.trust_from((folder / "pki" / "trust.pem").read_bytes(), issued_s, tests=True)
        self.plates = [_map.Plate(name, 5.0, 0.0) for name in self.names]
        self.heard, self.twice, self.requests = defaultdict(set), 0, 0
        self.answers, self.sent = Counter(), {}
        self.open()
        plants = {
            plate.id: Simulated(plate, Kind.PV_ROOFTOP, {"p_kw": 4.0, "p_avail_kw": 4.0, "ready": 1.0})
            for plate in self.plates
        }
        identities = {
            name: Identity(self.people[name].lfdi, self.people[name].sfdi, PIN) for name in self.names
        }
        faults = Faults(lost_share=0.05, answers_lost_share=0.05)
        self.devices = VirtualDevices(plants, identities, self._dial, faults)
        self.devices.begin(T0, over_s=30)

    def _files(self, name):
        at = self.folder / "pki" / "issued" / name
        return at / "chain.pem", at / "key.pem"

    def _dial(self, name):
        context = client_context(*self._files(name), self.trust)
        return Connection(
            Server("localhost", self.port, address="127.0.0.1"), context, self.trust, jitter=lambda: 0.0
        )

    def open(self):
        """The server on its memory, on the port it had."""
        self.record = open_record(self.folder / "server")
        security = Security(server_context(*self._files("utility"), self.trust), self.trust)
        limits = Limits(per_s=1e6, burst=10**6)
        policy = Policy(pen=37_250, poll_s=PERIOD_S, post_s=PERIOD_S, headroom=1e5)
        reachable = Reachable("127.0.0.1", self.port, limits)
        self.utility = Utility(policy, self.record, security, self.clock, reachable)
        self.port = self.utility.start()
        if not self.heard:
            for name in self.names:
                known = Enrolment(lfdi=self.people[name].lfdi, pin=PIN, resource=name)
                self.utility.act(load, known, BY)
            for kind in ("DeviceCapability", "Time"):
                self.utility.act(set_poll_rate, kind, SELDOM_S, BY)
        self.field = UtilityField(self.utility, self.plates)
        default = DefaultDERControl(mrid="00", der_control_base=DERControlBase(op_mod_max_lim_w=DEFAULT))
        self.field.place({}, default)

    def shut(self):
        self.utility.stop(0.5)
        self.record.close()

    def close(self):
        self.devices.close()
        self.shut()

    def order(self, minute):
        """One order for everybody, another one every five minutes."""
        n = len(self.names)
        ids = np.arange(self.order_id, self.order_id + n)
        self.order_id += n
        self.sent |= dict(zip(ids.tolist(), self.names, strict=True))
        p_kw = np.full(n, 1.0 + minute // 5 % 2, np.float32)
        self.field.send(
            Orders(
                self.names, np.arange(n, dtype=np.int32), ids, p_kw, np.full(n, self.now_s + VALID_S),
                np.zeros(n, np.int16), ("story",), self.now_s,
            )
        )  # fmt: skip

    @property
    def now_s(self):
        return self.clock.now_s()

    def live(self, seconds):
        """Step by step, as devices want to be visited."""
        end_s = self.now_s + seconds
        while (due_s := self.devices.due_s()) is not None and due_s <= end_s:
            self.clock.set(due_s)
            self.utility.wake()
            self.devices.live(due_s)
        self.clock.set(end_s)
        self.utility.wake()

    def listen(self):
        """Take readings and answers, as a tick does."""
        told = self.field.read(self.now_s)
        for row, quantity, time_s in zip(told.index, told.quantity, told.time_s, strict=True):
            if quantity == P_KW:
                seen = self.heard[told.ids[row]]
                self.twice += int(time_s) in seen
                seen.add(int(time_s))
        answers = self.field.outcomes(self.now_s)
        for row, order_id, status in zip(answers.index, answers.order_id, answers.status, strict=True):
            assert self.sent[int(order_id)] == answers.ids[row], "an answer found another's order"
            self.answers[int(order_id), OutcomeStatus(status)] += 1

    def sites(self):
        return {name: site for name, client in self.devices.clients.items() for site in client.sites.values()}


def _overdue(network):
    """Devices that still follow what ended more than a period ago, or that follow nothing at all."""
    wrong = []
    for name, site in network.sites().items():
        if site.standing is None:
            continue
        ends = [latest_end_s(each) for each in site.standing.controls]
        late = any(end_s + PERIOD_S < network.now_s for end_s in ends)
        if late or (not ends and site.standing.base.op_mod_max_lim_w != DEFAULT):
            wrong.append(name)
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize("count", [12, pytest.param(1_000, id="thousand", marks=pytest.mark.timeout(7_200))])
def test_losses_and_a_restart_cost_neither_a_default_nor_an_answer_nor_a_reading(count, tmp_path):
    """Half an hour at 15 s, a tenth of all requests lost, a tenth of the devices cut off for 16 minutes."""
    begun_s, begins_s = time.process_time(), time.monotonic()
    network = _Network(tmp_path, count)
    cut = network.names[::10]
    fell = set()
    try:
        network.live(60)
        for minute in range(MINUTES):
            for name in cut:
                network.devices.lines[name].cut = CUT_AT <= minute < BACK_AT
            if minute == RESTART_AT:
                network.listen()
                network.listen()  # what was handed out is recorded when more is asked for
                network.requests = network.utility.counts()["requests"]
                network.shut()
                network.open()
            network.order(minute)
            network.live(60)
            network.listen()
            assert _overdue(network) == []
            if CUT_AT <= minute < BACK_AT:
                fell |= {name for name in cut if not network.sites()[name].standing.controls}
        assert fell == set(cut)
        for line in network.devices.lines.values():
            line._faults = Faults()
        network.live(60 * LATE)
        network.listen()
        requests = network.utility.counts()
        said = network.utility.act(lambda turn: tuple(turn.state.responses.said.values()))
    finally:
        network.close()
    statuses = Counter(status.name for _, status in network.answers)
    accepted = {order_id for order_id, status in network.answers if status is OutcomeStatus.ACCEPTED}
    assert {order_id for order_id, _ in network.answers} == set(network.sent), (
        "an order of which nothing is told"
    )
    unheard = {order_id for order_id, name in network.sent.items() if name not in cut} - accepted
    assert unheard == set(), "a device in contact did not answer in time"
    assert {network.sent[order_id] for order_id in accepted} == set(network.names)
    assert max(network.answers.values()) <= 2, "received and started, and no third time"
    assert max(Counter((each.device, each.subject, each.status) for each in said).values()) == 1
    assert network.twice == 0, "a reading came twice"
    assert not [rule for rule in requests if rule.startswith("refused") and "rsps" in rule]
    minutes = range(T0 + 120, T0 + 60 * MINUTES, 60)
    missing = {name: [s for s in minutes if s not in network.heard[name]] for name in network.names}
    assert {name: lost for name, lost in missing.items() if lost} == {}
    readings = sum(map(len, network.heard.values()))
    lost = sum(line.lost for line in network.devices.lines.values())
    dialled = (line._line.counts for line in network.devices.lines.values())
    handshakes = sum(
        (Counter({k: n for k, n in each.items() if "shake" in k}) for each in dialled), Counter()
    )
    cpu_s, wall_s = time.process_time() - begun_s, time.monotonic() - begins_s
    told = (
        f"{count} devices: {network.requests + requests['requests']} requests, {lost} more lost",
        f"answers to {len(network.sent)} orders: {dict(statuses)}",
        f"{len(said)} responses, {readings} readings, handshakes {dict(handshakes)}",
        f"{cpu_s:.0f} s of processor time, {wall_s:.0f} s in all",
    )
    print("; ".join(told))  # noqa: T201 - the figures of a long run

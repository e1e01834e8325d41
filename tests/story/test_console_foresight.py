"""The operator's story in a real browser: what is coming, who can prevent it, which devices answer."""

import re
from contextlib import contextmanager

import pytest

from gridflock.runtime import plain
from gridflock.runtime._foresight_views import (
    CardView,
    DriftView,
    EmergingView,
    FaultView,
    HelperView,
    HiddenSunView,
    LimitView,
    MarksView,
    NearView,
)
from gridflock.runtime._utility_views import (
    DeviceDetail,
    DevicePage,
    DeviceView,
    EffectiveView,
    ResponseView,
    UtilityView,
)

pytestmark = pytest.mark.timeout(240)

T = [f"2026-07-15T{h:02}:00:00Z" for h in range(21, 24)] + [f"2026-07-16T{h:02}:00:00Z" for h in range(6)]


def _limit(kind, element, chance, step, need_kw, helpers=()):
    """A limit that may break in one step."""
    by_step = [0.0] * (len(T) - 1)
    by_step[step] = chance
    return LimitView(kind, element, chance, T[step], 0.01, need_kw, by_step, list(helpers))


def _emerging(resource):
    """Limits in the server's order, the likeliest first; the later of two likely ones is the likelier."""
    limits = [
        _limit("voltage high", "83.a", 0.93, 6, 12.0),
        _limit("thermal", "xfm1", 0.71, 2, 4.0, [HelperView(resource, -2.5, 1.2)]),
        _limit("voltage low", "66.c", 0.12, 1, None),
    ]
    return EmergingView(T[0], T, 100, "past days", 0.0, limits, len(limits))


def _card(series):
    """A card on which one series has a champion that drifts."""
    marks = [
        MarksView(series, name, name == "learned", 14, 24.4, 0.02, 10.3, 20.6, ratio, 0.57)
        for name, ratio in (("habits", 1.0), ("learned", 0.83))
    ]
    drift = [DriftView(series, "narrow", "learned", 0.57, "2026-07-02T04:00:00Z")]
    fault = FaultView(series, "clock shift", T[0], T[1], "an hour late", "shifted")
    hidden = [HiddenSunView("load-17", 4.2, 0.11, 0.8, "")]
    near = [NearView(series, 6, 9.0, 0.66, 0.79, 1.0)]
    return CardView(T[0], 42, 21, T[-1], {"sun": 8}, [], marks, drift, [fault], hidden, 91, near)


DEVICE = DeviceView(
    "3E4F45AB31EDFE5B67E343E5E4562E31984E23E5", 167_261_211_391, "", "a new inverter", "pending", False,
    "in band", T[0], "", "csipaus12", "", T[0], "", "", 300, 300, "", "",
)  # fmt: skip
UTILITY = UtilityView("127.0.0.1", 8443, "ask", 1, 11, 0, 0, 11, 2, 0, 0, 0, 0, [], [], 0, {"bad_request": 3})
DETAIL = DeviceDetail(
    DEVICE, "", [], 1, 1, [EffectiveView("opModMaxLimW", "60 %", "", "")],
    [ResponseView("0A" * 16, "event_started", T[0])], [], [],
)  # fmt: skip


@pytest.fixture(scope="module")
def address(tmp_path_factory, demo):
    """A running demo; its stories change nothing."""
    with demo(tmp_path_factory.mktemp("foresight"), ders=150) as found:
        yield found


@contextmanager
def _opened(browser, address, faults=()):
    """The page, ready; errors other than those of a request that is meant to fail end the story.

    Who asks while the last question is still worked out may be told to come again (429), and does.
    """
    seen = []
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.on("console", lambda m: seen.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: seen.append(str(e)))
    page.set_default_timeout(20_000)
    page.goto(address)
    page.get_by_role("row", name=re.compile("All resources")).wait_for()
    yield page
    page.close()
    assert not [text for text in seen if not any(known in text for known in (*faults, "429"))]


def _panel(page, name):
    return page.get_by_role("region", name=name, exact=True)


def _open(page, name):
    page.get_by_role("navigation", name="Pages").get_by_role("button", name=name).click()


def _tell(page, path, view):
    """Answer a route with a view of the façade."""
    page.route(path, lambda route: route.fulfill(json=plain(view)))


def test_an_operator_looks_ahead(browser, address):
    """By keyboard to the limits; the head's fan, then a chosen group's, with its flexibility.

    Arrow keys read the chart. Pages that are not open ask nothing.
    """
    asked = []
    with _opened(browser, address) as page:
        page.on("request", lambda r: asked.append(r.url))
        page.wait_for_timeout(1_500)
        assert not [url for url in asked if re.search("emerging|outlook|flexibility|card|device", url)]
        page.keyboard.press("g")
        page.keyboard.press("l")
        limits, forecast, able = (_panel(page, n) for n in ("Emerging limits", "Forecast", "Flexibility"))
        limits.get_by_text(re.compile("futures of the plan of")).wait_for()
        assert page.url.endswith("#foresight")
        forecast.get_by_role("img", name=re.compile("Feeder head: from .* median")).wait_for()
        forecast.get_by_text(re.compile("of 21 days known, habits tell until then")).wait_for()
        page.get_by_role("searchbox", name="Search groups").fill("pv rooftop")
        page.get_by_role("row", name=re.compile("pv rooftop")).click()
        fan = forecast.get_by_role("img", name=re.compile("pv rooftop: from"))
        fan.wait_for()
        fan.focus()
        page.keyboard.press("End")
        forecast.get_by_text(re.compile(r"P90 [+−\d]")).wait_for()
        able.get_by_role("img", name=re.compile("Flexibility of pv rooftop for 4 h")).wait_for()
        able.get_by_role("combobox", name="Called so long before").select_option("4 h")
        able.get_by_text(re.compile("beside what it does unasked")).wait_for()
        assert [url for url in asked if "flexibility?group=type%2Fpv_rooftop&hours=6&notice_s=14400" in url]
        page.go_back()
        _panel(page, "Propose").wait_for()


def test_what_is_likely_and_soon_stands_first_and_can_be_proposed(browser, address):
    """Likely before possible, then the earliest; who can prevent it leads to a filled form and a preview."""
    with _opened(browser, address) as page:
        page.get_by_role("searchbox", name="Search groups").fill("battery home")
        page.get_by_role("row", name=re.compile("^battery home")).click()
        device = _panel(page, "Selected group").locator("[data-item]").first
        resource = device.locator("span").first.inner_text().removeprefix("◌ ")
        _tell(page, "**/api/emerging*", _emerging(resource))
        _open(page, "Foresight")
        limits = _panel(page, "Emerging limits")
        limits.get_by_role("button", name=re.compile("xfm1")).click()
        titles = limits.locator("li .what > b").all_inner_texts()
        assert titles == ["Overload of transformer xfm1", "High voltage at 83.a", "Low voltage at 66.c"]
        assert "nobody can prevent it" in limits.locator("li").last.inner_text()
        assert "◇ ahead" in _panel(page, "Feeder map").inner_text()
        limits.get_by_role("button", name=f"Propose with {resource}").click()
        form = _panel(page, "Propose")
        form.get_by_text(resource).wait_for()
        assert "Overload of transformer xfm1" in form.locator("#want-why").input_value()
        form.get_by_text("2.5 kW less injection or more load").wait_for()
        form.get_by_role("button", name="Preview").click()
        page.wait_for_selector("#send:not([disabled])")


def test_a_slow_or_failing_server_is_told_and_left(browser, address):
    """A slow answer shows its age and can be given up; leaving the page ends its request.

    A refusal is in words, and the rest of the page goes on.
    """
    ended = []
    with _opened(browser, address, faults=("503",)) as page:
        page.on("requestfailed", lambda r: ended.append(r.url))
        page.route("**/api/emerging*", lambda _: None)
        page.route(
            "**/api/card*",
            lambda route: route.fulfill(status=503, json={"detail": [{"reason": "too busy"}]}),
        )
        _open(page, "Foresight")
        limits = _panel(page, "Emerging limits")
        limits.get_by_text(re.compile("drawing futures through the power flow … 2 s")).wait_for()
        limits.get_by_role("button", name="Give up").click()
        limits.get_by_text("Given up.").wait_for()
        _panel(page, "Forecast").get_by_text("✕ too busy").wait_for()
        _panel(page, "Forecast").get_by_role("img", name=re.compile("Feeder head: from")).wait_for()
        assert len(ended) == 1
        limits.get_by_role("button", name="Look again").click()
        limits.get_by_text(re.compile("drawing futures")).wait_for()
        _open(page, "Operate")
        _panel(page, "Propose").wait_for()
        for _ in range(20):
            if len([url for url in ended if "emerging" in url]) == 2:
                break
            page.wait_for_timeout(100)
        else:
            pytest.fail("the request went on")


def test_the_score_card_says_who_is_believed(browser, address):
    """Champion, CRPS against habits, coverage, drift in words, faults of the data, reliability."""
    with _opened(browser, address) as page:

        def reliable(route):
            answer = route.fetch()
            told = answer.json()
            for part in told["parts"]:
                part.update(steps=1_344, below=told["levels"])
            route.fulfill(response=answer, json=told)

        page.route("**/api/outlook*", reliable)
        _tell(page, "**/api/card*", _card("plan/sun/residential/s5"))
        _open(page, "Foresight")
        forecast = _panel(page, "Forecast")
        row = forecast.get_by_role("row", name=re.compile("sun s5 · residential"))
        row.get_by_text(re.compile("band too narrow since")).wait_for()
        assert all(word in row.inner_text() for word in ("learned", "24", "0.83", "57 %", "0.66"))
        row.get_by_role("button").click()
        plot = "Reliability of sun s5 · residential: 10 % of truths below P10"
        forecast.get_by_role("img", name=re.compile(plot)).wait_for()
        forecast.get_by_text("1 fault of the data").click()
        forecast.get_by_text(re.compile("an hour late; shifted")).wait_for()
        forecast.get_by_text("Sun behind 1 of 91 meters").click()
        forecast.get_by_text(re.compile("load-17: peak 4.2 kW")).wait_for()


def test_devices_are_seen_and_let_in(browser, address):
    """Without a server that is said. With one: who is registered, waits, is lost; who waits is let in."""
    sent = []
    with _opened(browser, address, faults=("404",)) as page:
        _open(page, "Devices")
        devices = _panel(page, "Devices")
        devices.get_by_text("This system serves no devices").wait_for()
        _tell(page, "**/api/utility", UTILITY)
        _tell(page, "**/api/devices?*", DevicePage(1, 0, [DEVICE]))
        _tell(page, f"**/api/devices/{DEVICE.lfdi}", DETAIL)

        def let_in(route):
            sent.append(route.request.post_data_json)
            route.fulfill(json=plain(DEVICE))

        page.route("**/api/devices/*/access", let_in)
        _open(page, "Operate")
        _open(page, "Devices")
        devices.get_by_role("button", name="a new inverter").click()
        figures = devices.locator(".figures").inner_text()
        assert re.search(r"registered\s+11", figures)
        assert re.search(r"waiting\s+1", figures)
        assert re.search(r"lost\s+▲ 2", figures)
        chosen = _panel(page, "Chosen device")
        chosen.get_by_role("row", name=re.compile("opModMaxLimW 60 %")).wait_for()
        chosen.get_by_role("textbox").fill("inspected")
        chosen.get_by_role("button", name="Approve").click()
        for _ in range(20):
            if sent:
                break
            page.wait_for_timeout(100)
    assert sent == [{"access": "enabled", "why": "inspected"}]

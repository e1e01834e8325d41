"""The operator's story in a real browser: look at the feeder, preview, send, see it, take it back."""

import pytest

COLOURS = """() => {
    const canvas = document.querySelector('#feeder-map');
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    const seen = new Set();
    for (let i = 0; i < data.length; i += 4) seen.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]);
    return seen.size;
}"""


@pytest.mark.timeout(240)
def test_an_operator_previews_sends_and_takes_back_a_proposal(tmp_path, demo, browser):
    """The map draws; a proposal is previewed, sent, appears in the event list, and can be withdrawn.

    The page logs no error and asks nothing of any other host.
    """
    faults, strangers = [], []
    with demo(tmp_path) as address:
        home = address.split("/#")[0]
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: faults.append(str(e)))
        page.on("request", lambda r: strangers.append(r.url) if not r.url.startswith(home) else None)
        page.goto(address)
        page.wait_for_selector("#feeder-map")
        page.wait_for_selector("[data-panel=groups] [data-item]")
        assert "token" not in page.url
        # The page's own policy forbids eval, which waiting for a function would need: look in turns.
        for _ in range(100):
            if page.evaluate(COLOURS) > 8:
                break
            page.wait_for_timeout(100)
        else:
            pytest.fail("the map stayed blank")
        page.fill("[data-panel=groups] input", "battery home")
        page.click("[data-panel=groups] [data-item]:has-text('battery home')")
        page.click("[data-panel=detail] [data-explain]")
        page.wait_for_selector("[data-panel=detail] [data-reason]:has-text('kWh is worth')")
        page.fill("#want-kw", "20")
        page.fill("#want-minutes", "15")
        page.fill("#want-why", "browser story")
        page.click("#preview")
        page.wait_for_selector("#send:not([disabled])")
        page.screenshot(path=str(tmp_path / "preview.png"))
        page.click("#send")
        page.wait_for_selector("[data-panel=propose] [role=status]")
        page.wait_for_selector("#events li:has-text('browser story')")
        page.wait_for_selector("#active li:has-text('browser story')")
        page.click("#active .withdraw")
        page.wait_for_selector("#active", state="detached")
        page.wait_for_selector("#events li:has-text('withdrawn')")
        page.screenshot(path=str(tmp_path / "after.png"))
        page.close()
    assert not faults
    assert not strangers


@pytest.mark.timeout(240)
def test_an_operator_sets_a_mode_and_the_kill_switch(tmp_path, demo, browser):
    """A feeder becomes advisory with a reason; all to default asks for a word first, and shows until when.

    One person alone does not end it.
    """
    faults = []
    with demo(tmp_path) as address:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: faults.append(str(e)))
        page.goto(address)
        page.wait_for_selector("[data-panel=guard] #modes li:has-text('section/s2')")
        page.fill("#guard-why", "works on the line")
        page.select_option("#modes li:has-text('section/s2') select", "advisory")
        page.wait_for_selector("#modes li.advisory:has-text('section/s2')")
        page.wait_for_selector("#events li:has-text('works on the line')")
        page.click("#all-to-default")
        page.fill("#default-why", "browser drill")
        assert page.is_disabled("#default-send")
        page.fill("#default-word", "default")
        page.click("#default-send")
        page.wait_for_selector("[data-panel=guard] [role=alert]:has-text('All to default')")
        page.wait_for_selector("#events li:has-text('browser drill')")
        page.click("#end-default")
        page.wait_for_selector("[data-panel=guard] [role=alert]:has-text('one more person')")
        page.screenshot(path=str(tmp_path / "guard.png"))
        page.close()
    assert not faults

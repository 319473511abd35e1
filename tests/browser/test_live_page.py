"""The live page in a real browser: two minutes at once, curves that grow, what happened and where, the badge, nothing
fetched from outside."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import live_feed
import pytest
from browser_kit import fits, models, serving, watched_tab
from playwright.sync_api import Page, WebSocketRoute

from duco_workbench import testing
from duco_workbench.testing import until

HZ = 5.0

CURVES = """(models) => {
  const found = {}
  for (const model of models) {
    if (model.type === "ColumnDataSource" && model.name?.includes("@")) {
      const t = model.data.t
      found[model.name] = {points: t.length, first: t[0], newest: t[t.length - 1]}
    }
  }
  return found
}"""


class Feed:
    """A machine that sends until it is stopped."""

    def __init__(self, live_url: str, chassis_id: str, hz: float = HZ, everything: bool = False) -> None:
        self._stop = threading.Event()
        seq, ts = live_feed.write_past(live_url, 125, hz, chassis_id, everything)
        arguments = (live_url, seq, ts, hz, self._stop, chassis_id, everything)
        self._thread = threading.Thread(target=live_feed.feed, args=arguments)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture(scope="module")
def live_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with testing.valkey(tmp_path_factory.mktemp("live")) as url:
        yield url


@pytest.fixture(scope="module")
def page_url(live_url: str) -> Iterator[str]:
    """The app under plain ``panel serve``; neither meta API nor store is there, so the data alone makes the charts."""
    away = f"http://127.0.0.1:{testing.free_port()}"
    settings = {"DUCO_LIVE_URL": live_url, "DUCO_META_URL": away, "DUCO_STORE_URL": f"{away}/duco"}
    with serving("live", settings) as url:
        yield url


@pytest.fixture
def tab(chromium_path: str, page_url: str) -> Iterator[Page]:
    with watched_tab(chromium_path, page_url) as page:
        yield page


def curves(tab: Page) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = models(tab, CURVES) or {}
    return {name: curve for name, curve in found.items() if curve["points"]}


def until_drawn(tab: Page) -> dict[str, dict[str, float]]:
    drawn: dict[str, dict[str, float]] = until(lambda: curves(tab), "no curve is drawn")
    return drawn


def until_badge(tab: Page, state: str) -> None:
    badge = tab.locator(".badge")
    until(lambda: badge.get_attribute("data-state") == state, f"the badge does not say {state}")


def test_a_machine_is_drawn_grows_and_goes_offline(tab: Page, page_url: str, live_url: str) -> None:
    feed = Feed(live_url, "truck-1")
    try:
        tab.goto(f"{page_url}?machine=truck-1")
        drawn = until_drawn(tab)
        # FuelTemp was never available: a word in the table, no chart of its own; the others have their two minutes
        assert set(drawn) >= {"Engine.Speed@can0:00", "Engine.Torque@can0:00", "Vehicle.Speed@can1"}
        for curve in drawn.values():
            assert curve["newest"] - curve["first"] >= 118_000
            assert curve["points"] >= 118 * HZ
        until_badge(tab, "online")
        assert "values/s" in tab.locator(".detail").inner_text()

        later = until(lambda: newer(curves(tab), drawn), "the curves do not grow")
        assert all(abs(curve["newest"] - time.time() * 1000) < 30_000 for curve in later.values())
        row = tab.locator("tr", has_text="FuelTemp")
        assert row.locator("td.value").inner_text() == "not available"
        assert tab.locator("tr", has_text="Make").locator("td.value").inner_text() == "DUCO"
        until_badge(tab, "online")  # still
    finally:
        feed.stop()
    until_badge(tab, "offline")  # after ten seconds of silence
    assert "Nothing received" in tab.locator(".notice").inner_text()


def newer(now: dict[str, dict[str, float]], then: dict[str, dict[str, float]]) -> Any:
    grown = [now[name]["newest"] > then[name]["newest"] + 1500 for name in then if name in now]
    return now if len(grown) == len(then) and all(grown) else None


def test_a_tab_whose_connection_was_lost_comes_back_by_itself(tab: Page, page_url: str, live_url: str) -> None:
    feed = Feed(live_url, "truck-6")
    links: list[WebSocketRoute] = []

    def carry(link: WebSocketRoute) -> None:
        links.append(link)
        link.connect_to_server()

    try:
        tab.route_web_socket("**/ws*", carry)
        tab.goto(f"{page_url}?machine=truck-6")
        until_drawn(tab)
        tab.evaluate("window.before = true")
        links[0].close()
        tab.wait_for_function("window.before === undefined")
        assert until_drawn(tab)["Engine.Speed@can0:00"]["points"] >= 118 * HZ
        until_badge(tab, "online")
    finally:
        feed.stop()


def test_filter_hide_and_refresh_on_a_phone(tab: Page, page_url: str, live_url: str) -> None:
    feed = Feed(live_url, "truck-2")
    try:
        tab.set_viewport_size({"width": 412, "height": 915})
        tab.goto(f"{page_url}?machine=truck-2&theme=dark")
        until_drawn(tab)
        until(lambda: fits(tab), "it is wider than the phone")
        tab.get_by_placeholder("Filter").fill("torque")
        assert [row.inner_text() for row in tab.locator("tbody tr:visible td.variable span").all()] == ["Torque"]
        chip = tab.locator("button.chip", has_text="Torque")
        chip.click()
        assert "hidden" in (chip.get_attribute("class") or "")
        tab.get_by_label("Refresh").click()  # draws anew: what was hidden is there again, and grows
        until(lambda: "hidden" not in (chip.get_attribute("class") or ""), "Refresh does not draw anew")
        again = until_drawn(tab)
        until(lambda: newer(curves(tab), again), "the curves do not grow after Refresh")
    finally:
        feed.stop()


MARKS = """(models) => models.find((m) => m.type === "ColumnDataSource" && m.name === "marks")?.data.t.length"""


def until_events(tab: Page) -> None:
    until(lambda: tab.locator(".events li.event").count() >= 5, "no events are listed")


@pytest.mark.parametrize("width", [1400, 412])
def test_what_happened_where_it_was_and_how_the_client_does(
    tab: Page, page_url: str, live_url: str, width: int
) -> None:
    chassis_id = f"truck-all-{width}"
    feed = Feed(live_url, chassis_id, hz=1.0, everything=True)
    try:
        tab.set_viewport_size({"width": width, "height": 915})
        tab.goto(f"{page_url}?machine={chassis_id}")
        until_events(tab)
        code = tab.locator(".events li.code")
        until(lambda: code.count() == 1, "a code that was reported each second is not listed once")
        assert "SPN 110 FMI 0" in code.inner_text()
        assert code.locator("em").inner_text() == "active"
        assert tab.locator(".events li").first.get_attribute("data-severity") == "error"
        assert "412 ms without a link" in tab.locator(".events li.log").first.inner_text()
        listed = tab.locator(".events li.event, .events li.code")
        until(lambda: models(tab, MARKS) == listed.count(), "not a mark for each event and code")

        track = tab.locator(".track")
        until(lambda: "12 satellites" in track.inner_text(), "no position is shown")
        assert "14.5 km/h" in track.inner_text()
        assert track.locator("path.way").count() >= 3
        assert track.locator("path.machine").count() == 1
        where = track.locator("dd").first.inner_text()
        until(lambda: track.locator("dd").first.inner_text() != where, "the machine does not move")

        tab.locator(".grid.client").scroll_into_view_if_needed()  # what nobody sees is not painted
        until(lambda: "Client.cpu_percent@client" in curves(tab), "the client's load is not drawn")
        assert tab.locator(".grid.client h2").all_inner_texts() == ["Client: load", "Client: memory"]
        assert tab.locator(".grid:not(.client) h2", has_text="Client").count() == 0
        software = tab.locator(".table tr", has_text="Software").locator("td.value")
        assert software.inner_text() == "2.4.1"
        until(lambda: fits(tab), f"it is wider than {width}")
    finally:
        feed.stop()


def test_the_cursor_tells_what_happened_at_a_mark(tab: Page, page_url: str, live_url: str) -> None:
    feed = Feed(live_url, "truck-3", hz=1.0, everything=True)
    try:
        tab.goto(f"{page_url}?machine=truck-3")
        until_events(tab)
        plot = tab.locator(".chart .plot").first
        plot.scroll_into_view_if_needed()

        def found() -> bool:
            """Somewhere along the chart the tip names an event: there is one each twenty seconds."""
            box = plot.bounding_box()  # each time: what comes above it moves it
            assert box is not None
            for x in range(int(box["x"]) + 60, int(box["x"] + box["width"]) - 40, 4):
                tab.mouse.move(x, box["y"] + 80)
                if tab.locator(".tip .mark", has_text="payload kg 6713").first.is_visible():
                    return True
            return False

        until(found, "no mark answers to the cursor")
    finally:
        feed.stop()

"""The status page in a real browser, over a real store, log and hub: what is wrong is seen, and nothing is fetched from
outside."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from browser_kit import fits, serving, watched_tab
from flow_kit import EPOCH, Flow
from hub_kit import free_address, running_hub
from playwright.sync_api import Page

from duco_workbench import testing
from duco_workbench.local.store.process import running
from duco_workbench.model import DeadLetter
from duco_workbench.schema import migrate
from duco_workbench.settings import Settings
from duco_workbench.sinks.clickhouse import connect
from duco_workbench.testing import until

NETWORK = 16
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    """Three machines of which nothing is lost, and one that has a trouble to tell."""
    folder = tmp_path_factory.mktemp("flow")
    with (
        running(folder / "store") as store,
        testing.valkey(folder) as log_url,
        running_hub(folder / "hub", free_address(NETWORK)) as hub,
    ):
        migrate(connect(store.url))
        names = {"hub": hub.identity.hub, "hub_ca": str(hub.identity.ca)}
        flow = Flow(Settings(log_url=log_url, store_url=store.url, data=folder, **names), hub)
        for name in ("truck-1", "truck-2", "truck-3"):
            flow.carry(name, range(1, 101))
            flow.agent(name, queue={"seq": 100})
        yield flow


@pytest.fixture(scope="module")
def page_url(flow: Flow) -> Iterator[str]:
    """The app under plain ``panel serve``; no supervisor runs, as on a cluster."""
    values = flow.settings.model_dump(mode="json", include={"hub", "hub_ca", "log_url", "store_url", "data"})
    with serving("status", {f"DUCO_{name.upper()}": value for name, value in values.items()}) as url:
        yield url


@pytest.fixture
def tab(chromium_path: str, page_url: str) -> Iterator[Page]:
    with watched_tab(chromium_path, page_url) as page:
        yield page


def shown(tab: Page) -> dict[str, str]:
    """What the badge says, how many notices there are, and of each tile its number and kind."""
    tiles = {
        str(tile.get_attribute("data-name")): f"{tile.locator('b').inner_text()} {tile.get_attribute('class')}"
        for tile in tab.locator(".tile").all()
    }
    badge, notices = tab.locator(".badge b").inner_text(), tab.locator(".notice").count()
    return tiles | {"badge": badge, "notices": str(notices)}


def until_shown(tab: Page, expected: dict[str, str]) -> None:
    """All of it at once: the page is read while what it tells of is still being done, and drawn part by part."""
    until(lambda: shown(tab).items() >= expected.items(), f"not {expected}")


def says_that_the_hub_is_away(tab: Page) -> bool:
    """The loss is not green: without the agents' reports nobody knows."""
    notices = " ".join(tab.locator(".notice").all_inner_texts())
    rows = tab.locator(".machines tbody tr").count()
    return "hub: IoT hub at" in notices and rows == 3 and shown(tab)["lost"] == "0 tile plain"


def picture(tab: Page, name: str) -> None:
    """Where DUCO_PICTURES says, for a person to look at."""
    if folder := os.environ.get("DUCO_PICTURES"):
        tab.screenshot(path=f"{folder}/{name}.png", full_page=True)


def test_all_well_then_a_loss_a_dead_letter_and_a_trouble_are_seen(tab: Page, page_url: str, flow: Flow) -> None:
    tab.goto(page_url)
    well = dict.fromkeys(("lost", "doubled", "dead letters"), "0 tile good")
    until_shown(tab, {**well, "badge": "all well", "notices": "0"})
    row = tab.locator(".machines tbody tr", has_text="truck-2")
    assert [cell.inner_text() for cell in row.locator("td.number b").all()] == ["100"] * 6 + ["0"]
    assert row.locator("a").get_attribute("href") == "live?machine=truck-2&tenant=demo"
    picture(tab, "status-well")

    flow.sql(f"DELETE FROM raw_data_cache_store WHERE message_id = 'truck-2:{EPOCH}:42'")
    flow.refuse(DeadLetter(flow.message("truck-3", 7), "count_mismatch"))
    flow.carry("truck-2", [101])  # later than its agent's report: the gap below it will not be filled
    flow.carry("truck-3", range(101, 111), to=["raw"])
    flow.behind(10)
    flow.agent("truck-3", queue={"seq": 112, "depth": 2, "first": 111}, trouble=EVIL, realtime={"on": True})
    bad = dict.fromkeys(("lost", "dead letters"), "1 tile bad")
    until_shown(tab, {**bad, "behind": "10 tile plain", "badge": "trouble", "notices": "3"})
    notices = tab.locator(".notice").all_inner_texts()
    refused = "duco dead-letters list --reason count_mismatch"
    assert [n for n in notices if refused not in n] == [
        f"truck-2 lost 1 of its messages: {EPOCH}:42",
        f"truck-3: {EVIL}",
    ]
    assert "realtime, 2 waiting" in tab.locator(".machines tbody tr", has_text="truck-3").inner_text()
    picture(tab, "status-trouble")


def test_on_a_phone_in_the_dark_nothing_is_cut_off(tab: Page, page_url: str) -> None:
    tab.set_viewport_size({"width": 412, "height": 915})
    tab.goto(f"{page_url}?theme=dark")
    until(lambda: tab.locator(".machines tbody tr").count() == 3, "not three machines are shown")
    until(lambda: fits(tab), "it is wider than the phone")
    ends = "cells => Math.max(...cells.map(cell => cell.getBoundingClientRect().right))"
    until(lambda: 0 < tab.locator(".machines td").evaluate_all(ends) <= 412, "a cell is cut off")
    picture(tab, "status-phone")


def test_a_hub_that_is_away_is_said_beside_what_the_others_know(tab: Page, page_url: str, flow: Flow) -> None:
    flow.hub.stop()
    try:
        tab.goto(page_url)
        until(lambda: says_that_the_hub_is_away(tab), "no word of the hub beside what the others know")
        picture(tab, "status-away")
    finally:
        flow.hub.start()

"""The live page: a bar with machine, state, Refresh and theme; below it the board of the machine chosen.

Everything that runs after the page was made lives in this module and not in the app's script: what a served script
defines is gone when its session ends, and its clean-up with it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import panel
import panel_material_ui

from ..live import Machine, shared_reader
from ..settings import Settings
from .board import LiveBoard, StatusBadge
from .directory import shared_directory
from .live_session import ALL_CHARTS, FIRST_CHARTS, LiveSession
from .pump import Pump
from .reconnect import reload_when_lost
from .stored import HistoryStore
from .streaming import shared_streaming

log = logging.getLogger(__name__)
pn: Any = panel  # half typed: its own annotations contradict what it does
pmui: Any = panel_material_ui

PUMP = Pump(0.5)  # seconds: twice as often as machines send, so that a value waits a quarter of a second on average
MACHINES_EVERY = 10  # ticks between two looks at the list of machines

THEME = {
    "light": {"palette": {"primary": {"main": "#1f6fb5"}, "background": {"default": "#f3f5f8", "paper": "#ffffff"}}},
    "dark": {"palette": {"primary": {"main": "#5aa9e6"}, "background": {"default": "#0f151c", "paper": "#18212b"}}},
}
PAGE_STYLE = {
    "& .main": {"backgroundColor": "background.default"},
    # These two words make Page leave the widgets in the bar as they are, instead of white for a coloured bar.
    ".MuiAppBar-root": {"bgcolor": "primary.contrastText", "color": "primary.main"},
    "& .header.header": {
        "backgroundColor": "background.paper",
        "backgroundImage": "none",
        "color": "text.primary",
        "boxShadow": "none",
        "borderBottom": "1px solid",
        "borderColor": "divider",
    },
    "& .title": {"color": "text.primary", "fontSize": "1.05rem", "fontWeight": 500, "whiteSpace": "nowrap"},
    "@media (max-width: 700px)": {"& .title": {"display": "none"}, "& .header .MuiToolbar-root": {"px": 1}},
}


class LivePage:
    """One browser tab. ``page`` is what is served."""

    def __init__(self, settings: Settings, tenant: str, chassis_id: str) -> None:
        self._tenant = tenant
        self._directory = shared_directory(settings.meta_url, settings.live_url)
        self._session = LiveSession(
            shared_reader(settings.live_url),
            self._directory,
            HistoryStore(settings.store_url),
            shared_streaming(settings.meta_url),
        )
        self._wanted: str = chassis_id
        self._loading = asyncio.Lock()
        self._told_empty = self._reopening = self._closed = False
        self._ticks = 0
        self._document: Any = None
        self.picker = pmui.Select(
            label="Machine",
            options=[chassis_id] if chassis_id else [],
            value=chassis_id or None,
            visible=bool(chassis_id),
            size="small",
            searchable=True,
            width=170,
            margin=(0, 0, 0, 12),
        )
        self.badge = StatusBadge(self._refresh, sizing_mode="stretch_width", margin=(0, 0, 0, 14), align="center")
        self.place = pn.Column(_note("Connecting", "Looking for machines."), sizing_mode="stretch_width", margin=0)
        self.page = pmui.Page(
            title="DUCO Workbench",
            header=[self.picker, self.badge],
            main=[self.place],
            theme_config=THEME,
            sx=PAGE_STYLE,
            busy_indicator=None,
        )
        self.picker.param.watch(self._picked, "value")

    async def start(self) -> None:
        """Called once when the page is in the browser."""
        await asyncio.to_thread(self._directory.start)
        self._list_machines()
        if self._wanted:
            await self._open(self._wanted)
        if not self._closed:  # else the tab was shut while it loaded
            self._document = pn.state.curdoc
            PUMP.add(self._document, self._tick)

    def close(self) -> None:
        self._closed = True
        PUMP.remove(self._document)
        self._session.close()

    def _list_machines(self) -> None:
        """Options and value at once: alone, new options would make Select choose its first."""
        found = [m.chassis_id for m in self._directory.machines() if m.tenant == self._tenant]
        options = sorted({*found, *filter(None, [self._wanted])})
        if not options and not self._told_empty:
            self._told_empty = True
            self.place[:] = [_note("No machine yet", "A machine appears here as soon as it sends its first message.")]
        elif options != list(self.picker.options):
            first = self._directory.first(self._tenant)
            value = self._wanted or (first.chassis_id if first else options[0])
            self.picker.param.update(options=options, value=value, visible=True)

    async def _picked(self, event: Any) -> None:
        if event.new and event.new != self._wanted:
            self._session.most = FIRST_CHARTS
            await self._open(event.new)

    async def _open(self, chassis_id: str) -> None:
        """Load and show a machine. One at a time: what was asked for last is shown last."""
        self._wanted = chassis_id
        async with self._loading:
            if chassis_id != self._wanted:
                return
            try:
                picture = await asyncio.to_thread(self._session.load, Machine(self._tenant, chassis_id))
                if self._closed:
                    self._session.close()
                    return
                board = self._session.show(picture, self._show_more)
            except Exception:
                # The page must say so: an error here would leave the person before what was shown last.
                log.exception("the live page of %s cannot be drawn", chassis_id)
                self.place[:] = [_note("This page cannot be drawn", "The page's log says why. Refresh tries again.")]
                return
            if not picture.numbers and not picture.trouble:
                board.empty_title, board.empty_text = self._why_empty(chassis_id)
            self.place[:] = [board]
            if pn.state.location is not None:
                pn.state.location.update_query(machine=chassis_id)

    def _why_empty(self, chassis_id: str) -> tuple[str, str]:
        if Machine(self._tenant, chassis_id) in self._directory.machines():
            return (
                f"Nothing from {chassis_id} yet",
                "The machine is known, but it has sent nothing that could be decoded.",
            )
        return (
            f"No machine is named {chassis_id}",
            "What it sends is shown as soon as it does; the others are in the list.",
        )

    def _show_more(self) -> None:
        self._session.most = ALL_CHARTS
        self._again()

    def _refresh(self) -> None:
        self._session.reconnect()
        self._again()

    def _again(self) -> None:
        if self._wanted and not self._reopening:
            self._reopening = True
            pn.state.execute(self._reopen)

    async def _reopen(self) -> None:
        try:
            await self._open(self._wanted)
        finally:
            self._reopening = False

    def _tick(self) -> None:
        self._ticks += 1
        if self._ticks % MACHINES_EVERY == 0:
            self._list_machines()
        if not self._reopening and not self._loading.locked() and self._session.tick():
            self._again()


def _note(title: str, text: str) -> LiveBoard:
    return LiveBoard({}, empty_title=title, empty_text=text)


def _argument(name: str, default: str) -> str:
    values = pn.state.session_args.get(name) or [default.encode()]
    return str(values[0].decode())


def serve() -> None:
    """Make the page of this tab and serve it: ``?machine=NAME&tenant=demo`` choose what it shows."""
    settings = Settings.load()
    page = LivePage(settings, _argument("tenant", settings.tenant), _argument("machine", ""))
    page.page.servable()
    reload_when_lost(pn.state.curdoc)
    pn.state.onload(page.start)
    pn.state.on_session_destroyed(lambda _: page.close())

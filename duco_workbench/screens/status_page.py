"""The status page: what `duco status` says, read every five seconds by one thread for everybody who looks.

Everything that runs after the page was made lives in this module and not in the app's script, as with the live page.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import panel
import panel_material_ui

from ..health.watch import Reading, Watch
from ..settings import Settings
from . import status_view
from .live_page import PAGE_STYLE, THEME
from .pump import Pump
from .reconnect import reload_when_lost

pn: Any = panel  # half typed: its own annotations contradict what it does
pmui: Any = panel_material_ui

Read = Callable[[Settings], dict[str, Any]]
PUMP = Pump(1.0)
STYLE = (Path(__file__).parent / "browser" / "status_page.css").read_text()
BADGE = '<span class="badge {kind}"><i></i><b>{words}</b></span><small class="when">{when}</small>'


@lru_cache(maxsize=4)
def shared_watch(read: Read, settings: Settings) -> Watch:
    """The one reader of this process for these addresses: a hundred tabs read once."""
    return Watch(lambda: read(settings))


class StatusPage:
    """One browser tab. ``page`` is what is served."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._shown: Reading | None = None
        self._document: Any = None
        waiting = status_view.message("Reading", "Asking every part how it is.")
        self.badge = _html(
            BADGE.format(kind="waiting", words="reading", when=""), sizing_mode="stretch_width", align="center"
        )
        self.place = _html(waiting, sizing_mode="stretch_width", margin=0)
        live = pmui.Button(label="Live", href="live", target="_self", variant="text", size="small", align="center")
        self.page = pmui.Page(
            title="DUCO Workbench",
            header=[self.badge, live],
            main=[self.place],
            theme_config=THEME,
            sx=PAGE_STYLE,
            busy_indicator=None,
        )

    async def start(self) -> None:
        """Called once when the page is in the browser."""
        self._document = pn.state.curdoc
        self._tick()
        PUMP.add(self._document, self._tick)

    def close(self) -> None:
        PUMP.remove(self._document)

    def _tick(self) -> None:
        reading = self._watch.latest()
        if reading is None or reading is self._shown:
            return
        self._shown = reading
        when = time.strftime("%H:%M:%S UTC", time.gmtime())
        if reading.found is None:
            self.place.object = status_view.message("Nothing can be read", reading.error)
            self.badge.object = BADGE.format(kind="bad", words="away", when=when)
            return
        well = status_view.is_well(reading.found)
        self.place.object = status_view.page(reading.found)
        self.badge.object = BADGE.format(
            kind="good" if well else "bad", words="all well" if well else "trouble", when=when
        )


def _html(text: str, **options: Any) -> Any:
    return pn.pane.HTML(text, stylesheets=[STYLE], **options)


def serve(read: Read) -> None:
    """Make the page of this tab and serve it. ``read``: gives what `duco status --json` does; may raise DucoError."""
    page = StatusPage(shared_watch(read, Settings.load()))
    page.page.servable()
    reload_when_lost(pn.state.curdoc)
    pn.state.onload(page.start)
    pn.state.on_session_destroyed(lambda _: page.close())

"""A page whose connection was lost (a lid closed, a server started anew) loads itself again when the server answers.

Bokeh's own reconnecting finds its session gone after a few seconds, and what was sent meanwhile is lost in any case.
"""

from __future__ import annotations

from bokeh.document import Document
from bokeh.events import ConnectionLost
from bokeh.models import CustomJS

AGAIN = """
async function again() {
  try {
    if ((await fetch(location.pathname + "/metadata", {cache: "no-store"})).ok) return location.reload()
  } catch { /* nobody answers yet */ }
  setTimeout(again, 2000)
}
again()
"""


def reload_when_lost(document: Document) -> None:
    document.js_on_event(ConnectionLost, CustomJS(code=AGAIN))

"""The live page: ``panel serve apps/live.py`` shows what machines send now. Its logic is in duco_workbench.screens."""

import panel as pn

from duco_workbench.screens.live_page import serve

pn.extension()
serve()

"""The status page: ``panel serve apps/status.py`` shows what `duco status` says. Its logic is in duco_workbench."""

import panel as pn

from duco_workbench.local.status import read_status
from duco_workbench.screens.status_page import serve

pn.extension()
serve(read_status)
